"""The rest of a file of which some bytes are here already, from an upstream that may have changed.

With a strong ETag the rest alone is asked for. Without, the whole is, and what is here is compared
with it: if it is equal, both together are exactly the bytes of the new answer, and no promise of
upstream's is needed.
"""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Protocol

from gateway.domain.sources import SourceRefused
from gateway.mirror.files import FileHeaders
from gateway.mirror.source import Source, SourceResponse, status_of

_OK, _PARTIAL, _UNSATISFIABLE = 200, 206, 416


class Readable(Protocol):
    """Bytes that are here."""

    async def read(self, start: int, size: int) -> bytes:
        """Return up to ``size`` bytes from ``start`` on; none at all only at the end."""


class Changed(Exception):
    """Upstream's bytes are not the ones that are here."""


class Rest:
    """An answer that carries the bytes from ``start`` on (and perhaps those before)."""

    def __init__(
        self, response: SourceResponse, start: int, at: int, known: Readable | None
    ) -> None:
        self._response = response
        self._start = start
        self._at = at
        self._known = known
        length = response.content_length
        self.headers = FileHeaders.of(
            response.content_type,
            at + length if length is not None else None,
            response.etag,
            response.last_modified,
            ranges=response.accept_ranges,
        )

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """Yield the bytes from ``start`` on; raises Changed, and the source's own faults.

        None at all when the file ends below ``start`` and nothing of it is here: upstream may not
        have told its length, so that somebody can ask for a part beyond its end.
        """
        at = self._at
        async for chunk in self._response.chunks():
            new = max(0, self._start - at)
            if new and self._known is not None:
                await self._compare(chunk[:new], at, self._known)
            at += len(chunk)
            if at > self._start:
                yield chunk[new:] if new else chunk
        if at < self._start and self._known is not None:
            raise Changed  # it ended below what is here

    @staticmethod
    async def _compare(chunk: bytes, at: int, known: Readable) -> None:
        done = 0
        while done < len(chunk):
            here = await known.read(at + done, len(chunk) - done)
            if not here or here != chunk[done : done + len(here)]:
                raise Changed
            done += len(here)


@asynccontextmanager
async def open_rest(
    source: Source,
    url: str,
    *,
    start: int = 0,
    headers: FileHeaders | None = None,
    known: Readable | None = None,
) -> AsyncIterator[Rest]:
    """Open the file from ``start`` on.

    ``headers`` is what was said of it before, ``known`` the bytes below ``start`` where there are
    any to compare. Raises Changed when upstream's answer is about other bytes, SourceRefused, and
    the source's own faults.
    """
    etag = headers.etag if headers is not None and headers.ranges and start else None
    asked = start if etag is not None else 0
    async with AsyncExitStack() as stack:
        try:
            response = await stack.enter_async_context(source.fetch(url, start=asked, etag=etag))
            status = response.status
        except Exception as fault:
            if status_of(fault) != _UNSATISFIABLE:
                raise
            status, response = _UNSATISFIABLE, NOTHING
        if status == _UNSATISFIABLE and asked:
            # Said of the very file that has this ETag: it ends where the rest would begin.
            rest = Rest(NOTHING, start, asked, None)
        elif status == _PARTIAL and asked:
            rest = Rest(response, start, asked, None)
        elif status == _OK:
            rest = Rest(response, start, 0, known)
        else:
            raise SourceRefused(status)
        if headers is not None and headers.contradict(rest.headers):
            raise Changed
        yield rest


class _Nothing:
    """An answer without bytes."""

    status = _UNSATISFIABLE
    content_type = etag = last_modified = None
    content_length = 0
    accept_ranges = True

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield nothing."""
        none: tuple[bytes, ...] = ()
        for chunk in none:
            yield chunk


NOTHING: SourceResponse = _Nothing()
