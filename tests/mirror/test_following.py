"""A fetch as another process sees it. Two mirrors on one folder stand for two processes: the lock
is a property of the open file, not of the process."""

import asyncio
from collections.abc import Awaitable
from pathlib import Path

import pytest

from gateway.mirror import Mirror, OutputBroken, Reading, StoredFile
from tests.mirror.conftest import URL, Maker, Results, eventually, read_all, remains, with_time
from tests.mirror.sources import FakeSource, cut, made_bytes, refused
from tests.support.clock import ManualClock

SIZE = 1_000_000


async def read_some(reading: Reading, count: int) -> bytes:
    return b"".join([chunk async for chunk in reading.chunks(0, count)])


class Pair:
    """A mirror that fetches, held at a gate, and one that looks on."""

    def __init__(self, fetching: Mirror, looking: Mirror, source: FakeSource) -> None:
        self.fetching = fetching
        self.looking = looking
        self.source = source

    async def opened(self, clock: ManualClock) -> tuple[Reading, Reading]:
        first = await self.fetching.open(URL)
        return first, await with_time(clock, self.looking.open(URL))


async def pair(make: Maker, source: FakeSource, at: int = 300_000) -> Pair:
    source.gate, source.gate_at = asyncio.Event(), at
    return Pair(await make(source), await make(source), source)


async def test_a_file_is_followed_and_stored_once(
    make: Maker, clock: ManualClock, results: Results
) -> None:
    both = await pair(make, FakeSource(made_bytes(SIZE)))
    first, second = await both.opened(clock)
    assert second.size == SIZE
    assert not second.complete
    assert await with_time(clock, read_some(second, 300_000)) == both.source.body[:300_000]

    both.source.gate.set()
    bodies = await with_time(clock, together(read_all(first), read_all(second)))

    assert bodies == [both.source.body] * 2
    assert both.source.asked == [(0, None)]
    assert isinstance(await with_time(clock, both.looking.ensure(URL)), StoredFile)
    await eventually(lambda: results == ["stored"])


async def together(*work: Awaitable[bytes]) -> list[bytes]:
    return await asyncio.gather(*work)


async def test_a_file_without_a_length_is_followed_to_its_end(
    make: Maker, clock: ManualClock
) -> None:
    both = await pair(make, FakeSource(made_bytes(SIZE), lengths=False))
    first, second = await both.opened(clock)
    assert second.size is None

    both.source.gate.set()

    assert (
        await with_time(clock, together(read_all(first), read_all(second)))
        == [both.source.body] * 2
    )
    assert both.source.asked == [(0, None)]


async def test_a_fetch_that_begins_again_breaks_off_who_has_read_and_serves_who_has_not(
    make: Maker, clock: ManualClock
) -> None:
    source = FakeSource(made_bytes(SIZE, "old"), etag=None, script=[cut(600_000)])
    both = await pair(make, source)
    _, second = await both.opened(clock)
    idle = await both.looking.open(URL)
    assert await with_time(clock, read_some(second, 300_000)) == source.body[:300_000]

    source.body = made_bytes(SIZE, "new")
    source.gate.set()

    with pytest.raises(OutputBroken):
        await with_time(clock, read_all(second))
    assert await with_time(clock, read_all(idle)) == source.body
    assert len(source.asked) == 3


async def test_a_fetch_that_another_process_gave_up_is_tried_here(
    make: Maker, clock: ManualClock
) -> None:
    source = FakeSource(made_bytes(SIZE), script=[cut(400_000), refused(403)])
    both = await pair(make, source)
    first, second = await both.opened(clock)
    source.gate.set()

    outcomes = await with_time(clock, outcomes_of(first, second))

    assert isinstance(outcomes[0], OutputBroken)
    assert outcomes[1] == source.body
    assert source.asked == [(0, None), (400_000, '"v1"'), (400_000, '"v1"')]


async def outcomes_of(*readings: Reading) -> list[bytes | BaseException]:
    return await asyncio.gather(*map(read_all, readings), return_exceptions=True)


async def test_who_follows_a_file_that_is_too_large_passes_it_through(
    make: Maker, tmp_path: Path, clock: ManualClock
) -> None:
    source = FakeSource(made_bytes(SIZE), gate=asyncio.Event(), gate_at=300_000)
    fetching, looking = await make(source), await make(source, max_file_bytes=500_000)
    first = await fetching.open(URL)
    second = await with_time(clock, looking.open(URL))
    await with_time(clock, read_some(second, 300_000))
    await fetching.__aexit__(None, None, None)
    source.gate.set()

    assert await with_time(clock, read_all(second)) == source.body
    await first.aclose()
    await eventually(lambda: remains(tmp_path) == [])


async def test_nobody_looks_on_when_nobody_waits(make: Maker, clock: ManualClock) -> None:
    both = await pair(make, FakeSource(made_bytes(SIZE)))
    first, second = await both.opened(clock)
    await second.aclose()

    await with_time(clock, eventually_done(clock))
    assert clock.sleepers == 0
    both.source.gate.set()
    assert await read_all(first) == both.source.body


async def eventually_done(clock: ManualClock) -> None:
    quiet = 0
    while quiet < 20:
        await asyncio.sleep(0.001)
        quiet = quiet + 1 if clock.sleepers == 0 else 0
