"""Work on the disk, kept off the event loop, and descriptors that several share."""

import asyncio
import hashlib
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

_P = ParamSpec("_P")
_T = TypeVar("_T")

# Reads what is in the page cache and refuses rather than wait for the disk (Linux 4.14 and later).
_NOWAIT = getattr(os, "RWF_NOWAIT", None)


_PIECE = 1 << 20


def sha256_of(fd: int) -> str:
    """Return the digest of all bytes of an open file, in hex; blocks."""
    digest, at = hashlib.sha256(), 0
    while piece := os.pread(fd, _PIECE, at):
        digest.update(piece)
        at += len(piece)
    return digest.hexdigest()


class Disk:
    """A few threads of the mirror's own, so that a slow disk starves nobody else's thread pool."""

    def __init__(self, threads: int = 8) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="mirror")

    def submit(
        self, work: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs
    ) -> asyncio.Future[_T]:
        """Start blocking work; the future must not be cancelled (see `run`)."""
        loop = asyncio.get_running_loop()
        return loop.run_in_executor(self._pool, lambda: work(*args, **kwargs))

    async def run(self, work: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Return the result of blocking work.

        A thread cannot be interrupted, so a caller that is cancelled still waits the work out: it
        is about to close the descriptor that the thread uses, and the kernel would give the same
        number to the next file that is opened.
        """
        return await self._outwait(self.submit(work, *args, **kwargs), None)

    async def acquire(self, work: Callable[[], _T], give_back: Callable[[_T], None]) -> _T:
        """Return what blocking work opened; hand it to ``give_back`` if the caller is cancelled."""
        return await self._outwait(self.submit(work), give_back)

    @staticmethod
    async def _outwait(future: asyncio.Future[_T], give_back: Callable[[_T], None] | None) -> _T:
        cancelled = False
        while not future.done():
            try:
                await asyncio.wait([future])
            except asyncio.CancelledError:
                cancelled = True
        if cancelled:
            # Looked at in any case, so that a fault is not reported as never retrieved.
            if future.exception() is None and give_back is not None:
                give_back(future.result())
            raise asyncio.CancelledError
        return future.result()

    def close(self) -> None:
        """Let the running work end and the threads with it."""
        self._pool.shutdown(wait=True, cancel_futures=True)


class OpenFile:
    """A descriptor that the writer of a file and its readers share; the last one to leave closes.

    It stands for bytes, not for a name: they stay readable after the file is renamed or deleted.
    """

    def __init__(self, disk: Disk, fd: int) -> None:
        self._disk = disk
        self._users = 1
        self._may_be_asked = _NOWAIT is not None
        self.fd = fd
        self.inode = os.fstat(fd).st_ino

    def share(self) -> "OpenFile":
        """Return this file for one more user, who must `close` it too."""
        self._users += 1
        return self

    def close(self) -> None:
        """Leave the file."""
        self._users -= 1
        if self._users == 0:
            os.close(self.fd)

    async def read(self, start: int, size: int) -> bytes:
        """Return up to ``size`` bytes from ``start`` on; none at all only at the end.

        Bytes that the kernel has in memory are copied at once, because a hop to a thread costs more
        than the copy; a thread waits for all others.
        """
        if self._may_be_asked and (piece := self._at_hand(start, size)) is not None:
            return piece
        return await self._disk.run(os.pread, self.fd, size, start)

    def _at_hand(self, start: int, size: int) -> bytes | None:
        room = bytearray(size)
        try:
            count = os.preadv(self.fd, [room], start, _NOWAIT or 0)
        except BlockingIOError:
            return None
        except OSError:
            # Some file systems know no such reads: they say so once, and are not asked again. A
            # fault of the disk itself will be met, and told, by the read in the thread.
            self._may_be_asked = False
            return None
        return bytes(memoryview(room)[:count])
