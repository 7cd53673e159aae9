import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Protocol, TypeVar

import pytest

from gateway.mirror import Mirror, MirrorEvents, Reading, Source
from tests.support.clock import ManualClock

T = TypeVar("T")

URL = "https://replicate.delivery/xezq/abc/out-0.png"


def spawn(work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
    return asyncio.get_running_loop().create_task(work, name=name)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


async def read_all(reading: Reading, start: int = 0, end: int | None = None) -> bytes:
    try:
        return b"".join([chunk async for chunk in reading.chunks(start, end)])
    finally:
        await reading.aclose()


async def eventually(holds: Callable[[], bool]) -> None:
    """Return once it holds."""
    async with asyncio.timeout(20):
        while not holds():  # noqa: ASYNC110 -- it happens in threads and other processes
            await asyncio.sleep(0.001)


def remains(folder: Path, ending: str = "") -> list[str]:
    """Return the endings of all files of arriving or stored outputs below a folder."""
    names = [path.name for path in folder.rglob("*") if len(path.name.split(".")[0]) == 64]
    return sorted(name[64:] for name in names if name.endswith(ending))


def only(folder: Path, pattern: str) -> Path:
    """Return the one path below a folder that matches."""
    (path,) = folder.rglob(pattern)
    return path


async def with_time(clock: ManualClock, work: Coroutine[Any, Any, T]) -> T:
    """Run work, moving the clock on whenever somebody waits for it."""
    task = asyncio.ensure_future(work)
    while not task.done():
        await asyncio.wait([task], timeout=0.002)
        if clock.sleepers:
            clock.advance(10)
    return await task


class Results(list[str]):
    """What the mirror said of its fetches."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes = 0
        self.held: list[bool] = []

    def add_bytes(self, count: int) -> None:
        self.bytes += count


@pytest.fixture
def results() -> Results:
    return Results()


class Maker(Protocol):
    async def __call__(self, source: Source, **settings: Any) -> Mirror: ...


@pytest.fixture
async def make(tmp_path: Path, clock: ManualClock, results: Results) -> AsyncIterator[Maker]:
    async with AsyncExitStack() as stack:

        async def make(source: Source, **settings: Any) -> Mirror:
            options: dict[str, Any] = {
                "max_file_bytes": 1 << 30,
                "spawn": spawn,
                "events": MirrorEvents(results.append, results.add_bytes, results.held.append),
            } | settings
            return await stack.enter_async_context(
                Mirror(tmp_path / "mirror", source, clock, **options)
            )

        yield make
