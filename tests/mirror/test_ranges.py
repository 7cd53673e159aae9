import asyncio
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.mirror import Mirror, StoredFile
from tests.mirror.conftest import URL, read_all, spawn, with_time
from tests.mirror.sources import FakeSource, cut, made_bytes
from tests.support.clock import ManualClock

Read = Callable[[int, int | None], Awaitable[None]]
SIZES = st.integers(0, 400_000)
RANGES = st.lists(
    st.tuples(st.integers(0, 450_000), st.none() | st.integers(0, 450_000)), min_size=1, max_size=5
)


@settings(max_examples=40, deadline=None)
@given(
    size=SIZES,
    chunk_size=st.sampled_from([1_000, 65_536, 99_991, 1 << 20]),
    lengths=st.booleans(),
    etag=st.sampled_from(['"strong"', 'W/"weak"', None]),
    ranges=st.booleans(),
    cuts=st.lists(st.integers(0, 400_000), max_size=3),
    limit=st.sampled_from([1 << 30, 100_000]),
    wanted=RANGES,
)
def test_every_reader_gets_exactly_the_range_it_asked_for(
    size: int,
    chunk_size: int,
    lengths: bool,
    etag: str | None,
    ranges: bool,
    cuts: list[int],
    limit: int,
    wanted: list[tuple[int, int | None]],
) -> None:
    """However the bytes come: in chunks, broken off, with and without length, kept or not."""
    keeps = size <= limit
    source = FakeSource(
        made_bytes(size),
        etag=etag,
        lengths=lengths,
        ranges=ranges,
        chunk_size=chunk_size,
        # A file that is passed through is not fetched again for its reader.
        script=[cut(at) for at in cuts] if keeps else [],
    )

    async def scenario(folder: Path) -> None:
        clock = ManualClock()
        async with Mirror(folder, source, clock, limit, spawn) as mirror:

            async def read(start: int, end: int | None) -> None:
                reading = await mirror.open(URL)
                assert reading.size in (size, None)
                assert await read_all(reading, start, end) == source.body[start:end]

            await with_time(clock, everybody(read, wanted))
            stored = await with_time(clock, mirror.ensure(URL))
            assert isinstance(stored, StoredFile) is keeps
            await with_time(clock, everybody(read, wanted))
            assert source.open_now == 0

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(scenario(Path(folder)))


async def everybody(read: Read, wanted: list[tuple[int, int | None]]) -> None:
    await asyncio.gather(*(read(start, end) for start, end in wanted))
