import asyncio
from pathlib import Path

import pytest

from gateway.mirror import (
    Mirror,
    OutputBroken,
    OutputGone,
    Reading,
    StoredFile,
    spool,
)
from tests.mirror.conftest import (
    URL,
    Maker,
    Results,
    eventually,
    only,
    read_all,
    remains,
    with_time,
)
from tests.mirror.sources import (
    FakeSource,
    cut,
    ending_at,
    longer,
    made_bytes,
    refused,
    truncated,
    unreachable,
)
from tests.support.clock import ManualClock

SIZE = 1_000_000


def changed_to(source: FakeSource, body: bytes, etag: str | None) -> None:
    source.body, source.etag = body, etag


async def test_a_broken_fetch_asks_for_the_rest_only(
    make: Maker, clock: ManualClock, results: Results
) -> None:
    source = FakeSource(made_bytes(SIZE), script=[cut(300_000), cut(200_000)])
    mirror = await make(source)

    reading = await mirror.open(URL)
    assert await with_time(clock, read_all(reading)) == source.body

    assert source.asked == [(0, None), (300_000, '"v1"'), (500_000, '"v1"')]
    await eventually(lambda: results == ["stored"])
    assert results.bytes == SIZE


@pytest.mark.parametrize("etag", [None, 'W/"weak"'])
async def test_without_a_strong_etag_the_file_is_compared_and_goes_on(
    make: Maker, clock: ManualClock, etag: str | None
) -> None:
    source = FakeSource(made_bytes(SIZE), etag=etag, script=[cut(300_000)])
    mirror = await make(source)

    reading = await mirror.open(URL)
    assert await with_time(clock, read_all(reading)) == source.body

    assert source.asked == [(0, None), (0, None)]


async def test_a_source_that_ignores_ranges_is_compared_too(
    make: Maker, clock: ManualClock
) -> None:
    source = FakeSource(made_bytes(SIZE), ranges=False, script=[cut(300_000)])
    mirror = await make(source)

    assert await with_time(clock, read_all(await mirror.open(URL))) == source.body


async def test_bytes_that_changed_on_the_way_are_never_mixed(
    make: Maker, clock: ManualClock, results: Results
) -> None:
    source = FakeSource(made_bytes(SIZE, "old"), etag=None, script=[cut(300_000)])
    mirror = await make(source)
    reading = await mirror.open(URL)
    got = await read_some(reading, 100_000)
    idle = await mirror.open(URL)

    source.body = made_bytes(SIZE, "new")
    with pytest.raises(OutputBroken):
        await with_time(clock, read_all(reading))

    assert got == made_bytes(SIZE, "old")[:100_000]
    assert await with_time(clock, read_all(idle)) == source.body
    assert await read_all(await mirror.open(URL)) == source.body
    await eventually(lambda: results == ["stored"])


async def read_some(reading: Reading, count: int) -> bytes:
    return b"".join([chunk async for chunk in reading.chunks(0, count)])


async def test_another_etag_breaks_off_those_who_were_told_the_first(
    make: Maker, clock: ManualClock
) -> None:
    source = FakeSource(made_bytes(SIZE, "old"), script=[cut(300_000)])
    mirror = await make(source)
    reading = await mirror.open(URL)

    changed_to(source, made_bytes(SIZE, "new"), '"v2"')
    with pytest.raises(OutputBroken):
        await with_time(clock, read_all(reading))

    later = await mirror.open(URL)
    assert later.etag == '"v2"'
    assert await read_all(later) == source.body


async def test_a_truncated_body_is_never_stored_or_served_as_whole(
    make: Maker, clock: ManualClock, results: Results, tmp_path: Path
) -> None:
    source = FakeSource(made_bytes(SIZE), etag=None, script=[truncated(400_000)] * 50)
    mirror = await make(source)

    reading = await mirror.open(URL)
    with pytest.raises(OutputBroken):
        await with_time(clock, read_all(reading))

    assert await mirror.stat(URL) is None
    assert results == ["broken"]
    assert mirror.stats().files == 0


async def test_a_body_that_is_too_long_is_never_served_as_whole(
    make: Maker, clock: ManualClock, results: Results
) -> None:
    source = FakeSource(made_bytes(65_536), chunk_size=65_536, script=[longer(b"and more")] * 50)
    mirror = await make(source)

    with pytest.raises(OutputBroken):
        await with_time(clock, read_all(await mirror.open(URL)))

    await with_time(clock, eventually(lambda: results == ["broken"]))
    assert await mirror.stat(URL) is None


