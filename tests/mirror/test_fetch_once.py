import asyncio

import pytest

from gateway.mirror import (
    Mirror,
    OutputBroken,
    OutputGone,
    OutputUnreachable,
    Reading,
    StoredFile,
)
from tests.mirror.conftest import URL, Maker, Results
from tests.mirror.sources import FakeSource, made_bytes, refused, unreachable
from tests.support.clock import ManualClock


async def read_all(reading: Reading, start: int = 0, end: int | None = None) -> bytes:
    try:
        return b"".join([chunk async for chunk in reading.chunks(start, end)])
    finally:
        await reading.aclose()


async def test_twenty_readers_at_once_get_the_same_bytes_from_one_fetch(make: Maker) -> None:
    source = FakeSource(made_bytes(3_000_001))
    mirror: Mirror = await make(source)

    async def reader() -> bytes:
        return await read_all(await mirror.open(URL))

    bodies = await asyncio.gather(*(reader() for _ in range(20)))

    assert all(body == source.body for body in bodies)
    assert source.asked == [(0, None)]
    stored = await mirror.ensure(URL)
    assert isinstance(stored, StoredFile)
    assert stored.size == len(source.body)
    assert source.asked == [(0, None)]
