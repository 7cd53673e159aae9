import asyncio
import errno
import os
from pathlib import Path

import pytest

from gateway.mirror import (
    NotKept,
    OutputBroken,
    OutputGone,
    OutputUnreachable,
    StoredFile,
    Unstored,
)
from tests.mirror.conftest import URL, Maker, Results, eventually, read_all, remains
from tests.mirror.sources import FakeSource, cut, made_bytes, refused, unreachable

LIMIT = 200_000


async def test_a_file_over_the_limit_is_streamed_and_not_stored(
    make: Maker, results: Results, tmp_path: Path
) -> None:
    source = FakeSource(made_bytes(LIMIT + 1))
    mirror = await make(source, max_file_bytes=LIMIT)

    bodies = await asyncio.gather(*[read_all(await mirror.open(URL)) for _ in range(3)])

    assert all(body == source.body for body in bodies)
    assert results == ["too_large"]
    assert remains(tmp_path) == []
    assert source.open_now == 0


async def test_a_file_known_to_be_too_large_costs_each_reader_one_request(make: Maker) -> None:
    source = FakeSource(made_bytes(LIMIT + 1))
    mirror = await make(source, max_file_bytes=LIMIT)
    assert isinstance(await mirror.ensure(URL), Unstored)
    source.asked.clear()

    reading = await mirror.open(URL)
    assert (reading.size, reading.complete, reading.etag) == (LIMIT + 1, False, '"v1"')
    assert await read_all(reading) == source.body
    assert source.asked == [(0, None)]
    assert await mirror.ensure(URL) == Unstored(NotKept.TOO_LARGE, LIMIT + 1)
    assert source.asked == [(0, None)]


@pytest.mark.parametrize("ranges", [True, False])
async def test_a_part_of_a_file_that_is_too_large_can_be_read(make: Maker, ranges: bool) -> None:
    source = FakeSource(made_bytes(LIMIT * 2), ranges=ranges)
    mirror = await make(source, max_file_bytes=LIMIT)

    reading = await mirror.open(URL)

    assert await read_all(reading, 123_456, 234_567) == source.body[123_456:234_567]
    assert source.open_now == 0


@pytest.mark.parametrize("etag", ['"v1"', None])
@pytest.mark.parametrize("ranges", [True, False])
@pytest.mark.parametrize("known", [True, False])
async def test_a_part_beyond_the_end_of_a_passed_file_without_a_length_is_empty(
    make: Maker, etag: str | None, ranges: bool, known: bool
) -> None:
    source = FakeSource(made_bytes(LIMIT + 1), lengths=False, etag=etag, ranges=ranges)
    mirror = await make(source, max_file_bytes=LIMIT)
    if known:
        assert isinstance(await mirror.ensure(URL), Unstored)

    for start, end in [(LIMIT + 1, None), (LIMIT + 2, None), (LIMIT * 2, LIMIT * 3)]:
        assert await read_all(await mirror.open(URL), start, end) == b""
    assert source.open_now == 0


@pytest.mark.parametrize("etag", ['"v1"', None])
async def test_a_file_that_turns_out_too_large_midway_is_still_read_to_its_end(
    make: Maker, results: Results, tmp_path: Path, etag: str | None
) -> None:
    source = FakeSource(made_bytes(LIMIT * 3), lengths=False, etag=etag)
    mirror = await make(source, max_file_bytes=LIMIT)
    readings = [await mirror.open(URL) for _ in range(3)]

    bodies = await asyncio.gather(*(read_all(reading) for reading in readings))

    assert all(body == source.body for body in bodies)
    assert results == ["too_large"]
    assert remains(tmp_path) == []


async def test_a_file_without_room_is_streamed_and_asked_about_again_later(
    make: Maker, results: Results
) -> None:
    free = 50_000
    source = FakeSource(made_bytes(100_000))
    mirror = await make(source, room=lambda size: size <= free)

    assert await read_all(await mirror.open(URL)) == source.body
    assert await mirror.ensure(URL) == Unstored(NotKept.NO_ROOM, 100_000)
    free = 200_000
    assert isinstance(await mirror.ensure(URL), StoredFile)
    assert results == ["no_room", "no_room", "stored"]


@pytest.mark.parametrize(
    ("code", "reason"), [(errno.ENOSPC, NotKept.NO_ROOM), (errno.EIO, NotKept.DISK_FAILED)]
)
async def test_a_disk_that_fails_midway_does_not_fail_the_readers(
    make: Maker,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    results: Results,
    code: int,
    reason: NotKept,
) -> None:
    source = FakeSource(made_bytes(600_000), gate=asyncio.Event(), gate_at=300_000)
    mirror = await make(source)
    honest = os.pwritev

    def full(fd: int, pieces: list[bytes], at: int) -> int:
        if at >= 300_000:
            raise OSError(code, os.strerror(code))
        return honest(fd, pieces, at)

    monkeypatch.setattr(os, "pwritev", full)
    reading = await mirror.open(URL)
    assert b"".join([c async for c in reading.chunks(0, 300_000)]) == source.body[:300_000]
    source.gate.set()

    assert await read_all(reading) == source.body
    await eventually(lambda: results == [reason.value])
    assert remains(tmp_path) == []


async def test_a_folder_that_cannot_be_written_to_does_not_fail_the_readers(
    make: Maker, monkeypatch: pytest.MonkeyPatch, results: Results
) -> None:
    source = FakeSource(made_bytes(10_000))
    mirror = await make(source)

    def refuse(path: Path, *args: object, **kwargs: object) -> None:
        raise PermissionError(errno.EACCES, "not yours")

    monkeypatch.setattr(Path, "mkdir", refuse)

    assert await read_all(await mirror.open(URL)) == source.body
    assert (await mirror.ensure(URL)) == Unstored(NotKept.DISK_FAILED, None)


async def test_a_passed_file_that_breaks_off_is_broken_for_its_reader(make: Maker) -> None:
    source = FakeSource(made_bytes(LIMIT * 2))
    mirror = await make(source, max_file_bytes=LIMIT)
    await mirror.ensure(URL)
    source.script = [cut(50_000)]

    with pytest.raises(OutputBroken):
        await read_all(await mirror.open(URL))
    assert source.open_now == 0


async def test_a_passed_file_that_is_gone_or_unreachable_says_so(make: Maker) -> None:
    source = FakeSource(made_bytes(LIMIT * 2))
    mirror = await make(source, max_file_bytes=LIMIT)
    await mirror.ensure(URL)
    source.script = [refused(404), refused(500), unreachable]

    with pytest.raises(OutputGone):
        await mirror.open(URL)
    with pytest.raises(OutputUnreachable):
        await mirror.open(URL)
    with pytest.raises(OutputUnreachable):
        await mirror.open(URL)
