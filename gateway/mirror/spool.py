"""Files that are still arriving: one fetcher per machine and key, any number who follow it.

``<key>.part`` holds the bytes so far and ``<key>.part.json`` what upstream said about them. Whoever
fetches holds an exclusive ``flock`` on the ``.part`` file. The kernel drops that lock the moment
its process ends, however it ends, and no sooner. So a fetch whose process was killed is noticed at
once and taken over, without a lease to wait for or a clock to compare. (A child forked without exec
would share the lock and keep it alive: worker processes must be spawned.)

The bytes of a ``.part`` are only ever appended to. A fetch that has to begin again does so in a new
file, put in the old one's place: who reads the old one can then never be given a mixture.

``<key>.part.gone`` asks whoever fetches the file to drop it (see `Spool.condemn`).
"""

import fcntl
import hashlib
import json
import os
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from gateway.mirror.disk import Disk, OpenFile
from gateway.mirror.files import FileHeaders
from gateway.mirror.folder import shard

_PIECE = 1 << 20
_VECTORS = 512  # buffers handed to one write; the kernel takes at most 1,024
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class Condemned(Exception):
    """The file is being deleted while it is still arriving."""


@dataclass(frozen=True, slots=True)
class Description:
    """What stands in ``.part.json``.

    ``inode`` says which ``.part`` it belongs to. ``boot`` is the machine's run in which the bytes
    were written: after a power cut, a length on the disk does not vouch for the bytes below it.
    """

    inode: int
    boot: str
    headers: FileHeaders

    def to_json(self) -> bytes:
        """Return the text of the file."""
        return json.dumps(asdict(self), sort_keys=True).encode()

    @classmethod
    def read(cls, path: Path, inode: int) -> "Description | None":
        """Return the description of the part with this inode, None if there is none yet."""
        try:
            found = json.loads(path.read_bytes())
            headers = FileHeaders(**found.pop("headers"))
            description = cls(headers=headers, **found)
        except (FileNotFoundError, ValueError, TypeError, KeyError, AttributeError):
            return None
        return description if description.inode == inode else None


