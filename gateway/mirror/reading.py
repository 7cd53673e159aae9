"""What somebody who reads a file holds: stored, still arriving, or passed through unkept."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AsyncExitStack, aclosing
from typing import Protocol

from gateway.clock import Clock
from gateway.domain.sources import SourceRefused
from gateway.mirror.arrival import Arrival
from gateway.mirror.errors import OutputBroken, OutputError
from gateway.mirror.files import FileHeaders, StoredFile, Unstored
from gateway.mirror.rest import Changed, Readable, Rest, open_rest
from gateway.mirror.source import Source, told
from gateway.mirror.store import OpenedFile

PIECE = 256 << 10
# Pieces that are at hand are read without waiting; after so many the others get their turn.
_TURN = 4


class Reading(Protocol):
    """A file opened by one reader, who must `aclose` it.

    ``size`` is in bytes, None while it is not known; ``etag`` and ``last_modified`` are upstream's;
    ``complete`` says whether all bytes are here and checked.
    """

    @property
    def size(self) -> int | None: ...  # noqa: D102 -- told above
    @property
    def content_type(self) -> str: ...  # noqa: D102
    @property
    def etag(self) -> str | None: ...  # noqa: D102
    @property
    def last_modified(self) -> str | None: ...  # noqa: D102
    @property
    def complete(self) -> bool: ...  # noqa: D102

    def chunks(self, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        """Yield the bytes from ``start`` up to but not including ``end`` (None: to the last).

        Raises OutputBroken when they end too early; a response must then be broken off.
        """

    async def whole_size(self) -> int | None:
        """Return the size, waiting for the end of the fetch if only that can tell."""

    async def aclose(self) -> None:
        """Let the file go; may be called twice."""


class StoredReading:
    """A file that is here."""

    complete = True

    def __init__(self, opened: OpenedFile, clock: Clock) -> None:
        self.file: StoredFile = opened.file
        self.size: int = opened.file.size
        self.content_type = opened.file.content_type
        self.etag = opened.file.etag
        self.last_modified = opened.file.last_modified
        self._content = opened.content
        self._clock = clock
        self._open = True

    async def chunks(self, start: int = 0, end: int | None = None) -> AsyncGenerator[bytes, None]:
        """Yield the bytes from ``start`` up to ``end``."""
        stop = self.size if end is None else min(end, self.size)
        turn = 0
        while start < stop:
            piece = await self._content.read(start, min(PIECE, stop - start))
            if not piece:
                raise OutputBroken("the stored file is shorter than it was")
            start += len(piece)
            yield piece
            turn += 1
            if turn % _TURN == 0:
                await self._clock.sleep(0)

    async def whole_size(self) -> int:
        """Return the size."""
        return self.size

    async def aclose(self) -> None:
        """Let the file go."""
        if self._open:
            self._open = False
            self._content.close()


class Passage:
    """Opens files at upstream for readers, without keeping anything."""

    def __init__(self, source: Source, faults: tuple[type[Exception], ...], clock: Clock) -> None:
        self._source = source
        self._faults: tuple[type[Exception], ...] = (*faults, SourceRefused, Changed)
        self.clock = clock

    async def open(self, url: str) -> "PassedReading":
        """Ask upstream for the file; raises OutputGone, OutputUnreachable."""
        stack = AsyncExitStack()
        try:
            rest = await stack.enter_async_context(open_rest(self._source, url))
        except self._faults as fault:
            raise told(fault) from fault
        return PassedReading(self, url, rest, stack)

    async def rest(
        self, url: str, headers: FileHeaders, start: int, end: int | None, known: Readable | None
    ) -> AsyncGenerator[bytes, None]:
        """Yield upstream's bytes from ``start`` up to ``end``; raises OutputBroken."""
        if headers.size is not None and start >= headers.size:
            return
        try:
            async with (
                open_rest(self._source, url, start=start, headers=headers, known=known) as rest,
                aclosing(self.whole(rest, start, end, headers.size)) as chunks,
            ):
                async for chunk in chunks:
                    yield chunk
        except self._faults as fault:
            raise OutputBroken("upstream broke off") from fault

    async def whole(
        self, rest: Rest, start: int, end: int | None, size: int | None
    ) -> AsyncGenerator[bytes, None]:
        """Yield what an answer carries from ``start`` up to ``end``, which must all be there."""
        stop = end if size is None else min(size, size if end is None else end)
        if stop is not None and start >= stop:
            return
        try:
            async with aclosing(rest.chunks()) as chunks:
                async for chunk in chunks:
                    piece = chunk if stop is None else chunk[: stop - start]
                    start += len(piece)
                    if piece:
                        yield piece
                    if stop is not None and start >= stop:
                        return
        except self._faults as fault:
            raise OutputBroken("upstream broke off") from fault
        if size is not None and stop is not None and start < stop:
            raise OutputBroken("upstream ended too early")


