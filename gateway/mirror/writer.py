"""Writes a part while more of it arrives: a slow source is visible at once, a fast one cheap."""

import asyncio
from collections.abc import Callable

from gateway.mirror.disk import Disk
from gateway.mirror.spool import Part

# Bytes that may wait for the disk; also the size of the pieces in which a fast source is written.
HELD_BYTES = 1 << 20


class PartWriter:
    """One write at a time in a thread; what arrives meanwhile is the next one.

    So the pieces grow with the speed of the source, up to `HELD_BYTES`, and nothing is held back
    when it pauses. ``on_growth`` is called on the loop with the size of the part after each write.
    """

    def __init__(self, disk: Disk, part: Part, on_growth: Callable[[int], None]) -> None:
        self._disk = disk
        self._part = part
        self._on_growth = on_growth
        self._waiting: list[bytes] = []
        self._held = 0
        self._busy = False
        self._fault: BaseException | None = None
        self._progress = asyncio.Event()

    async def write(self, chunk: bytes) -> None:
        """Append; returns when there is room for more. Raises the fault of an earlier write."""
        self._waiting.append(chunk)
        self._held += len(chunk)
        if not self._busy:
            self._begin()
        while self._held >= HELD_BYTES and self._busy:
            self._progress.clear()
            await self._progress.wait()
        self._raise()

    async def drain(self) -> None:
        """Return when all is written; raises the fault of a write."""
        await self.settle()
        self._raise()

    async def settle(self) -> None:
        """Return when no write is under way and none will follow, even if cancelled meanwhile."""
        cancelled = False
        while self._busy:
            self._progress.clear()
            try:
                await self._progress.wait()
            except asyncio.CancelledError:
                cancelled = True
        if cancelled:
            raise asyncio.CancelledError

    def _begin(self) -> None:
        if self._fault is not None:
            return
        pieces, self._waiting, self._held = self._waiting, [], 0
        self._busy = True
        self._disk.submit(self._part.write, pieces).add_done_callback(self._ended)

    def _ended(self, write: asyncio.Future[None]) -> None:
        self._busy = False
        self._fault = write.exception()
        if self._fault is None:
            self._on_growth(self._part.size)
            if self._waiting:
                self._begin()
        self._progress.set()

    def _raise(self) -> None:
        if self._fault is not None:
            raise self._fault
