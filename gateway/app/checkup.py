"""The points that a set-up is examined for, on this machine: disk, ledger, cache, limits, time.

Each point is one function; what it finds is a :class:`Finding`. What needs the network is in
gateway/app/checkup_network.py.
"""

import asyncio
import resource
import shutil
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from gateway.cache import Cache
from gateway.clock import Clock
from gateway.ledger import Ledger, LedgerError
from gateway.settings import Settings
from gateway.web.health import disk_check
from gateway.web.middleware import MAX_IN_FLIGHT

_FILES_PER_REQUEST = 2
_OTHER_FILES = 200
_SPARE_BYTES = 1024**3


class Verdict(StrEnum):
    """How a point stands."""

    OK = "ok"
    NOTE = "note"
    """It works, and there is something to know."""
    FAILED = "failed"
    SKIPPED = "skipped"
    """It cannot be told now."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found at one point; `cure` says what to do about it."""

    point: str
    verdict: Verdict
    detail: str
    cure: str = ""


Point = Callable[[], Awaitable[Finding]]


def ok(point: str, detail: str) -> Finding:
    """Return that a point is well."""
    return Finding(point, Verdict.OK, detail)


def failed(point: str, detail: str, cure: str) -> Finding:
    """Return that a point is not well, and what to do."""
    return Finding(point, Verdict.FAILED, detail, cure)


async def disk(settings: Settings) -> Finding:
    """Whether the data folder can be written to, and has room."""
    folder = settings.storage.data_dir
    existing = _existing(folder)
    cure = "give the user of the gateway a folder that it may write to: storage.data_dir"
    if not existing.is_dir():
        return failed("disk", f"{existing} is no folder", cure)
    fault = await disk_check(existing)()
    if fault is not None and "free" in fault:
        return failed(
            "disk", f"{folder.absolute()}: {fault}", "make room, or move storage.data_dir"
        )
    if fault is not None:
        return failed("disk", f"{folder.absolute()}: {fault}", cure)
    free = shutil.disk_usage(existing).free
    said = f"{folder.absolute()} can be written to, {_size(free)} are free"
    if free < _SPARE_BYTES:
        return Finding("disk", Verdict.NOTE, said, "make room soon: outputs are kept here")
    return ok("disk", said)


async def ledger(settings: Settings, clock: Clock) -> Finding:
    """Whether the ledger can be read and written."""
    url, folder = settings.storage.database_url, settings.storage.data_dir
    if not url and not (folder / "ledger.sqlite3").exists():
        return ok("ledger", "none yet; the first start begins one")
    try:
        async with Ledger(url, clock, folder=folder) as opened:
            await opened.ping()
            where = "PostgreSQL" if opened.path is None else str(opened.path.absolute())
    except (LedgerError, OSError) as error:
        cure = "is it up, and may this machine reach it? storage.database_url"
        if not url:
            cure = "run this as the gateway's user; a damaged ledger is replaced by its backup"
        return failed("ledger", str(error), cure)
    return ok("ledger", f"{where} can be read and written")


async def cache(settings: Settings, clock: Clock) -> Finding:
    """Whether the cache's folder can be used."""
    folder = settings.storage.data_dir / "cache"
    if not folder.exists():
        return ok("cache", "none yet; the first start begins one")
    opened = Cache(folder, settings.cache.max_bytes, clock=clock)
    try:
        fault = await opened.fault()
    finally:
        await opened.close()
    if fault is not None:
        return failed("cache", fault, f"stop the gateway and remove {folder}: it holds only copies")
    return ok("cache", f"{folder.absolute()} can be used")


async def mirror(settings: Settings) -> Finding:
    """Whether output files can be stored."""
    if settings.mirror.store_url:
        return Finding("mirror", Verdict.SKIPPED, f"{settings.mirror.store_url} is not looked at")
    folder = settings.storage.data_dir / "mirror"
    if not folder.exists():
        return ok("mirror", "none yet; the first output begins one")
    fault = await disk_check(folder)()
    if fault is not None:
        cure = "let the gateway's user write there, and make room"
        return failed("mirror", f"{folder.absolute()}: {fault}", cure)
    return ok("mirror", f"{folder.absolute()} can be written to")


async def open_files() -> Finding:
    """Whether as many files may be open as a busy gateway has connections."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MAX_IN_FLIGHT * _FILES_PER_REQUEST + _OTHER_FILES
    said = f"{limit:,} may be open"
    if limit == resource.RLIM_INFINITY or limit >= wanted:
        return ok("open files", "any number may be open" if limit < 0 else said)
    cure = f"from {wanted:,} on a full gateway has enough: ulimit -n 65536, LimitNOFILE=65536"
    verdict = Verdict.FAILED if limit < 256 else Verdict.NOTE
    return Finding("open files", verdict, said, cure)


def local(settings: Settings, clock: Clock) -> list[Point]:
    """Return the points of this machine."""
    return [
        lambda: disk(settings),
        lambda: ledger(settings, clock),
        lambda: cache(settings, clock),
        lambda: mirror(settings),
        open_files,
    ]


async def look(points: list[Point]) -> list[Finding]:
    """Look at all points, at once; the findings come in their order."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(_found(point)) for point in points]
    return [task.result() for task in tasks]


async def _found(point: Point) -> Finding:
    return await point()


def _existing(folder: Path) -> Path:
    """Return the folder, or the nearest one above it that is there."""
    folder = folder.absolute()
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return folder


def _size(size: int) -> str:
    return f"{size / 1024**3:,.1f} GiB"
