"""What comes back from upstream: status, the headers that may travel on, and a plain body."""

import re
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Final

import httpx

from gateway.domain.foreign_json import load_foreign
from gateway.domain.json_text import InvalidJson
from gateway.upstream.errors import UpstreamGarbage

Headers = list[tuple[str, str]]

# Of one connection (RFC 9110, 7.6.1), of the body's form on the wire, or of one client alone.
_NOT_PASSED_ON: Final = frozenset(
    {
        "connection",
        "content-encoding",
        "content-length",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "set-cookie",
        "set-cookie2",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
_ABOUT_THE_TOKEN: Final = re.compile(rb"\btoken\b|\bauthenticat", re.IGNORECASE)
_RESETS_IN: Final = re.compile(r"resets in ~?([0-9]+(?:\.[0-9]+)?)\s*s")
_LONGEST_REASON: Final = 10_000
_NO_WAIT_S: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer. Header names are lower case; the body is decoded."""

    status: int
    headers: Headers
    body: bytes

    def header(self, name: str) -> str | None:
        """Return the first header of this lower-case name."""
        return next((value for key, value in self.headers if key == name), None)


@dataclass(frozen=True, slots=True)
class StreamedAnswer:
    """An answer whose body is still arriving; an error's body is already here.

    `content_length` is the number of bytes that `chunks` will yield, if upstream told it.
    """

    status: int
    headers: Headers
    content_length: int | None
    _response: httpx.Response = field(repr=False)
    _body: bytes | None = field(repr=False, default=None)

    def header(self, name: str) -> str | None:
        """Return the first header of this lower-case name."""
        return next((value for key, value in self.headers if key == name), None)

    async def chunks(self) -> AsyncGenerator[bytes]:
        """Yield the body as it arrives, decoded. Raises UpstreamBroken, -Timeout, -Garbage."""
        if self._body is not None:
            yield self._body
            return
        async with aclosing(decoded(self._response)) as chunks:
            async for chunk in chunks:
                yield chunk

    async def read(self, limit: int) -> bytes:
        """Return the whole body. Raises UpstreamGarbage when it is longer than `limit` bytes."""
        if self._body is not None:
            return self._body
        return await read_bounded(self._response, limit)


async def decoded(response: httpx.Response) -> AsyncGenerator[bytes]:
    """Yield a body without its content coding. Raises UpstreamGarbage when that cannot be done."""
    try:
        async for chunk in response.aiter_bytes():
            yield chunk
    except httpx.DecodingError:
        raise UpstreamGarbage(response.status_code, "its coding cannot be undone") from None


async def read_bounded(response: httpx.Response, limit: int) -> bytes:
    """Return a whole decoded body. Raises UpstreamGarbage when it is longer than `limit` bytes."""
    parts: list[bytes] = []
    size = 0
    async with aclosing(decoded(response)) as chunks:
        async for chunk in chunks:
            size += len(chunk)
            if size > limit:
                raise UpstreamGarbage(response.status_code, f"longer than {limit} bytes")
            parts.append(chunk)
    return b"".join(parts)


def passed_on(response: httpx.Response) -> Headers:
    """Return an answer's headers, less those that mean nothing or too much to somebody else."""
    return [
        (name, value)
        for key, value in response.headers.multi_items()
        if (name := key.lower()) not in _NOT_PASSED_ON
    ]


def plain_length(response: httpx.Response) -> int | None:
    """Return the body's length, unless a coding makes ``Content-Length`` mean something else."""
    if response.headers.get("content-encoding", "identity").strip().lower() not in ("", "identity"):
        return None
    return whole_number(response.headers.get("content-length"))


def whole_number(text: str | None) -> int | None:
    """Read a header that is a count; None when it is not."""
    if text is None or not text.strip().isdecimal() or len(text) > 18:
        return None
    return int(text)


def is_about_the_token(body: bytes) -> bool:
    """Return whether a 403 refuses the gateway's token rather than what was asked for."""
    return _ABOUT_THE_TOKEN.search(body[:_LONGEST_REASON]) is not None


def retry_after(response: httpx.Response, body: bytes) -> float:
    """Return how many seconds a 429 asks to wait: its body knows best, then its headers."""
    try:
        problem = load_foreign(body)
    except InvalidJson:
        problem = None
    if isinstance(problem, dict):
        told = problem.get("retry_after")
        if isinstance(told, int | float) and not isinstance(told, bool) and 0 <= told < _NO_WAIT_S:
            return max(0.1, float(told))
    for name in ("retry-after", "ratelimit-reset"):
        seconds = whole_number(response.headers.get(name))
        # A reset can be told as a moment (seconds since 1970) too: that is no number of seconds.
        if seconds is not None and seconds < _NO_WAIT_S:
            return max(0.1, float(seconds))
    if isinstance(problem, dict) and isinstance(problem.get("detail"), str):
        match = _RESETS_IN.search(problem["detail"])
        if match is not None:
            return max(0.1, float(match[1]))
    return 1.0
