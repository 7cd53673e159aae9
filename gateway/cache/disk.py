"""diskcache, with everything taken away that lets the folder's contents decide what happens.

As it comes, the library unpickles what it finds (which runs code), follows the file names that it
finds, and sets whatever attributes and pragmas it finds in a table. Here keys are `str`, values are
`bytes`, names have one shape, and settings come from the program.
"""

import os
import re
from pathlib import Path
from typing import Final

import diskcache
from diskcache.core import ENOVAL, METADATA, MODE_BINARY, MODE_RAW

BUSY_S: Final = 0.1
"""How long a statement waits for another process's write, in seconds. Reads do not wait at all."""

_FILE_NAME = re.compile(r"[0-9a-f]{2}/[0-9a-f]{2}/[0-9a-f]{28}\.val")


class Refused(Exception):
    """One entry is not of a kind that this cache writes: it is dropped unread."""


class Tampered(Exception):
    """The cache as a whole is not as this program left it: it is wiped."""


class BytesDisk(diskcache.Disk):  # type: ignore[misc]  # diskcache has no types
    """Keeps bytes under strings; knows no pickle, neither for keys nor for values."""

    def put(self, key: object) -> tuple[str, bool]:
        """Return the column values of a key."""
        if type(key) is not str:
            raise TypeError(f"keys are str, not {type(key).__name__}")
        return key, True

    def get(self, key: object, raw: object) -> str:
        """Return the key of column values."""
        if type(key) is not str or not raw:
            raise Refused("a key that is no string")
        return key

    def store(
        self, value: object, read: bool, key: object = None
    ) -> tuple[int, int, str | None, bytes | None]:
        """Return size, mode, file name and column value of a value; large ones become files."""
        if type(value) is not bytes or read:
            raise TypeError(f"values are bytes, not {type(value).__name__}")
        if len(value) < self.min_file_size:
            return 0, MODE_RAW, None, value
        filename, full_path = self.filename(key, value)
        try:
            self._write(full_path, iter((value,)), "xb")
        except OSError:
            # Half a file would be counted by nobody and never removed.
            Path(full_path).unlink(missing_ok=True)
            raise
        return len(value), MODE_BINARY, filename, None

    def fetch(self, mode: object, filename: object, value: object, read: bool) -> bytes:
        """Return the value of column values; raises Refused, and OSError when its file is gone."""
        if mode == MODE_RAW and type(value) is bytes:
            return value
        if mode == MODE_BINARY and not read:
            # A link could point to any file that we may read, and its contents would be served.
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
            handle = os.open(self._checked(filename), flags)
            with os.fdopen(handle, "rb") as reader:
                return reader.read()
        raise Refused(f"a value of mode {mode!r}")

    def remove(self, file_path: object) -> None:
        """Remove a value's file, if it is one."""
        try:
            self._checked(file_path)
        except Refused:
            return
        super().remove(file_path)

    def _checked(self, filename: object) -> Path:
        if type(filename) is not str or not _FILE_NAME.fullmatch(filename):
            raise Refused("a value in a file of a strange name")
        return Path(self._directory, filename)


class StrictCache(diskcache.Cache):  # type: ignore[misc]  # diskcache has no types
    """A cache whose settings are the program's, whatever stands in its table of settings.

    Raises Tampered at any time, and at the opening whatever SQLite says of a broken file.
    """

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self._settings: dict[str, int | str] = {
            "statistics": 0,  # counting hits would turn every read into a write
            "tag_index": 0,
            # By the last use would turn every read into a write, too.
            "eviction_policy": "least-recently-stored",
            "size_limit": max_bytes,
            "cull_limit": 10,
            "sqlite_auto_vacuum": 1,
            "sqlite_cache_size": 2048,  # pages of 4 KB; the system's own cache does the rest
            "sqlite_journal_mode": "wal",
            "sqlite_mmap_size": 64 * 1024 * 1024,
            "sqlite_synchronous": 1,
            "disk_min_file_size": 32 * 1024,
            "disk_pickle_protocol": 0,  # never used; the library wants one
        }
        super().__init__(str(folder), timeout=BUSY_S, disk=BytesDisk, **self._settings)

    def reset(self, key: str, value: object = ENOVAL, update: bool = True) -> object:
        """Return a counter, or set a setting to what it must be."""
        if key in METADATA:
            counter = super().reset(key)
            if type(counter) is not int:
                raise Tampered(f"the counter {key!r} is no number")
            return counter
        if key not in self._settings:
            raise Tampered("there is a setting that is not ours")
        return super().reset(key, self._settings[key], update)
