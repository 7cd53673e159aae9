"""The room's front: every output file is fetched once, however many ask and however it ends."""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Coroutine
from copy import copy
from pathlib import Path
from types import TracebackType
from typing import Self

from gateway.clock import Clock
from gateway.domain.sources import SourceRefused, SourceUnreachable
from gateway.mirror.arrival import Arrival
from gateway.mirror.disk import Disk
from gateway.mirror.download import Downloader, Limits
from gateway.mirror.errors import MirrorClosed, OutputBroken, OutputError
from gateway.mirror.files import (
    Finding,
    MirrorEvents,
    NotKept,
    StoredFile,
    Unstored,
    Usage,
    key_of,
)
from gateway.mirror.folder import FolderStore
from gateway.mirror.pursuit import Pursuit
from gateway.mirror.reading import ArrivingReading, Passage, Reading, StoredReading
from gateway.mirror.source import Source
from gateway.mirror.spool import Spool
from gateway.mirror.store import Store
from gateway.mirror.usage import ROWS
from gateway.mirror.verify import verify

_log = logging.getLogger(__name__)

# Starts a coroutine as a task that has a name and is held (gateway/workers.py).
Spawn = Callable[[Coroutine[object, object, None], str], asyncio.Task[None]]

_TOO_LARGE_REMEMBERED = 1_000


