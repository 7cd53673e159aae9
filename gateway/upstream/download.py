"""Fetching output files: from the configured delivery origins only, without the token.

This is the mirror's `Source`; neither room imports the other. Files are asked for uncoded; one that
comes coded all the same is decoded while it passes, and then its length is not known beforehand.
"""

import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urljoin

import httpx

from gateway.domain.origins import OriginPattern
from gateway.domain.sources import SourceRefused, SourceUnreachable
from gateway.upstream.answers import decoded, plain_length
from gateway.upstream.connected import Connected
from gateway.upstream.errors import UpstreamError
from gateway.upstream.origins import belongs_to
from gateway.upstream.wire import Wire, tls_context

_MOST_REDIRECTS: Final = 3
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
# aiohttp stops reading at twice this, so pieces come as large as 1 MB and memory stays flat.
_BUFFER: Final = 512 * 1024


@dataclass(frozen=True, slots=True)
class Download:
    """One answer to a fetch, its body not yet read. `content_length` is that of this body."""

    status: int
    content_type: str | None
    content_length: int | None
    etag: str | None
    last_modified: str | None
    accept_ranges: bool
    content_range: str | None
    _response: httpx.Response = field(repr=False)

    async def chunks(self) -> AsyncGenerator[bytes]:
        """Yield the body as it arrives, in pieces of at most 1 MB. Raises SourceUnreachable."""
        try:
            async with aclosing(decoded(self._response)) as chunks:
                async for chunk in chunks:
                    yield chunk
        except UpstreamError as failure:
            raise SourceUnreachable(str(failure)) from failure


class Downloads(Connected):
    """Fetches files; one pool of connections for all delivery hosts."""

    def __init__(
        self,
        origins: Sequence[OriginPattern],
        *,
        connect_timeout_s: float,
        read_timeout_s: float,
        context: ssl.SSLContext | None = None,
    ) -> None:
        self._origins = tuple(origins)
        self._read_timeout_s = read_timeout_s
        self._wire = Wire(
            context=context or tls_context(), connect_timeout_s=connect_timeout_s, buffer=_BUFFER
        )
        super().__init__(self._wire)

    @asynccontextmanager
    async def fetch(
        self, url: str, *, start: int = 0, etag: str | None = None
    ) -> AsyncIterator[Download]:
        """Ask for a file, or for its bytes from `start` on if it still has this strong `etag`.

        Yields an answer of 200 (the whole file, whatever was asked for) or 206. Raises
        SourceRefused for every other status and for URLs outside the configured origins (403,
        nobody is asked), SourceUnreachable when the connection fails.
        """
        response = await self._follow(url, start, etag)
        try:
            if response.status_code not in (200, 206):
                raise SourceRefused(response.status_code)
            length = plain_length(response)
            coded = "content-encoding" in response.headers and length is None
            if coded and response.status_code == 206:
                raise SourceUnreachable("a part of a coded file cannot be decoded")
            headers = response.headers
            yield Download(
                status=response.status_code,
                content_type=headers.get("content-type"),
                content_length=length,
                etag=headers.get("etag"),
                last_modified=headers.get("last-modified"),
                # Ranges of a coded file count its coded bytes, which are not what is stored.
                accept_ranges=not coded and headers.get("accept-ranges", "").lower() == "bytes",
                content_range=headers.get("content-range"),
                _response=response,
            )
        finally:
            await response.aclose()

    async def _follow(self, url: str, start: int, etag: str | None) -> httpx.Response:
        for _ in range(_MOST_REDIRECTS + 1):
            if not belongs_to(url, self._origins):
                raise SourceRefused(403, "not an address of a configured delivery origin")
            response = await self._ask(url, start, etag)
            location = response.headers.get("location")
            if response.status_code not in _REDIRECTS or location is None:
                return response
            await response.aclose()
            url = urljoin(url, location)
        raise SourceRefused(508, "too many redirects")

    async def _ask(self, url: str, start: int, etag: str | None) -> httpx.Response:
        headers = [("accept", "*/*"), ("accept-encoding", "identity")]
        if start:
            headers.append(("range", f"bytes={start}-"))
            if etag is not None:
                headers.append(("if-range", etag))
        request = httpx.Request(
            "GET", url, headers=headers, extensions={"timeout": {"read": self._read_timeout_s}}
        )
        try:
            return await self._wire.handle_async_request(request)
        except UpstreamError as failure:
            raise SourceUnreachable(str(failure)) from failure
