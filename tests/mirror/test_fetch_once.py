import asyncio
import contextlib
from collections.abc import Coroutine
from pathlib import Path

import pytest

from gateway.mirror import (
    Mirror,
    MirrorClosed,
    NotKept,
    OutputBroken,
    OutputGone,
    OutputUnreachable,
    StoredFile,
    Unstored,
)
from tests.mirror.conftest import (
    URL,
    Maker,
    Results,
    eventually,
    read_all,
    remains,
    spawn,
    with_time,
)
from tests.mirror.sources import FakeSource, made_bytes, refused, unreachable
from tests.support.clock import ManualClock


async def test_twenty_readers_at_once_get_the_same_bytes_from_one_fetch(make: Maker) -> None:
    source = FakeSource(made_bytes(3_000_001))
    mirror = await make(source)

    async def reader() -> bytes:
        return await read_all(await mirror.open(URL))

    bodies = await asyncio.gather(*(reader() for _ in range(20)))

    assert all(body == source.body for body in bodies)
    assert source.asked == [(0, None)]
    stored = await mirror.ensure(URL)
    assert isinstance(stored, StoredFile)
    assert stored.size == len(source.body)
    assert source.asked == [(0, None)]


async def test_a_reader_is_counted_by_whether_the_file_was_here(
    make: Maker, results: Results
) -> None:
    mirror = await make(FakeSource(made_bytes(1000)))
    await read_all(await mirror.open(URL))
    await mirror.ensure(URL)
    await read_all(await mirror.open(URL))
    assert results.held == [False, True]


async def test_a_reader_gets_bytes_before_the_file_is_whole(make: Maker) -> None:
    source = FakeSource(made_bytes(500_000), gate=asyncio.Event(), gate_at=200_000)
    mirror = await make(source)

    reading = await mirror.open(URL)
    assert reading.size == 500_000
    assert not reading.complete
    early = await read_all(reading, 0, 200_000)
    assert early == source.body[:200_000]
    assert await mirror.stat(URL) is None

    source.gate.set()
    late = await mirror.open(URL)
    assert await read_all(late, 150_000) == source.body[150_000:]


async def test_a_fetch_goes_on_after_its_last_reader_has_left(
    make: Maker, results: Results
) -> None:
    source = FakeSource(made_bytes(300_000), gate=asyncio.Event(), gate_at=1_000)
    mirror = await make(source)
    reading = await mirror.open(URL)
    await reading.aclose()
    await reading.aclose()

    source.gate.set()
    await eventually(lambda: results == ["stored"])

    assert await read_all(await mirror.open(URL)) == source.body
    assert source.asked == [(0, None)]


async def test_what_upstream_said_of_a_file_is_kept_with_it(make: Maker) -> None:
    source = FakeSource(b"x" * 10, etag='"abc"')
    mirror = await make(source)
    await mirror.ensure(URL)

    reading = await mirror.open(URL)

    assert reading.complete
    assert (reading.size, reading.content_type, reading.etag, reading.last_modified) == (
        10,
        "image/png",
        '"abc"',
        "Sun, 15 Jun 2025 15:06:40 GMT",
    )
    await reading.aclose()


@pytest.mark.parametrize("size", [0, 1, 2, 262_144, 1_048_577])
@pytest.mark.parametrize("lengths", [True, False])
async def test_files_of_any_size_arrive_with_or_without_a_length(
    make: Maker, size: int, lengths: bool
) -> None:
    source = FakeSource(made_bytes(size), lengths=lengths)
    mirror = await make(source)

    reading = await mirror.open(URL)
    assert await read_all(reading) == source.body

    again = await mirror.open(URL)
    assert await again.whole_size() == size
    assert await read_all(again) == source.body


async def test_a_size_that_only_the_end_tells_can_be_waited_for(make: Maker) -> None:
    source = FakeSource(made_bytes(70_000), lengths=False, gate=asyncio.Event(), gate_at=65_536)
    mirror = await make(source)
    reading = await mirror.open(URL)
    assert reading.size is None

    source.gate.set()

    assert await reading.whole_size() == 70_000
    await reading.aclose()


async def test_the_background_and_readers_join_each_other(make: Maker) -> None:
    source = FakeSource(made_bytes(100_000), gate=asyncio.Event())
    mirror = await make(source)
    background = asyncio.gather(mirror.ensure(URL), mirror.ensure(URL))
    reading = await mirror.open(URL)
    source.gate.set()

    assert await read_all(reading) == source.body
    first, second = await background
    assert first == second == await mirror.stat(URL)
    assert source.asked == [(0, None)]


async def test_readers_do_not_wait_behind_background_fetches(make: Maker) -> None:
    source = FakeSource(made_bytes(10_000), gate=asyncio.Event(), gate_at=5_000)
    mirror = await make(source, background_fetches=2)
    background = [asyncio.ensure_future(mirror.ensure(f"{URL}?{n}")) for n in range(5)]
    await eventually(lambda: len(source.asked) == 2)

    reading = await mirror.open(f"{URL}?4")

    assert len(source.asked) == 3
    assert await read_all(reading, 0, 5_000) == source.body[:5_000]
    source.gate.set()
    assert all(isinstance(file, StoredFile) for file in await asyncio.gather(*background))
    assert len(source.asked) == 5


