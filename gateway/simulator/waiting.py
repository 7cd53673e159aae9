"""Waiting for whichever comes first, on a clock that can be pushed forward."""

import asyncio
import threading
from collections.abc import Awaitable
from typing import Any

from gateway.clock import Clock

_CLOSE_ENOUGH_S = 1e-5
"""Wall times have room for a quarter of a microsecond; a wait for less than this is over."""


async def first_of(*awaitables: Awaitable[Any]) -> int:  # Any: results are not looked at
    """Wait until one of these is done, cancel the others and return its position."""

    async def run(awaitable: Awaitable[Any]) -> None:
        await awaitable

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(run(awaitable)) for awaitable in awaitables]
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        winner = next(index for index, task in enumerate(tasks) if task.done())
        for task in tasks:
            task.cancel()
    return winner


class SteerableClock:
    """Another clock that can be pushed forward, from any thread, waking those who sleep."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._ahead = 0.0
        self._lock = threading.Lock()
        self._sleepers: set[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = set()

    def now(self) -> float:
        """Return the wall time in seconds since 1970, as pushed."""
        return self._clock.now() + self._ahead

    def monotonic(self) -> float:
        """Return seconds that never go back, as pushed."""
        return self._clock.monotonic() + self._ahead

    def random(self) -> float:
        """Return a number in [0, 1)."""
        return self._clock.random()

    def new_id(self) -> str:
        """Return a fresh name of 26 characters."""
        return self._clock.new_id()

    def secret(self, size: int) -> bytes:
        """Return this many bytes fit for keys."""
        return self._clock.secret(size)

    def advance(self, seconds: float) -> None:
        """Push the time forward; time already asked for is not taken back."""
        with self._lock:
            self._ahead += max(0.0, seconds)
            sleepers = list(self._sleepers)
        for loop, event in sleepers:
            if not loop.is_closed():
                loop.call_soon_threadsafe(event.set)

    async def sleep(self, seconds: float) -> None:
        """Return when this much time has passed or been pushed."""
        until = self.monotonic() + seconds
        loop = asyncio.get_running_loop()
        while (left := until - self.monotonic()) > _CLOSE_ENOUGH_S:
            pushed = asyncio.Event()
            sleeper = (loop, pushed)
            with self._lock:
                self._sleepers.add(sleeper)
            try:
                if until - self.monotonic() <= _CLOSE_ENOUGH_S:
                    return
                await first_of(self._clock.sleep(left), pushed.wait())
            finally:
                with self._lock:
                    self._sleepers.discard(sleeper)