async def test_the_last_byte_is_kept_back_until_the_end_is_checked(make: Maker) -> None:
    source = FakeSource(made_bytes(1_000), chunk_size=1_000)
    hold = asyncio.Event()

    source.script = [ending_at(hold)]
    mirror = await make(source)
    reading = await mirror.open(URL)
    chunks = reading.chunks()

    assert await anext(chunks) == source.body[:999]
    assert not reading.complete
    hold.set()
    assert await anext(chunks) == source.body[999:]
    with pytest.raises(StopAsyncIteration):
        await anext(chunks)
    await reading.aclose()


async def test_a_fetch_that_fails_for_good_leaves_bytes_for_the_next(
    make: Maker, clock: ManualClock, results: Results
) -> None:
    source = FakeSource(made_bytes(SIZE), script=[cut(300_000), *[unreachable] * 4])
    mirror = await make(source)
    with pytest.raises(OutputBroken):
        await with_time(clock, read_all(await mirror.open(URL)))
    await eventually(lambda: results == ["broken"])
    source.asked.clear()

    assert await read_all(await mirror.open(URL)) == source.body

    assert source.asked == [(300_000, '"v1"')]


async def test_a_file_that_expires_midway_is_gone_and_leaves_nothing(
    make: Maker, clock: ManualClock, tmp_path: Path, results: Results
) -> None:
    source = FakeSource(made_bytes(SIZE), script=[cut(300_000), refused(404)])
    mirror = await make(source)

    with pytest.raises(OutputGone):
        await with_time(clock, mirror.ensure(URL))

    await eventually(lambda: remains(tmp_path) == [])
    assert results == ["gone"]


async def interrupted(make: Maker, tmp_path: Path, source: FakeSource, at: int) -> None:
    """Begin a fetch and shut down when so many bytes are here."""
    source.gate, source.gate_at = asyncio.Event(), at
    mirror: Mirror = await make(source)
    reading = await mirror.open(URL)
    assert len(await read_some(reading, at)) == at
    await reading.aclose()
    await mirror.__aexit__(None, None, None)
    assert remains(tmp_path) == [".part", ".part.json"]
    source.gate.set()
    source.asked.clear()


async def test_a_shutdown_leaves_bytes_that_the_next_process_goes_on_from(
    make: Maker, tmp_path: Path
) -> None:
    source = FakeSource(made_bytes(SIZE))
    await interrupted(make, tmp_path, source, 250_000)

    mirror = await make(source)
    stored = await mirror.ensure(URL)

    assert isinstance(stored, StoredFile)
    assert source.asked == [(250_000, '"v1"')]
    assert await read_all(await mirror.open(URL)) == source.body
    assert [finding.problem async for finding in mirror.verify()] == [None]
    assert remains(tmp_path) == ["", ".json"]


async def test_bytes_from_before_a_power_cut_are_compared_and_not_trusted(
    make: Maker, tmp_path: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = FakeSource(made_bytes(SIZE))
    await interrupted(make, tmp_path, source, 250_000)
    damage(tmp_path, at=100_000)
    monkeypatch.setattr(spool, "_boot", lambda: "another run of the machine")

    mirror = await make(source)

    assert isinstance(await with_time(clock, mirror.ensure(URL)), StoredFile)
    assert source.asked[0] == (0, None)
    assert await read_all(await mirror.open(URL)) == source.body


def damage(folder: Path, at: int) -> None:
    with only(folder, "*.part").open("r+b") as file:
        file.seek(at)
        file.write(b"\0" * 100)


async def test_a_file_that_was_all_here_when_the_process_died_is_not_fetched_again(
    make: Maker, tmp_path: Path
) -> None:
    source = FakeSource(made_bytes(SIZE))
    await interrupted(make, tmp_path, source, 250_000)
    part = only(tmp_path, "*.part")
    with part.open("ab") as file:
        file.write(source.body[250_000:])

    mirror = await make(source)
    reading = await mirror.open(URL)

    assert await read_all(reading) == source.body
    assert source.asked == []
    assert isinstance(await mirror.ensure(URL), StoredFile)


async def test_begun_files_that_nobody_wants_are_swept_away(
    make: Maker, tmp_path: Path, clock: ManualClock
) -> None:
    source = FakeSource(made_bytes(SIZE))
    await interrupted(make, tmp_path, source, 250_000)
    mirror = await make(source)
    part = only(tmp_path, "*.part")
    clock.advance(part.stat().st_mtime - clock.now() + 3_000)

    assert await mirror.sweep(3_600) == 0
    clock.advance(1_000)
    assert await mirror.sweep(3_600) == 1

    assert remains(tmp_path) == []