@pytest.mark.parametrize("status", [404, 410])
async def test_a_file_that_upstream_no_longer_has_is_gone_for_all_who_ask(
    make: Maker, results: Results, status: int
) -> None:
    source = FakeSource(b"x", script=[refused(status)])
    mirror = await make(source)

    outcomes = await asyncio.gather(
        mirror.open(URL), mirror.open(URL), mirror.ensure(URL), return_exceptions=True
    )

    assert [type(outcome) for outcome in outcomes] == [OutputGone] * 3
    assert results == ["gone"]


async def test_a_refusal_is_not_remembered(make: Maker) -> None:
    source = FakeSource(b"here now", script=[refused(404)])
    mirror = await make(source)
    with pytest.raises(OutputGone):
        await mirror.open(URL)

    assert await read_all(await mirror.open(URL)) == b"here now"


async def test_an_upstream_that_answers_at_the_second_attempt_is_waited_for(
    make: Maker, clock: ManualClock
) -> None:
    source = FakeSource(b"bytes", script=[unreachable, refused(503)])
    mirror = await make(source)

    reading = await with_time(clock, mirror.open(URL))

    assert await read_all(reading) == b"bytes"
    assert len(source.asked) == 3


async def test_an_upstream_that_never_answers_is_given_up(
    make: Maker, clock: ManualClock, results: Results, tmp_path: Path
) -> None:
    source = FakeSource(b"bytes", script=[unreachable] * 50)
    mirror = await make(source)

    with pytest.raises(OutputUnreachable) as caught:
        await with_time(clock, mirror.open(URL))

    assert caught.value.status is None
    assert len(source.asked) < 10
    assert results == ["unreachable"]
    assert remains(tmp_path) == []


async def test_a_refusal_that_will_not_change_is_not_asked_for_again(make: Maker) -> None:
    source = FakeSource(b"bytes", script=[refused(403)])
    mirror = await make(source)

    with pytest.raises(OutputUnreachable) as caught:
        await mirror.open(URL)

    assert caught.value.status == 403
    assert len(source.asked) == 1


async def test_the_url_is_in_no_message(
    make: Maker, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    source = FakeSource(b"bytes", script=[unreachable] * 50)
    mirror = await make(source)

    with pytest.raises(OutputUnreachable) as caught:
        await with_time(clock, mirror.open(URL + "?signature=secret"))

    assert "secret" not in caplog.text + str(caught.value) + repr(caught.value)


async def test_a_shutdown_breaks_readers_off_and_takes_on_nothing_new(make: Maker) -> None:
    source = FakeSource(made_bytes(100_000), gate=asyncio.Event(), gate_at=10_000)
    mirror: Mirror = await make(source)
    reading = await mirror.open(URL)

    await mirror.__aexit__(None, None, None)

    with pytest.raises(OutputBroken):
        await read_all(reading)
    assert source.open_now == 0
    with pytest.raises(MirrorClosed):
        await mirror.open(URL)


async def test_bytes_are_counted_as_they_come(make: Maker, results: Results) -> None:
    source = FakeSource(made_bytes(123_456))
    mirror = await make(source)

    assert isinstance(await mirror.ensure(URL), StoredFile)

    assert results.bytes == 123_456
    assert results == ["stored"]


async def test_a_reader_that_hangs_up_while_opening_leaves_nothing_open(make: Maker) -> None:
    source = FakeSource(made_bytes(50_000))
    mirror = await make(source)
    await mirror.ensure(URL)
    others = _open_outputs()  # of tests before this one
    for _ in range(20):
        opening = asyncio.ensure_future(mirror.open(URL))
        await asyncio.sleep(0)
        opening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opening
    await eventually(lambda: not _open_outputs() - others)


def _open_outputs() -> set[tuple[str, str]]:
    opened: set[tuple[str, str]] = set()
    for link in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile
            opened.add((link.name, link.readlink().name))
    return {(number, name) for number, name in opened if len(name.split(".")[0]) == 64}


async def test_unstored_means_what_it_says(make: Maker) -> None:
    mirror = await make(FakeSource(made_bytes(2_000)), max_file_bytes=1_999)

    assert await mirror.ensure(URL) == Unstored(NotKept.TOO_LARGE, 2_000)
    assert await mirror.stat(URL) is None


async def test_a_spawner_that_has_closed_closes_the_mirror_too(make: Maker) -> None:
    closed = False

    def until_closed(work: Coroutine[object, object, None], name: str) -> "asyncio.Task[None]":
        if closed:
            work.close()
            raise RuntimeError("closed")
        return spawn(work, name)

    mirror = await make(FakeSource(b"bytes"), spawn=until_closed)
    closed = True

    with pytest.raises(MirrorClosed):
        await mirror.open(URL)
