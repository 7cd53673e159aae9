"""The store that keeps files in a local folder: ``ab/cd/<key>`` with ``<key>.json`` beside it.

The sidecar is renamed into place before the bytes and removed before them, so bytes without a
sidecar are never a file, and a file whose bytes are missing reads as absent. Both are found by
`remains`.
"""

import errno
import fcntl
import logging
import os
from collections import OrderedDict
from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path

from gateway.mirror.disk import Disk, OpenFile
from gateway.mirror.files import Finding, Problem, StoredFile, Usage
from gateway.mirror.store import OpenedFile, StoreFull
from gateway.mirror.usage import ROWS, UsageTable, UsageTurn

_log = logging.getLogger(__name__)

_KEY_LENGTH = 64
_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_SIDECAR = ".json"
_REMEMBERED = 4_096  # sidecars of files opened lately; about a kilobyte each


def shard(folder: Path, key: str) -> Path:
    """Return the folder in which everything of this key lives: 65,536 of them keep each small."""
    return folder / key[:2] / key[2:4]


def means_full(fault: OSError) -> bool:
    """Return whether a fault of the disk says that there is no room, rather than that it broke."""
    return fault.errno in _NO_ROOM


class FolderStore:
    """Whole files in a local folder, shared by all processes of the machine."""

    def __init__(self, folder: Path, disk: Disk) -> None:
        self._folder = folder
        self._disk = disk
        self._table: UsageTable | None = None
        self._recent: OrderedDict[str, tuple[StoredFile, int]] = OrderedDict()

    async def start(self) -> None:
        """Make the folder, readable by its owner only; raises OSError."""
        if self._table is None:
            self._table = await self._disk.run(self._start)

    def _start(self) -> UsageTable:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return UsageTable(self._folder / "usage")

    async def close(self) -> None:
        """Let the folder go."""
        if self._table is not None:
            self._table.close()
            self._table = None

    async def get(self, key: str) -> StoredFile | None:
        """Return what is known of a file, None if it is not here."""
        return await self._disk.run(self._get, key)

    async def open(self, key: str) -> OpenedFile | None:
        """Open a file for reading, None if it is not here."""
        if (opened := self._open_again(key)) is not None:
            return opened
        opened = await self._disk.acquire(partial(self._open, key), _give_back)
        if opened is not None and isinstance(opened.content, OpenFile):
            self._recent[key] = (opened.file, opened.content.inode)
            while len(self._recent) > _REMEMBERED:
                self._recent.popitem(last=False)
        return opened

    async def put(self, file: StoredFile, path: Path) -> None:
        """Move the bytes at ``path`` into place; raises StoreFull, OSError."""
        try:
            await self._disk.run(self._put, file, path)
        except OSError as fault:
            if means_full(fault):
                raise StoreFull from fault
            raise

    async def delete(self, key: str) -> bool:
        """Remove a file; returns whether it was here."""
        self._recent.pop(key, None)
        return await self._disk.run(self._delete, key)

    async def files(self) -> AsyncIterator[StoredFile]:
        """Yield all files, in no order."""
        for row in range(ROWS):
            for file in await self._disk.run(self._list_row, row):
                yield file

    async def remains(self) -> AsyncIterator[Finding]:
        """Yield bytes without a sidecar, and sidecars without bytes or that cannot be read."""
        for row in range(ROWS):
            for finding in await self._disk.run(self._remains_of_row, row):
                yield finding

    def usage(self) -> Usage:
        """Return what is stored; exact once `recount` has been through."""
        return self._opened.total()

    async def recount(self) -> None:
        """Count the folder anew, a 256th at a time; the others may be changed meanwhile.

        Of several processes that start together one counts.
        """
        fd = await self._disk.acquire(partial(_lock_alone, self._folder / "usage.count"), _close)
        if fd is None:
            return
        try:
            for row in range(ROWS):
                await self._disk.run(self._recount_row, row)
        finally:
            os.close(fd)

    @property
    def _opened(self) -> UsageTable:
        if self._table is None:
            raise RuntimeError("the store has not been started, or is closed")
        return self._table

    def _bytes_path(self, key: str) -> Path:
        return shard(self._folder, key) / key

    def _name(self, key: str) -> str:
        # The same as `_bytes_path`, at a tenth of its cost.
        return f"{self._folder}/{key[:2]}/{key[2:4]}/{key}"

    def _sidecar_path(self, key: str) -> Path:
        return shard(self._folder, key) / (key + _SIDECAR)

    def _open_again(self, key: str) -> OpenedFile | None:
        """Open a file that was opened lately, without a thread.

        Its names are in the kernel's memory, where a hop to a thread costs ten times as much as the
        two calls. What is remembered is of use only while the name leads to the same bytes: other
        processes delete and replace, too.
        """
        file, inode = self._recent.get(key, (None, 0))
        if file is None:
            return None
        try:
            fd = os.open(self._name(key), os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            del self._recent[key]
            return None
        content = OpenFile(self._disk, fd)
        if content.inode == inode and os.fstat(fd).st_size == file.size:
            return OpenedFile(file, content)
        content.close()
        del self._recent[key]
        return None

    def _get(self, key: str) -> StoredFile | None:
        file = self._read_sidecar(key)
        if file is None:
            return None
        try:
            size = self._bytes_path(key).stat().st_size
        except FileNotFoundError:
            return None
        return file if self._fits(file, size) else None

    def _open(self, key: str) -> OpenedFile | None:
        file = self._read_sidecar(key)
        if file is None:
            return None
        try:
            fd = os.open(self._name(key), os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        content = OpenFile(self._disk, fd)
        if self._fits(file, os.fstat(fd).st_size):
            return OpenedFile(file, content)
        content.close()
        return None

    def _read_sidecar(self, key: str) -> StoredFile | None:
        try:
            return StoredFile.from_json(self._sidecar_path(key).read_bytes())
        except FileNotFoundError:
            return None
        except ValueError:
            _log.error("the sidecar of mirrored file %s is damaged: taken as absent", key[:12])
            return None

    @staticmethod
    def _fits(file: StoredFile, size: int) -> bool:
        if file.size != size:
            _log.error(
                "mirrored file %s has %d bytes, not %d: taken as absent",
                file.key[:12],
                size,
                file.size,
            )
        return file.size == size

    def _put(self, file: StoredFile, path: Path) -> None:
        final, sidecar = self._bytes_path(file.key), self._sidecar_path(file.key)
        final.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        fresh = sidecar.with_name(sidecar.name + ".new")
        _sync(path)
        try:
            fresh.write_bytes(file.to_json())
            _sync(fresh)
        except OSError:
            _unlink(fresh)
            raise
        with self._opened.turn() as turn:
            # An earlier file goes first, so that its bytes are never seen with the new sidecar.
            self._drop(turn, file.key)
            fresh.rename(sidecar)
            try:
                path.rename(final)
            except OSError:
                sidecar.unlink()
                raise
            turn.add(_row(file.key), 1, file.size)
        _sync(final.parent)

    def _delete(self, key: str) -> bool:
        with self._opened.turn() as turn:
            return self._drop(turn, key)

    def _drop(self, turn: UsageTurn, key: str) -> bool:
        described = _unlink(self._sidecar_path(key))
        size = _size_of(self._bytes_path(key))
        if size is not None:
            self._bytes_path(key).unlink()
            if described:
                turn.add(_row(key), -1, -size)
        return described and size is not None

    def _keys_of_row(self, row: int) -> Iterator[tuple[str, bool, bool]]:
        """Yield each key of a row with whether its sidecar and its bytes are there."""
        top = self._folder / f"{row:02x}"
        try:
            below = [entry.path for entry in os.scandir(top) if entry.is_dir()]
        except FileNotFoundError:
            return
        for folder in below:
            names = {entry.name for entry in os.scandir(folder)}
            for key in {name[:_KEY_LENGTH] for name in names}:
                yield key, key + _SIDECAR in names, key in names

    def _list_row(self, row: int) -> list[StoredFile]:
        found = [
            self._read_sidecar(key) for key, described, _ in self._keys_of_row(row) if described
        ]
        return [file for file in found if file is not None]

    def _remains_of_row(self, row: int) -> list[Finding]:
        found: list[Finding] = []
        for key, described, present in self._keys_of_row(row):
            unreadable = described and self._read_sidecar(key) is None
            if unreadable or (present and not described and not self._sidecar_path(key).exists()):
                found.append(Finding(key, Problem.SIDECAR_MISSING, None))
        return found

    def _recount_row(self, row: int) -> None:
        with self._opened.turn() as turn:
            sizes = [
                _size_of(self._bytes_path(key)) or 0
                for key, described, present in self._keys_of_row(row)
                if described and present
            ]
            turn.set(row, len(sizes), sum(sizes))


def _give_back(opened: OpenedFile | None) -> None:
    if opened is not None:
        opened.content.close()


def _close(fd: int | None) -> None:
    if fd is not None:
        os.close(fd)


def _lock_alone(path: Path) -> int | None:
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        return None
    return fd


def _row(key: str) -> int:
    return int(key[:2], 16)


def _size_of(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return None


def _unlink(path: Path) -> bool:
    try:
        path.unlink()
    except FileNotFoundError:
        return False
    return True


def _sync(path: Path) -> None:
    """Wait until the disk has this file, or the names in this folder."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
