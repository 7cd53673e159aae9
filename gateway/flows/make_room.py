"""Whether another output file may be kept, and which old ones go for it."""

from collections.abc import Callable
from functools import partial

from gateway.clock import Clock
from gateway.flows.erase_predictions import delete_file
from gateway.ledger import Ledger, files
from gateway.mirror import Mirror, Usage

YOUNGEST_S = 86_400.0
"""No file younger than this goes for want of room."""

RESERVE_BYTES = 512 * 1024 * 1024
"""So much of the disk is left free: the ledger must be able to write when files no longer can."""

_BATCH = 100


class Room:
    """Answers the mirror's question whether a file may be kept.

    It may if it fits `max_bytes` after the files that are old enough to go have gone. Those go at
    once, by `MakeRoom`, which `wanted` wakes; until then the limit is exceeded by what came in.
    """

    def __init__(self, max_bytes: int, free_bytes: Callable[[], int], wanted: Callable[[], None]):
        self.max_bytes = max_bytes
        self._free_bytes = free_bytes
        self._wanted = wanted
        self._usage: Callable[[], Usage] = lambda: Usage(0, 0)
        self.spare_bytes = 0
        """How much is held by files that are old enough to go."""

    def of(self, usage: Callable[[], Usage]) -> None:
        """Say how to learn what is stored: the mirror is made after this."""
        self._usage = usage

    @property
    def excess(self) -> int:
        """How many bytes are stored beyond the limit."""
        return max(0, self._usage().bytes - self.max_bytes)

    def __call__(self, size: int) -> bool:
        """Return whether a file of so many bytes may be kept."""
        if self._free_bytes() - size < RESERVE_BYTES:
            return False
        over = self._usage().bytes + size - self.max_bytes
        if over <= 0:
            return True
        if over > self.spare_bytes:
            return False
        self.spare_bytes -= size
        self._wanted()
        return True


class MakeRoom:
    """Deletes the oldest files while more is stored than may be."""

    def __init__(self, ledger: Ledger, mirror: Mirror, clock: Clock, room: Room) -> None:
        self._ledger = ledger
        self._mirror = mirror
        self._clock = clock
        self._room = room

    async def measure(self) -> None:
        """Learn how much could go."""
        before = self._clock.now() - YOUNGEST_S
        spare = await self._ledger.read(partial(files.stored_before, before=before))
        self._room.spare_bytes = max(0, spare - self._room.excess)

    async def __call__(self, progress: Callable[[int], None] = lambda size: None) -> int:
        """Delete what must go; returns how many files that were."""
        count = 0
        while self._room.excess > 0:
            before = self._clock.now() - YOUNGEST_S
            oldest = await self._ledger.read(
                partial(files.oldest_stored, before=before, limit=_BATCH)
            )
            if not oldest:
                break
            for file in oldest:
                if self._room.excess <= 0:
                    break
                await self._ledger.write(
                    partial(files.gone, url=file.url, reason="removed to make room")
                )
                await delete_file(self._mirror, file.url)
                progress(file.size or 0)
                count += 1
        return count
