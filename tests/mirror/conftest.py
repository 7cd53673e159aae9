import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from gateway.mirror import Mirror, MirrorEvents, Source
from tests.support.clock import ManualClock

URL = "https://replicate.delivery/xezq/abc/out-0.png"


def spawn(work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
    return asyncio.get_running_loop().create_task(work, name=name)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


class Results(list[str]):
    """What the mirror said of its fetches."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes = 0

    def add_bytes(self, count: int) -> None:
        self.bytes += count


@pytest.fixture
def results() -> Results:
    return Results()


Maker = Callable[..., Any]


@pytest.fixture
async def make(tmp_path: Path, clock: ManualClock, results: Results) -> AsyncIterator[Maker]:
    async with AsyncExitStack() as stack:

        async def make(source: Source, **settings: Any) -> Mirror:
            options: dict[str, Any] = {
                "max_file_bytes": 1 << 30,
                "events": MirrorEvents(results.append, results.add_bytes),
            } | settings
            return await stack.enter_async_context(
                Mirror(tmp_path / "mirror", source, clock, spawn=spawn, **options)
            )

        yield make