class Mirror:
    """Keeps output files and hands them to readers; an async context manager.

    ``folder`` holds what is arriving, and the files too unless another ``store`` is given; several
    processes of a machine share it. ``faults`` are the exceptions of ``source`` that mean "no file
    this time"; all others are bugs. ``room`` answers whether a file of so many bytes
    may be kept. A source that never ends a silent connection holds its fetch for ever: time-outs
    are the source's.
    """

    def __init__(
        self,
        folder: Path,
        source: Source,
        clock: Clock,
        max_file_bytes: int,
        spawn: Spawn,
        *,
        room: Callable[[int], bool] = lambda size: True,
        faults: tuple[type[Exception], ...] = (SourceUnreachable, SourceRefused),
        store: Store | None = None,
        events: MirrorEvents | None = None,
        background_fetches: int = 4,
    ) -> None:
        self._clock = clock
        self._spawn = spawn
        self._disk = Disk()
        self._store: Store = FolderStore(folder, self._disk) if store is None else store
        self._spool = Spool(folder, self._disk)
        self._passage = Passage(source, faults, clock)
        limits = Limits(max_file_bytes, room)
        events = events or MirrorEvents()
        self._on_open = events.on_open
        downloader = Downloader(source, faults, self._disk, clock, limits, events)
        self._pursuit = Pursuit(self._store, self._spool, self._disk, downloader, clock, events)
        self._arrivals: dict[str, Arrival] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._background = asyncio.Semaphore(background_fetches)
        # Their bytes never change, so neither does the verdict; it spares each reader one request.
        self._too_large: OrderedDict[str, int | None] = OrderedDict()
        self._closed = False

    async def __aenter__(self) -> Self:
        await self._store.start()
        self._start_task("recount", self._recount())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        fault: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End all fetches, leaving what arrived to be resumed, and break off their readers."""
        self._closed = True
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        await self._store.close()
        self._disk.close()

    async def open(self, url: str) -> Reading:
        """Open the file of this upstream URL for one reader, fetching it if nobody has.

        Returns as soon as upstream's headers are known. Raises OutputGone, OutputUnreachable,
        OutputBroken, MirrorClosed.
        """
        self._check_open()
        reading = await self._reading(key_of(url), url)
        self._on_open(isinstance(reading, StoredReading))
        return reading

    async def _reading(self, key: str, url: str) -> Reading:
        while True:
            arrival = self._arrivals.get(key)
            if arrival is None:
                if (stored := await self._open_stored(key)) is not None:
                    return stored
                if key in self._too_large:
                    return await self._passage.open(url)
                arrival = self._arrival(key, url)
            arrival.join()
            try:
                await arrival.announced()
                if arrival.headers is not None and arrival.file is not None:
                    arrival.join()  # the reading's own, until it is closed
                    return ArrivingReading(arrival, arrival.headers, self._passage)
            finally:
                arrival.leave()
            if isinstance(arrival.outcome, OutputError):
                raise copy(arrival.outcome) from arrival.outcome
            if isinstance(arrival.outcome, Unstored):
                return await self._passage.open(url)

    async def ensure(self, url: str) -> StoredFile | Unstored:
        """Have the file stored, unless it cannot be; joins a fetch that is under way.

        Raises OutputGone, OutputUnreachable, OutputBroken, MirrorClosed. Only so many of these
        fetch at once; readers never wait behind them.
        """
        self._check_open()
        key = key_of(url)
        if (stored := await self._store.get(key)) is not None:
            return stored
        if key in self._too_large:
            return Unstored(NotKept.TOO_LARGE, self._too_large[key])
        if (arrival := self._arrivals.get(key)) is not None:
            return await self._end_of(arrival)
        async with self._background:
            return await self._end_of(self._arrival(key, url))

    async def stat(self, url: str) -> StoredFile | None:
        """Return what is stored of this URL, None if it is not."""
        return await self._store.get(key_of(url))

    async def delete(self, url: str) -> bool:
        """Remove the file, stored or arriving in whatever process; whether it was stored.

        Readers of the stored file read on; readers of an arriving one are broken off.
        """
        return await self.delete_key(key_of(url))

    async def delete_key(self, key: str) -> bool:
        """Remove a file of which only the key is known (one that `verify` found)."""
        if (task := self._tasks.get(key)) is not None:
            task.cancel()
            await asyncio.wait([task])
        part = await self._pursuit.interrupt(key)
        try:
            return await self._store.delete(key)
        finally:
            if part is not None:
                await self._disk.run(part.discard)

    def verify(self) -> AsyncIterator[Finding]:
        """Look at every stored file: are its bytes the ones that were stored?"""
        return verify(self._store)

    def stats(self) -> Usage:
        """Return how much is stored, by all processes together."""
        return self._store.usage()

    async def sweep(self, idle_s: float) -> int:
        """Remove what was begun, has not grown for so long, and nobody fetches; how many."""
        removed = 0
        for row in range(ROWS):
            for key, changed_at in await self._disk.run(self._spool.parts, row):
                if self._clock.now() - changed_at < idle_s:
                    continue
                part = await self._pursuit.claim(key)
                if part is not None:
                    await self._disk.run(part.discard)
                    removed += 1
        return removed

    async def _recount(self) -> None:
        try:
            await self._store.recount()
        except OSError as fault:
            _log.error("the mirrored files cannot be counted: %s", fault)

    def _check_open(self) -> None:
        if self._closed:
            raise MirrorClosed("the mirror is closed")

    async def _open_stored(self, key: str) -> Reading | None:
        opened = await self._store.open(key)
        return None if opened is None else StoredReading(opened, self._clock)

    def _arrival(self, key: str, url: str) -> Arrival:
        """Return the file's way here, beginning it if there is none. Must not await."""
        self._check_open()
        arrival = self._arrivals.get(key)
        if arrival is None:
            arrival = Arrival(key, url)
            try:
                task = self._start_task(key, self._pursue(arrival))
            except RuntimeError as fault:
                raise MirrorClosed("no task can be started any more") from fault
            self._arrivals[key] = arrival
            # For a task that is cancelled before it has run a single step.
            task.add_done_callback(lambda _: self._forget(arrival))
        return arrival

    def _start_task(self, name: str, work: Coroutine[object, object, None]) -> asyncio.Task[None]:
        task = self._spawn(work, f"mirror {name[:12]}")
        self._tasks[name] = task

        def ended(task: asyncio.Task[None]) -> None:
            if self._tasks.get(name) is task:
                del self._tasks[name]

        task.add_done_callback(ended)
        return task

    @staticmethod
    async def _end_of(arrival: Arrival) -> StoredFile | Unstored:
        arrival.join()
        try:
            outcome = await arrival.ended()
        finally:
            arrival.leave()
        if isinstance(outcome, OutputError):
            raise copy(outcome) from outcome
        return outcome

    async def _pursue(self, arrival: Arrival) -> None:
        try:
            arrival.end(await self._pursuit.outcome(arrival))
        finally:
            self._forget(arrival)

    def _forget(self, arrival: Arrival) -> None:
        # After a cancellation, or a bug that the task's holder reports, nobody waits for ever.
        arrival.end(OutputBroken("the fetch was ended"))
        if self._arrivals.get(arrival.key) is arrival:
            del self._arrivals[arrival.key]
        if isinstance(arrival.outcome, Unstored) and arrival.outcome.reason is NotKept.TOO_LARGE:
            self._too_large[arrival.key] = arrival.outcome.size
            while len(self._too_large) > _TOO_LARGE_REMEMBERED:
                self._too_large.popitem(last=False)
