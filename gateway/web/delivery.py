"""Output files over HTTP: whole or in part, finished or still arriving."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing

from starlette.types import Receive, Scope, Send

from gateway.domain import problems
from gateway.domain.plans import Identity
from gateway.domain.ranges import ByteRange, RangeAsked, Unsatisfiable, parse_range, still_same
from gateway.flows.read_output import OutputRequest, ReadOutput
from gateway.flows.read_prediction import etag_matches
from gateway.mirror import Reading
from gateway.web.departure import while_connected
from gateway.web.problem_response import ProblemError
from gateway.web.request_facts import authorization, facts, header

Headers = list[tuple[bytes, bytes]]

_PREFIX = b"/replicate/delivery/"

# The link is all that is needed to read, so whoever has it may keep a copy: the bytes of an output
# URL never change. With keys, only the reader's own cache may.
_CACHE = {False: b"public, max-age=31536000, immutable", True: b"private, max-age=31536000"}


class Delivery:
    """Serves `/replicate/delivery/{host}/{path}`."""

    def __init__(
        self,
        read_output: ReadOutput,
        identify: Callable[[str | None], Awaitable[Identity | None]],
        identify_session: Callable[[Scope], Awaitable[Identity | None]],
        *,
        key_needed: bool,
    ) -> None:
        self._read_output = read_output
        self._identify = identify
        self._identify_session = identify_session
        self._key_needed = key_needed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer GET and HEAD."""
        if scope["method"] not in ("GET", "HEAD"):
            raise ProblemError(problems.method_not_allowed(("GET", "HEAD", "OPTIONS")))
        identity = None
        if self._key_needed:
            given = authorization(scope)
            if given is None:
                # The usage page's pictures: a browser sends no key with them.
                identity = await self._identify_session(scope)
            else:
                identity = await self._identify(given)
            if identity is not None:
                facts(scope).identified(identity.user_name)
        raw_path: bytes = scope.get("raw_path") or scope["path"].encode()
        request = OutputRequest(
            raw_path=raw_path.partition(b"?")[0].removeprefix(_PREFIX).decode("latin-1"),
            raw_query=scope["query_string"].decode("latin-1"),
            identity=identity,
        )
        reading = await self._read_output(request)
        try:
            # A server goes on taking bytes for a client that has left, as fast as we make them.
            await while_connected(receive, self._send(scope, reading, send))
        finally:
            await reading.aclose()

    async def _send(self, scope: Scope, reading: Reading, send: Send) -> None:
        seen = facts(scope)
        seen.cache_result = "hit" if reading.complete else "miss"
        headers = self._headers(reading)
        if_none_match = header(scope, b"if-none-match")
        if (
            if_none_match is not None
            and reading.etag is not None
            and etag_matches(if_none_match, reading.etag)
        ):
            await _head(send, 304, headers)
            await send({"type": "http.response.body", "body": b""})
            return
        headers.append((b"content-type", reading.content_type.encode("latin-1", "replace")))
        part = await self._part(scope, reading)
        size = reading.size
        if part is not None:
            status = 206
            headers.append((b"content-range", f"bytes {part.start}-{part.end - 1}/{size}".encode()))
            headers.append((b"content-length", str(part.end - part.start).encode()))
        else:
            status = 200
            if size is not None:
                headers.append((b"content-length", str(size).encode()))
        await _head(send, status, headers)
        if scope["method"] == "HEAD":
            await send({"type": "http.response.body", "body": b""})
            return
        start, end = (0, None) if part is None else (part.start, part.end)
        await _body(send, reading.chunks(start, end))

    async def _part(self, scope: Scope, reading: Reading) -> ByteRange | None:
        asked = parse_range(header(scope, b"range"))
        if asked is None or not still_same(
            header(scope, b"if-range"), _strong(reading.etag), reading.last_modified
        ):
            return None
        if reading.size is None and not _needs_size(asked):
            return None
        size = reading.size if reading.size is not None else await reading.whole_size()
        if size is None:
            return None
        try:
            return asked.of(size)
        except Unsatisfiable:
            raise ProblemError(problems.range_not_satisfiable(size)) from None

    def _headers(self, reading: Reading) -> Headers:
        headers: Headers = [
            (b"accept-ranges", b"bytes"),
            (b"cache-control", _CACHE[self._key_needed]),
        ]
        if reading.etag is not None:
            headers.append((b"etag", reading.etag.encode("latin-1", "replace")))
        if reading.last_modified is not None:
            headers.append((b"last-modified", reading.last_modified.encode("latin-1", "replace")))
        return headers


def _strong(etag: str | None) -> str | None:
    return None if etag is None or etag.startswith("W/") else etag


def _needs_size(asked: RangeAsked) -> bool:
    """Whether a part cannot be named before the file's end is known, but is worth waiting for.

    `bytes=0-` of a file that is still arriving is just the file.
    """
    return asked.first != 0 or asked.last is not None


async def _head(send: Send, status: int, headers: Headers) -> None:
    await send({"type": "http.response.start", "status": status, "headers": headers})


async def _body(send: Send, chunks: AsyncIterator[bytes]) -> None:
    """Send the bytes as they come; OutputBroken ends in a response that is visibly unfinished."""
    async with aclosing(chunks) as pieces:  # type: ignore[type-var]  # the readings' are generators
        async for piece in pieces:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
    await send({"type": "http.response.body", "body": b""})
