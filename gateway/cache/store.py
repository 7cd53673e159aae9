"""The cache on disk: quick to read, off the loop to write, never a reason to fail."""

import asyncio
import contextlib
import fcntl
import logging
import shutil
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, NamedTuple, TypeVar

from diskcache import Timeout

from gateway.cache.disk import Refused, StrictCache, Tampered
from gateway.clock import Clock

_log = logging.getLogger(__name__)

T = TypeVar("T")

_LOCK_NAME: Final = "lock"
_MAX_WAITING_BYTES: Final = 64 * 1024 * 1024
_TELL_EVERY_S: Final = 60.0
_PROBE: Final = " probe"
_INSIST_TIMES: Final = 50  # of BUSY_S each


class Stats(NamedTuple):
    """What a cache holds, in pieces and bytes, and the bytes that it may hold."""

    items: int
    bytes: int
    max_bytes: int


class Cache:
    """Bytes under strings, in a folder that several processes share.

    The oldest entries go when there are more than `max_bytes`; 0 keeps nothing at all. A folder
    that cannot be read is wiped. Whatever else fails is a miss: it is logged (once a minute at
    most), and `on_failure` is called, from any thread. Nothing is raised.
    """

    def __init__(
        self,
        folder: Path,
        max_bytes: int,
        *,
        clock: Clock,
        on_failure: Callable[[], None] | None = None,
    ) -> None:
        self._folder = folder
        self._max_bytes = max_bytes
        self._clock = clock
        self._on_failure = on_failure
        # One thread: SQLite has one writer anyway, and the order of writes stays that of the calls.
        self._writer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="cache")
        self._waiting_bytes = 0  # touched on the loop only
        self._telling = threading.Lock()
        self._told_at = float("-inf")
        self._untold = 0
        self._mending = threading.Lock()
        self._opened: tuple[int, int] | None = None  # which file is open: another may replace it
        self._store: StrictCache | None = None
        if max_bytes > 0:
            self._open()

    def get(self, key: str) -> bytes | None:
        """Return the value; None if it is not here or cannot be read. Takes some 10 µs."""
        store = self._store
        if store is None:
            return None
        try:
            value: bytes | None = store.get(key)
        except Refused as error:
            self._failed("read", error)
            self._later(lambda: self._drop(key))
            return None
        except Exception as error:  # noqa: BLE001 - a cache that cannot be read is a miss
            self._failed("read", error)
            return None
        return value

    async def set(self, key: str, value: bytes, ttl: float | None = None) -> None:
        """Keep the value, for `ttl` seconds by the system's clock if given.

        Not kept are values over a quarter of the cache, and any while too much waits to be written.
        """
        store = self._store
        size = len(value)
        if store is None or size * 4 > self._max_bytes:
            return
        if self._waiting_bytes + size > _MAX_WAITING_BYTES:
            self._failed("write", "the disk does not keep up")
            return
        self._waiting_bytes += size
        try:
            await self._off_loop("write", lambda: store.set(key, value, expire=ttl), None)
        finally:
            self._waiting_bytes -= size

    async def delete(self, key: str) -> bool:
        """Drop the value; False if it may still be here, because the cache could not be written."""
        return await self._off_loop("delete", lambda: self._drop(key), False)

    async def clear(self) -> int:
        """Drop everything, and return how many values that were."""
        store = self._store
        if store is None:
            return 0
        return await self._off_loop("clear", lambda: _insist(store.clear), 0)

    def stats(self) -> Stats:
        """Return what is here now; quick."""
        store = self._store
        if store is None:
            return Stats(0, 0, self._max_bytes)
        try:
            return Stats(len(store), int(store.volume()), self._max_bytes)
        except Exception as error:  # noqa: BLE001 - numbers are no reason to fail either
            self._failed("measure", error)
            return Stats(0, 0, self._max_bytes)

    async def fault(self) -> str | None:
        """Try whether values can be kept, and return what is wrong; None if all is well."""
        if self._max_bytes <= 0:
            return None
        store = self._store
        if store is None:
            return "the cache folder cannot be used"

        def probe() -> str | None:
            token = str(self._clock.monotonic()).encode()
            _insist(lambda: store.set(_PROBE, token))
            # Another process may probe at the same time: anything that comes back will do.
            return None if store.get(_PROBE) is not None else "what was written does not come back"

        return await self._off_loop("probe", probe, "the cache cannot be written")

    async def close(self) -> None:
        """Finish what is being written and close; nothing is kept any more."""
        store, self._store = self._store, None
        if store is not None:
            self._later(store.close)
        await asyncio.to_thread(self._writer.shutdown)
        if store is not None:
            store.close()

    def _drop(self, key: str) -> bool:
        store = self._store
        if store is not None:
            _insist(lambda: store.delete(key))
        return True

    async def _off_loop(self, doing: str, work: Callable[[], T], otherwise: T) -> T:
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._writer, work)
        except Exception as error:  # noqa: BLE001 - nothing that the cache does may fail a request
            self._failed(doing, error)
            return otherwise

    def _later(self, work: Callable[[], object]) -> None:
        def careful() -> None:
            try:
                work()
            except Exception as error:  # noqa: BLE001 - nobody waits for it
                self._failed("tidy up", error)

        with contextlib.suppress(RuntimeError):  # closed: there is nothing to tidy up any more
            self._writer.submit(careful)

    def _failed(self, doing: str, why: Exception | str) -> None:
        if self._on_failure is not None:
            self._on_failure()
        if isinstance(why, Exception) and _broken(why) and self._mending.acquire(blocking=False):
            self._later(self._mend)
        with self._telling:
            now = self._clock.monotonic()
            self._untold += 1
            if now - self._told_at < _TELL_EVERY_S:
                return
            times, self._untold, self._told_at = self._untold, 0, now
        text = why if isinstance(why, str) else f"{type(why).__name__}: {why}"
        _log.warning("the cache failed to %s (%d failures since last told): %s", doing, times, text)

    def _mend(self) -> None:
        """Open the cache anew, wiped unless another process has done so already."""
        try:
            broken, self._store = self._store, None
            if broken is not None:
                broken.close()
            self._open(broken=self._opened)
        finally:
            self._mending.release()

    def _open(self, broken: tuple[int, int] | None = None) -> None:
        """Open the folder, wiping it if need be; without success the cache keeps nothing."""
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._folder.chmod(0o700)
            # One at a time: a folder that another process is just making looks broken.
            with _locked(self._folder / _LOCK_NAME):
                if broken is not None and broken == _file_id(self._folder):
                    self._wipe("it broke")
                try:
                    self._store = StrictCache(self._folder, self._max_bytes)
                except Exception as error:  # noqa: BLE001 - SQLite's, the library's or our own
                    self._wipe(f"{type(error).__name__}: {error}")
                    self._store = StrictCache(self._folder, self._max_bytes)
                self._opened = _file_id(self._folder)
        except Exception:  # noqa: BLE001 - whatever it is, the gateway works without this cache
            _log.exception("the cache folder cannot be used; nothing is cached on disk")
            if self._on_failure is not None:
                self._on_failure()

    def _wipe(self, why: str) -> None:
        _log.warning("the cache is wiped and begun anew: %s", why)
        for entry in self._folder.iterdir():
            if entry.name == _LOCK_NAME:
                continue
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            else:
                entry.unlink()


def _insist(work: Callable[[], int]) -> int:
    """Do it however busy other processes keep the database, within bounds; return the sum.

    The library's own way of insisting never ends when the database cannot be written at all.
    """
    done = 0
    for _ in range(_INSIST_TIMES):
        try:
            return done + work()
        except Timeout as busy:
            # What was removed in pieces before it got busy.
            done += sum(part for part in busy.args if isinstance(part, int))
    raise Timeout


def _broken(error: Exception) -> bool:
    """Whether the database itself is at fault, rather than the moment (busy, full) or one entry.

    SQLite's errors are told by name: its driver belongs to the ledger, and here it is hidden behind
    diskcache. A corrupt file raises the class itself; a busy or full one raises a subclass.
    """
    return isinstance(error, Tampered) or type(error).__name__ == "DatabaseError"


def _file_id(folder: Path) -> tuple[int, int] | None:
    try:
        found = (folder / "cache.db").stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold a lock between processes; it ends with its holder, however that ends."""
    with path.open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
