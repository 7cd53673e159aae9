"""The bytes of an uploaded file, by the signed address that upstream gives out for it."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from urllib.parse import parse_qs, urljoin

from gateway.domain import problems
from gateway.domain.headers import (
    FILE_TO_CLIENT,
    FILE_TO_UPSTREAM,
    Header,
    as_text,
    pass_headers,
)
from gateway.domain.ranges import parse_range
from gateway.domain.sources import SourceRefused, SourceUnreachable
from gateway.domain.urls import UrlMap
from gateway.flows.answer import Caller, Refused
from gateway.flows.read_file import ReadFile
from gateway.flows.upstream_answer import client_location, upstream_problem
from gateway.ledger import Ledger, uploads
from gateway.upstream import OPERATIONS, Downloads, Upstream, UpstreamError, Urgency
from gateway.upstream.answers import StreamedAnswer
from gateway.upstream.download import Download

_REDIRECTS = frozenset({301, 302, 303, 307, 308})


@dataclass(frozen=True, slots=True)
class DownloadRequest:
    """A request for a file's bytes; without a caller the signature alone must open it."""

    caller: Caller | None
    origin: str
    file_id: str
    query: bytes
    headers: tuple[Header, ...]


@dataclass(frozen=True, slots=True)
class StreamedFile:
    """An answer whose body is read while it is sent; `length` is in bytes."""

    status: int
    headers: tuple[tuple[str, str], ...]
    length: int | None
    chunks: AsyncIterator[bytes]


def is_signed(query: bytes) -> bool:
    """Return whether a query claims the permission that upstream's signed addresses carry."""
    return b"signature" in parse_qs(query)


class DownloadFile:
    """Passes files through as they arrive, redirects to output files' hosts followed here."""

    def __init__(
        self,
        ledger: Ledger,
        upstream: Upstream,
        downloads: Downloads,
        urls: UrlMap,
        read_file: ReadFile,
    ) -> None:
        self._ledger = ledger
        self._upstream = upstream
        self._downloads = downloads
        self._urls = urls
        self._read_file = read_file

    @asynccontextmanager
    async def __call__(self, request: DownloadRequest) -> AsyncIterator[StreamedFile]:
        """Open the file; its bytes are there as long as the context is.

        Raises:
            Refused: no file of this gateway or not the caller's, or upstream cannot be asked.
        """
        await self._check(request)
        try:
            async with AsyncExitStack() as stack:
                yield await self._open(request, stack)
        except UpstreamError as error:
            # After the first byte nobody reads this any more, and the connection is broken off.
            raise Refused(upstream_problem(error, create=False)) from error

    async def _check(self, request: DownloadRequest) -> None:
        if request.caller is not None:
            await self._read_file.find(request.caller, request.file_id)
            return
        # Upstream's own form of the address needs no key either. But files that nobody uploaded
        # through this gateway are none of its business.
        known = await self._ledger.read(lambda conn: uploads.get(conn, request.file_id))
        if known is None:
            raise Refused(problems.not_found("file"))

    async def _open(self, request: DownloadRequest, stack: AsyncExitStack) -> StreamedFile:
        headers = pass_headers(request.headers, FILE_TO_UPSTREAM)
        path = f"/v1/files/{request.file_id}/download"
        answer = await stack.enter_async_context(
            self._upstream.open(
                OPERATIONS["files.download"],
                path,
                query=request.query,
                headers=as_text(headers),
                urgency=Urgency.READ,
                user=None if request.caller is None else request.caller.identity.user_id,
                signed=is_signed(request.query),
            )
        )
        location = answer.header("location")
        if answer.status not in _REDIRECTS or location is None:
            return _passed(answer)
        url = urljoin(f"{self._urls.api_origin}{path}", location)
        if self._urls.delivery(url) is not None:
            return _downloaded(await self._follow(url, headers, stack))
        passed = _passed(answer)
        told = ("location", client_location(self._urls, url, request.origin))
        return StreamedFile(passed.status, (*passed.headers, told), passed.length, passed.chunks)

    async def _follow(self, url: str, headers: list[Header], stack: AsyncExitStack) -> Download:
        asked = parse_range(dict(headers).get(b"range", b"").decode("latin-1"))
        # An open end is all that can be asked for there; other parts get the whole, as HTTP allows.
        start = asked.first if asked is not None and asked.last is None else None
        try:
            return await stack.enter_async_context(self._downloads.fetch(url, start=start or 0))
        except SourceRefused as refused:
            if refused.status in (404, 410):
                raise Refused(problems.not_found("file")) from refused
            raise Refused(problems.upstream_broke_off(create=False)) from refused
        except SourceUnreachable as error:
            raise Refused(problems.upstream_unreachable()) from error


def _passed(answer: StreamedAnswer) -> StreamedFile:
    pairs = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in answer.headers]
    headers = as_text(pass_headers(pairs, FILE_TO_CLIENT - {b"content-length"}))
    return StreamedFile(answer.status, tuple(headers), answer.content_length, answer.chunks())


def _downloaded(download: Download) -> StreamedFile:
    told = (
        ("content-type", download.content_type),
        ("etag", download.etag),
        ("last-modified", download.last_modified),
        ("content-range", download.content_range),
        ("accept-ranges", "bytes" if download.accept_ranges else None),
    )
    headers = tuple((name, value) for name, value in told if value is not None)
    return StreamedFile(download.status, headers, download.content_length, download.chunks())
