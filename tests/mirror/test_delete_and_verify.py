import asyncio
from pathlib import Path

import pytest

from gateway.mirror import OutputBroken, OutputGone, Problem, Usage, key_of
from tests.mirror.conftest import URL, Maker, Results, eventually, only, read_all, remains
from tests.mirror.sources import FakeSource, made_bytes


async def test_a_deleted_file_is_fetched_anew(make: Maker, tmp_path: Path) -> None:
    source = FakeSource(made_bytes(10_000))
    mirror = await make(source)
    await mirror.ensure(URL)

    assert await mirror.delete(URL) is True
    assert await mirror.delete(URL) is False
    assert remains(tmp_path) == []
    assert await mirror.stat(URL) is None

    assert await read_all(await mirror.open(URL)) == source.body
    assert len(source.asked) == 2


async def test_whoever_reads_a_file_reads_it_to_its_end_though_it_is_deleted(make: Maker) -> None:
    source = FakeSource(made_bytes(1_000_000))
    mirror = await make(source)
    await mirror.ensure(URL)
    reading = await mirror.open(URL)
    chunks = reading.chunks()
    first = await anext(chunks)

    await mirror.delete(URL)

    rest = b"".join([chunk async for chunk in chunks])
    await reading.aclose()
    assert first + rest == source.body


async def test_a_file_deleted_while_it_arrives_does_not_come_into_being(
    make: Maker, tmp_path: Path, results: Results
) -> None:
    source = FakeSource(made_bytes(100_000), gate=asyncio.Event(), gate_at=50_000)
    mirror = await make(source)
    reading = await mirror.open(URL)
    assert b"".join([c async for c in reading.chunks(0, 50_000)]) == source.body[:50_000]

    await mirror.delete(URL)
    source.gate.set()

    with pytest.raises(OutputBroken):
        await read_all(reading)
    assert remains(tmp_path) == []
    assert source.open_now == 0
    assert await mirror.stat(URL) is None


async def test_a_fetch_that_another_process_wants_deleted_drops_the_file(
    make: Maker, tmp_path: Path, results: Results
) -> None:
    source = FakeSource(made_bytes(100_000), gate=asyncio.Event(), gate_at=50_000)
    mirror, other = await make(source), await make(source)
    ensuring = asyncio.ensure_future(mirror.ensure(URL))
    await eventually(lambda: remains(tmp_path) == [".part", ".part.json"])

    deleting = asyncio.ensure_future(other.delete(URL))
    await eventually(lambda: ".part.gone" in remains(tmp_path))
    source.gate.set()

    with pytest.raises(OutputGone):
        await ensuring
    deleting.cancel()
    assert results == ["gone"]
    assert await mirror.stat(URL) is None
    await eventually(lambda: remains(tmp_path) in ([], [".part.gone"]))


async def test_the_sum_of_what_is_stored_follows_every_change(make: Maker, tmp_path: Path) -> None:
    mirror, other = await make(FakeSource(b"x" * 300)), await make(FakeSource(b"x" * 300))
    assert mirror.stats() == Usage(0, 0)

    await asyncio.gather(*(mirror.ensure(f"{URL}?{n}") for n in range(10)))
    await asyncio.gather(*(other.delete(f"{URL}?{n}") for n in range(3)))

    assert mirror.stats() == other.stats() == Usage(7, 2_100)


async def test_a_wrong_sum_is_mended_at_the_next_start(make: Maker, tmp_path: Path) -> None:
    mirror = await make(FakeSource(b"x" * 300))
    await mirror.ensure(URL)
    (tmp_path / "mirror" / "usage").write_bytes(b"\x07" * 4096)
    assert mirror.stats() != Usage(1, 300)
    await mirror.__aexit__(None, None, None)

    other = await make(FakeSource(b""))

    await eventually(lambda: other.stats() == Usage(1, 300))


async def test_verify_tells_good_files_from_damaged_ones(make: Maker, tmp_path: Path) -> None:
    mirror = await make(FakeSource(made_bytes(2_000_000)))
    names = ["good", "flipped", "short", "missing", "bare"]
    for name in names:
        await mirror.ensure(f"{URL}?{name}")
    keys = {key_of(f"{URL}?{name}"): name for name in names}
    paths = {name: only(tmp_path, key) for key, name in keys.items()}
    flip(paths["flipped"])
    paths["short"].write_bytes(b"short")
    paths["missing"].unlink()
    paths["bare"].with_name(paths["bare"].name + ".json").unlink()

    found = {keys[finding.key]: finding.problem async for finding in mirror.verify()}

    assert found == {
        "good": None,
        "flipped": Problem.DIGEST_DIFFERS,
        "short": Problem.BYTES_MISSING,
        "missing": Problem.BYTES_MISSING,
        "bare": Problem.SIDECAR_MISSING,
    }
    for key in keys:
        await mirror.delete_key(key)
    assert remains(tmp_path) == []
    assert [finding async for finding in mirror.verify()] == []


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[1_234_567] ^= 1
    path.write_bytes(bytes(content))


async def test_a_damaged_file_is_fetched_anew_rather_than_served(
    make: Maker, tmp_path: Path
) -> None:
    source = FakeSource(made_bytes(10_000))
    mirror = await make(source)
    await mirror.ensure(URL)
    only(tmp_path, key_of(URL)).write_bytes(b"half")

    assert await read_all(await mirror.open(URL)) == source.body


async def test_a_damaged_sidecar_is_as_good_as_none(make: Maker, tmp_path: Path) -> None:
    source = FakeSource(made_bytes(10_000))
    mirror = await make(source)
    await mirror.ensure(URL)
    only(tmp_path, "*.json").write_bytes(b"{}")

    assert await mirror.stat(URL) is None
    assert [finding.problem async for finding in mirror.verify()] == [Problem.SIDECAR_MISSING]
    assert await read_all(await mirror.open(URL)) == source.body


async def test_what_is_kept_is_for_its_owner_only(make: Maker, tmp_path: Path) -> None:
    mirror = await make(FakeSource(b"private"))
    await mirror.ensure(URL)

    assert mode(tmp_path / "mirror") == 0o700
    assert mode(only(tmp_path, key_of(URL))) == 0o600


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777
