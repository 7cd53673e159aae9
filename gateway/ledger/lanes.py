"""Threads that work off one bounded queue of database work, and hand the results to the loop."""

import asyncio
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Protocol

from sqlalchemy import Connection

from gateway.ledger.errors import LedgerUnavailable, translated


@dataclass(slots=True, eq=False)
class Job:
    """One function to be run on a connection, and what came of it."""

    fn: Callable[[Connection], object]
    durable: bool
    future: asyncio.Future[object]
    result: object = None
    error: BaseException | None = None

    def reset(self) -> None:
        """Forget what an earlier attempt came to."""
        self.result = self.error = None

    def run(self, conn: Connection) -> None:
        """Run the function; whatever it raises is kept for the one who asked."""
        try:
            self.result = self.fn(conn)
        except StopIteration as error:
            self.error = RuntimeError("a function on the ledger raised StopIteration")
            self.error.__cause__ = error  # a future cannot carry it
        except BaseException as error:  # noqa: BLE001 - it is raised again where it was asked for
            self.error = error


class Hand(Protocol):
    """What one thread does its work with. Made, used and closed in that thread."""

    def run(self, jobs: Sequence[Job]) -> None:
        """Work off the jobs: afterwards each has its result or its error."""

    def close(self) -> None:
        """Let go of the connection."""


class Lane:
    """`threads` hands that take up to `batch` jobs at a time from one queue.

    At most `capacity` jobs wait: when the database has come to a stand it is better to say so at
    once than to pile up requests that nobody waits for any more.
    """

    def __init__(
        self,
        name: str,
        hand: Callable[[], Hand],
        *,
        threads: int,
        batch: int,
        capacity: int,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self.name = name
        self._hand = hand
        self._batch = batch
        self._capacity = capacity
        self._loop = loop
        self._closed = False
        self._waiting: SimpleQueue[Job | None] = SimpleQueue()
        # Daemons: a program that dies without closing the ledger must still end.
        self._threads = [
            threading.Thread(target=self._work, name=f"ledger-{name}-{number}", daemon=True)
            for number in range(threads)
        ]
        for thread in self._threads:
            thread.start()

    def submit(
        self, fn: Callable[[Connection], object], *, durable: bool
    ) -> asyncio.Future[object]:
        """Queue a function and return its future. Raises LedgerUnavailable when too many wait.

        One whose future is canceled before its turn is not run; one that has begun runs to its end.
        """
        if self._closed:
            raise LedgerUnavailable("the ledger is closed")
        if self._waiting.qsize() >= self._capacity:
            raise LedgerUnavailable("the ledger is overloaded")
        job = Job(fn, durable, self._loop.create_future())
        self._waiting.put(job)
        return job.future

    @property
    def depth(self) -> int:
        """How many jobs wait."""
        return self._waiting.qsize()

    async def close(self) -> None:
        """Finish what is queued, accept nothing more, end the threads."""
        if not self._closed:
            self._closed = True
            for _ in self._threads:
                self._waiting.put(None)
        for thread in self._threads:
            await asyncio.to_thread(thread.join)

    def _work(self) -> None:
        hand = self._hand()
        try:
            ended = False
            while not ended:
                jobs, ended = self._take()
                if jobs:
                    hand.run(jobs)
                    if self._loop.is_closed():
                        return  # nobody is left to hand results to
                    self._loop.call_soon_threadsafe(_deliver, jobs)
        finally:
            hand.close()

    def _take(self) -> tuple[list[Job], bool]:
        """Wait for a job, then take what else is there; True once the lane is to end."""
        jobs: list[Job] = []
        item = self._waiting.get()
        while item is not None:
            if not item.future.cancelled():
                jobs.append(item)
            if len(jobs) >= self._batch:
                return jobs, False
            try:
                item = self._waiting.get_nowait()
            except Empty:
                return jobs, False
        return jobs, True


def _deliver(jobs: Sequence[Job]) -> None:
    for job in jobs:
        if job.future.done():  # canceled meanwhile
            continue
        if job.error is None:
            job.future.set_result(job.result)
        else:
            job.future.set_exception(translated(job.error))
