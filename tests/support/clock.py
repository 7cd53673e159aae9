"""A clock whose hands the test moves."""

import asyncio
import heapq
import itertools
import random
import threading

START = 1_750_000_000.0  # 2025-06-15T15:06:40Z: an ordinary Sunday, far from any window's edge
_ID_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"


class ManualClock:
    """Time stands still until `advance` is called, from any thread, for all event loops at once."""

    def __init__(self, start: float = START, seed: int = 1) -> None:
        self._now = start
        self._start = start
        self._random = random.Random(seed)
        self._lock = threading.Lock()
        self._order = itertools.count()
        self._waiters: list[tuple[float, int, asyncio.AbstractEventLoop, asyncio.Future[None]]] = []

    def now(self) -> float:
        return self._now

    def monotonic(self) -> float:
        return self._now - self._start

    async def sleep(self, seconds: float) -> None:
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        with self._lock:
            due = self._now + seconds
            heapq.heappush(self._waiters, (due, next(self._order), loop, future))
        await future

    def random(self) -> float:
        with self._lock:
            return self._random.random()

    def new_id(self) -> str:
        with self._lock:
            return "".join(self._random.choice(_ID_ALPHABET) for _ in range(26))

    def secret(self, size: int) -> bytes:
        with self._lock:
            return self._random.randbytes(size)

    def advance(self, seconds: float) -> None:
        """Move the hands forward and wake everybody whose time has come."""
        with self._lock:
            self._now += seconds
            due = []
            while self._waiters and self._waiters[0][0] <= self._now:
                due.append(heapq.heappop(self._waiters))
        for _, _, loop, future in due:
            if not loop.is_closed():
                loop.call_soon_threadsafe(_wake, future)

    @property
    def sleepers(self) -> int:
        """Return how many are waiting: lets a test see that a loop has come to rest."""
        with self._lock:
            return sum(1 for _, _, _, future in self._waiters if not future.done())


def _wake(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