class Part:
    """A file being fetched by this process, which holds its lock. All methods block."""

    def __init__(self, disk: Disk, path: Path, fd: int) -> None:
        self._disk = disk
        self._boot = _boot()
        self.path = path
        self._digest = hashlib.sha256()
        self.file = OpenFile(disk, fd)
        self.size = 0
        self.headers: FileHeaders | None = None
        self.trusted = True  # the bytes here are the ones that were written
        self._held = True

    def recall(self) -> None:
        """Take over what an earlier fetcher left: its bytes, counted and hashed."""
        description = Description.read(_beside(self.path, ".json"), self.file.inode)
        left = os.fstat(self.file.fd).st_size
        if left and description is None:
            self._swap()
            return
        while piece := os.pread(self.file.fd, _PIECE, self.size):
            self._digest.update(piece)
            self.size += len(piece)
        if description is not None:
            self.trusted = description.boot == self._boot != ""
            # Bytes of an earlier run of the machine are compared with upstream's, all of them.
            ranges = description.headers.ranges and self.trusted
            self.headers = replace(description.headers, ranges=ranges)

    def describe(self, headers: FileHeaders) -> None:
        """Tell everybody what is arriving; comes before the first byte."""
        self.headers = headers
        text = Description(self.file.inode, self._boot, headers).to_json()
        target = _beside(self.path, ".json")
        fresh = _beside(self.path, ".json.new")
        fresh.write_bytes(text)
        fresh.rename(target)

    def write(self, pieces: list[bytes]) -> None:
        """Append; raises Condemned when the file is being deleted, OSError when it cannot."""
        if self.condemned():
            raise Condemned
        for first in range(0, len(pieces), _VECTORS):
            some = pieces[first : first + _VECTORS]
            wanted = sum(map(len, some))
            done = os.pwritev(self.file.fd, some, self.size)
            if done < wanted:
                _write_all(self.file.fd, b"".join(some)[done:], self.size + done)
            for piece in some:
                self._digest.update(piece)
            self.size += wanted

    def condemned(self) -> bool:
        """Return whether somebody wants this file deleted."""
        return _beside(self.path, ".gone").exists()

    def sha256(self) -> str:
        """Return the digest of all bytes so far, in hex."""
        return self._digest.hexdigest()

    def begin_again(self) -> None:
        """Put an empty part in the place of this one; its readers keep the old bytes."""
        self._swap()

    def _swap(self) -> None:
        _beside(self.path, ".json").unlink(missing_ok=True)
        fresh = _beside(self.path, ".new")
        fresh.unlink(missing_ok=True)
        fd = os.open(fresh, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        # Locked before it gets the name: at no moment is there a .part that nobody holds.
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        fresh.rename(self.path)
        old, self.file = self.file, OpenFile(self._disk, fd)
        fcntl.flock(old.fd, fcntl.LOCK_UN)
        old.close()
        self._digest = hashlib.sha256()
        self.size = 0
        self.headers = None
        self.trusted = True

    def finish(self) -> None:
        """Leave a file that the store has taken over."""
        try:
            if _inode(self.path) == self.file.inode:
                self.path.unlink()
            _beside(self.path, ".json").unlink(missing_ok=True)
        finally:
            self.leave()

    def discard(self) -> None:
        """Remove the bytes so far, and with them a wish to have them removed."""
        try:
            _beside(self.path, ".json").unlink(missing_ok=True)
            self.path.unlink(missing_ok=True)
            _beside(self.path, ".gone").unlink(missing_ok=True)
        finally:
            self.leave()

    def leave(self) -> None:
        """Give the lock back; the bytes stay for whoever resumes, but nothing is no bytes.

        It is given back expressly, not by closing: readers of this process may keep the descriptor
        open long after.
        """
        if self._held:
            self._held = False
            if os.fstat(self.file.fd).st_size == 0 and _inode(self.path) == self.file.inode:
                _beside(self.path, ".json").unlink(missing_ok=True)
                self.path.unlink(missing_ok=True)
            fcntl.flock(self.file.fd, fcntl.LOCK_UN)
            self.file.close()


@dataclass(frozen=True, slots=True)
class Sighting:
    """How far another process's fetch is: bytes so far, and whether it still goes on."""

    size: int
    headers: FileHeaders | None
    left: bool
    replaced: bool


class Watched:
    """A part that another process fetches, seen from here. `look` blocks."""

    def __init__(self, disk: Disk, path: Path, fd: int) -> None:
        self._path = path
        self._described: FileHeaders | None = None
        self.file = OpenFile(disk, fd)

    def look(self) -> Sighting:
        """Return how far it is."""
        # The lock first: what is there once the fetcher has left is final.
        left = _try_lock(self.file.fd)
        if left:
            fcntl.flock(self.file.fd, fcntl.LOCK_UN)
        if self._described is None or self._described.size is None:
            found = Description.read(_beside(self._path, ".json"), self.file.inode)
            self._described = found.headers if found is not None else self._described
        size = os.fstat(self.file.fd).st_size
        replaced = _inode(self._path) not in (None, self.file.inode)
        return Sighting(size, self._described, left, replaced)


class Spool:
    """The parts of one folder. All methods block."""

    def __init__(self, folder: Path, disk: Disk) -> None:
        self._folder = folder
        self._disk = disk

    def claim(self, key: str) -> Part | None:
        """Become the one who fetches this file, None if somebody else is; raises OSError."""
        path = self._path(key)
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        while True:
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            if not _try_lock(fd):
                os.close(fd)
                return None
            if _inode(path) == os.fstat(fd).st_ino:
                return Part(self._disk, path, fd)
            os.close(fd)  # the last holder finished between our open and our lock

    def watch(self, key: str) -> Watched | None:
        """Look on while somebody else fetches, None if there is nothing to look at."""
        path = self._path(key)
        try:
            return Watched(self._disk, path, os.open(path, os.O_RDONLY | os.O_CLOEXEC))
        except FileNotFoundError:
            return None

    def condemn(self, key: str) -> bool:
        """Ask whoever fetches this file, in whatever process, to drop it; False if nobody does."""
        path = self._path(key)
        if not path.exists():
            return False
        _beside(path, ".gone").touch(mode=0o600)
        return True

    def parts(self, row: int) -> list[tuple[str, float]]:
        """Return the keys and last changes (Unix seconds) of the parts in one first folder."""
        found: list[tuple[str, float]] = []
        for path in (self._folder / f"{row:02x}").glob("*/*.part"):
            try:
                found.append((path.stem, path.stat().st_mtime))
            except FileNotFoundError:
                continue  # it was finished meanwhile
        return found

    def _path(self, key: str) -> Path:
        return shard(self._folder, key) / f"{key}.part"


def _beside(path: Path, ending: str) -> Path:
    return path.with_name(path.name + ending)


def _try_lock(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _inode(path: Path) -> int | None:
    try:
        return path.stat().st_ino
    except FileNotFoundError:
        return None


def _write_all(fd: int, rest: bytes, at: int) -> None:
    while rest:
        done = os.pwrite(fd, rest, at)
        rest, at = rest[done:], at + done


def _boot() -> str:
    try:
        return _BOOT_ID.read_text().strip()
    except OSError:
        return ""  # not Linux: bytes of an ended process are compared, never trusted