class PassedReading:
    """A file that is not kept: each reader has an answer of upstream's to itself."""

    complete = False

    def __init__(self, passage: Passage, url: str, rest: Rest, stack: AsyncExitStack) -> None:
        self._passage = passage
        self._url = url
        self._rest: Rest | None = rest
        self._stack = stack
        self._headers = rest.headers
        self.size = rest.headers.size
        self.content_type = rest.headers.content_type
        self.etag = rest.headers.etag
        self.last_modified = rest.headers.last_modified

    async def chunks(self, start: int = 0, end: int | None = None) -> AsyncGenerator[bytes, None]:
        """Yield the bytes from ``start`` up to ``end``."""
        rest, self._rest = self._rest, None
        if start == 0 and rest is not None:
            chunks = self._passage.whole(rest, 0, end, self.size)
        else:
            await self._stack.aclose()
            chunks = self._passage.rest(self._url, self._headers, start, end, None)
        async with aclosing(chunks):
            async for chunk in chunks:
                yield chunk

    async def whole_size(self) -> int | None:
        """Return the size, None if upstream did not tell."""
        return self.size

    async def aclose(self) -> None:
        """Let upstream's answer go."""
        await self._stack.aclose()


class ArrivingReading:
    """A file that is still being fetched, by this process or another."""

    def __init__(self, arrival: Arrival, headers: FileHeaders, passage: Passage) -> None:
        if arrival.file is None:
            raise ValueError("the file has not been announced")
        self._arrival = arrival
        self._headers = headers
        self._passage = passage
        self._file = arrival.file.share()
        self._beginning = arrival.beginning
        self._given = False
        self._open = True
        self.content_type = headers.content_type
        self.etag = headers.etag
        self.last_modified = headers.last_modified

    @property
    def size(self) -> int | None:
        """Return the size in bytes, None while it is not known."""
        if self._headers.size is None and self._arrival.whole:
            return self._arrival.written
        return self._headers.size

    @property
    def complete(self) -> bool:
        """Return whether all bytes are here and checked."""
        return self._arrival.whole

    async def chunks(self, start: int = 0, end: int | None = None) -> AsyncGenerator[bytes, None]:
        """Yield the bytes from ``start`` up to ``end``, as they arrive."""
        arrival, turn = self._arrival, 0
        while end is None or start < end:
            await self._follow_beginning()
            readable = arrival.readable if end is None else min(arrival.readable, end)
            if start < readable:
                piece = await self._file.read(start, min(PIECE, readable - start))
                if not piece:
                    raise OutputBroken("the arriving file is shorter than it was")
                start += len(piece)
                self._given = True
                yield piece
                turn += 1
                if turn % _TURN == 0:
                    await self._passage.clock.sleep(0)
            elif arrival.whole:
                return
            elif isinstance(arrival.outcome, OutputError):
                raise OutputBroken("the fetch of the file failed") from arrival.outcome
            elif isinstance(arrival.outcome, Unstored):
                rest = self._passage.rest(
                    arrival.url, self._headers, start, end, self._file if self._given else None
                )
                async with aclosing(rest):
                    async for chunk in rest:
                        yield chunk
                return
            else:
                await arrival.changed()

    async def whole_size(self) -> int | None:
        """Return the size, waiting for the end of the fetch if only that can tell."""
        while self.size is None and self._arrival.outcome is None:
            await self._arrival.changed()
        return self.size

    async def aclose(self) -> None:
        """Let the file go; the fetch goes on."""
        if self._open:
            self._open = False
            self._file.close()
            self._arrival.leave()

    async def _follow_beginning(self) -> None:
        """Turn to the new bytes of a fetch that began again, if none of the old were given."""
        arrival = self._arrival
        while arrival.beginning != self._beginning:
            if self._given:
                raise OutputBroken("upstream's bytes changed on the way")
            if arrival.file is None or arrival.headers is None:
                if arrival.outcome is not None:
                    raise OutputBroken("the fetch of the file failed")
                await arrival.changed()
                continue
            if self._headers.contradict(arrival.headers):
                raise OutputBroken("upstream's file changed on the way")
            self._file.close()
            self._file = arrival.file.share()
            self._beginning = arrival.beginning
