"""How much a folder holds, counted as files come and go, by all processes together.

A table of 256 rows, one for each first folder of the tree, in a file of 4 KB. A change to the tree
and to its row are made in one turn, under one lock; so one folder can be counted anew at any time,
while the others change, and the sum stays exact. A process killed inside a turn leaves it wrong by
one file until the next count (each start of a gateway makes one).
"""

import fcntl
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gateway.mirror.files import Usage

ROWS = 256
_ROW = struct.Struct("<qq")  # files, bytes


class UsageTable:
    """The table in its file; all methods block, though only for as long as a turn lasts."""

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        if os.fstat(self._fd).st_size < ROWS * _ROW.size:
            os.ftruncate(self._fd, ROWS * _ROW.size)
        self._path = path

    @contextmanager
    def turn(self) -> Iterator["UsageTurn"]:
        """Hold the tree: no other process or thread is inside a turn meanwhile."""
        # A descriptor of its own, because threads that share one would share the lock as well.
        fd = os.open(self._path, os.O_RDWR | os.O_CLOEXEC)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            yield UsageTurn(fd)
        finally:
            os.close(fd)

    def total(self) -> Usage:
        """Return the sum; a turn under way may be half in it, which the next look mends."""
        rows = list(_ROW.iter_unpack(os.pread(self._fd, ROWS * _ROW.size, 0)))
        return Usage(sum(row[0] for row in rows), sum(row[1] for row in rows))

    def close(self) -> None:
        """Let the file go."""
        os.close(self._fd)


class UsageTurn:
    """What may be done while the tree is held."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def add(self, row: int, files: int, size: int) -> None:
        """Note a change of this row, in files and in bytes."""
        had_files, had_bytes = _ROW.unpack(os.pread(self._fd, _ROW.size, row * _ROW.size))
        self.set(row, had_files + files, had_bytes + size)

    def set(self, row: int, files: int, size: int) -> None:
        """Note what a count of this row found."""
        os.pwrite(self._fd, _ROW.pack(files, size), row * _ROW.size)
