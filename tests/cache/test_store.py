# ruff: noqa: ASYNC240 - these tests have nothing else to do while a file is looked at
import asyncio
import multiprocessing
import sqlite3
import stat
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.cache import Cache
from tests.support.clock import ManualClock

MAX = 32 * 1024 * 1024


class Failures:
    def __init__(self) -> None:
        self.count = 0

    def __call__(self) -> None:
        self.count += 1


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def failures() -> Failures:
    return Failures()


@pytest.fixture
async def cache(folder: Path, failures: Failures) -> AsyncIterator[Cache]:
    made = Cache(folder, MAX, clock=ManualClock(), on_failure=failures)
    yield made
    await made.close()


@pytest.mark.parametrize("size", [0, 1, 2_000, 32 * 1024 - 1, 32 * 1024, 5_000_000])
async def test_what_is_set_comes_back(cache: Cache, failures: Failures, size: int) -> None:
    value = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    await cache.set("k", value)
    assert cache.get("k") == value
    assert failures.count == 0


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(key=st.text(st.characters(codec="utf-8")), value=st.binary(max_size=70_000))
async def test_any_text_names_any_bytes(cache: Cache, key: str, value: bytes) -> None:
    await cache.set(key, value)
    assert cache.get(key) == value


async def test_what_was_not_set_is_a_miss(cache: Cache) -> None:
    assert cache.get("k") is None


async def test_the_last_of_two_values_counts(cache: Cache, folder: Path) -> None:
    await cache.set("k", b"a" * 40_000)
    await cache.set("k", b"b" * 40_000)
    assert cache.get("k") == b"b" * 40_000
    assert len(list(folder.rglob("*.val"))) == 1


async def test_a_deleted_value_is_gone_with_its_file(cache: Cache, folder: Path) -> None:
    await cache.set("k", b"x" * 40_000)
    assert await cache.delete("k")
    assert cache.get("k") is None
    assert not list(folder.rglob("*.val"))
    assert await cache.delete("k")


async def test_a_value_lives_no_longer_than_its_time(cache: Cache) -> None:
    await cache.set("k", b"x", ttl=-1)
    assert cache.get("k") is None
    await cache.set("k", b"x", ttl=1000)
    assert cache.get("k") == b"x"


async def test_clearing_drops_everything_and_says_how_much(cache: Cache, folder: Path) -> None:
    for number in range(250):
        await cache.set(str(number), b"x" * (40_000 if number == 7 else 10))
    assert await cache.clear() == 250
    assert cache.stats().items == 0
    assert cache.get("7") is None
    assert not list(folder.rglob("*.val"))


async def test_statistics_count_values_and_bytes(cache: Cache) -> None:
    await cache.set("a", b"x" * 100_000)
    await cache.set("b", b"x")
    items, size, most = cache.stats()
    assert items == 2
    assert 100_000 <= size < 1_000_000
    assert most == MAX


async def test_the_oldest_go_when_the_cache_is_full(folder: Path) -> None:
    cache = Cache(folder, 2_000_000, clock=ManualClock())
    for number in range(60):
        await cache.set(str(number), b"x" * 100_000)
    assert cache.get("0") is None
    assert cache.get("59") is not None
    assert cache.stats().bytes < 2_400_000
    await cache.close()


async def test_what_would_push_out_most_others_is_not_kept(folder: Path) -> None:
    cache = Cache(folder, 100_000, clock=ManualClock())
    await cache.set("k", b"x" * 30_000)
    assert cache.get("k") is None
    await cache.close()


async def test_a_cache_of_no_bytes_keeps_nothing_and_makes_no_folder(folder: Path) -> None:
    cache = Cache(folder, 0, clock=ManualClock())
    await cache.set("k", b"x")
    assert cache.get("k") is None
    assert cache.stats() == (0, 0, 0)
    assert await cache.clear() == 0
    assert await cache.fault() is None
    assert not folder.exists()
    await cache.close()


async def test_the_folder_is_its_owners_alone(cache: Cache, folder: Path) -> None:
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


async def test_a_folder_that_others_may_enter_is_closed_to_them(folder: Path) -> None:
    folder.mkdir(mode=0o777)
    folder.chmod(0o777)
    cache = Cache(folder, MAX, clock=ManualClock())
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    await cache.close()


async def test_values_outlive_the_process_that_set_them(folder: Path) -> None:
    first = Cache(folder, MAX, clock=ManualClock())
    await first.set("k", b"x")
    await first.close()
    second = Cache(folder, MAX, clock=ManualClock())
    assert second.get("k") == b"x"
    await second.close()


def _fill(folder: Path, name: str) -> None:
    async def work() -> None:
        cache = Cache(folder, MAX, clock=ManualClock())
        for number in range(50):
            await cache.set(f"{name}-{number}", name.encode() * 100)
        await cache.close()

    asyncio.run(work())


async def test_processes_share_one_folder_from_its_first_moment(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_fill, args=(folder, name)) for name in ("a", "b", "c")]
    for worker in workers:
        worker.start()
    for worker in workers:
        await asyncio.to_thread(worker.join, 60)
        assert worker.exitcode == 0
    cache = Cache(folder, MAX, clock=ManualClock())
    found = [cache.get(f"{name}-{number}") for name in "abc" for number in range(50)]
    # A write that meets another process's for too long is skipped, not waited for.
    assert sum(value is not None for value in found) > 100
    assert all(value is None or len(value) == 100 for value in found)
    assert "wiped" not in caplog.text
    await cache.close()


@pytest.mark.parametrize("size", [0, 10, 5_000])
async def test_a_folder_that_cannot_be_read_is_wiped_and_begun_anew(
    folder: Path, size: int, caplog: pytest.LogCaptureFixture
) -> None:
    folder.mkdir()
    (folder / "cache.db").write_bytes(b"this is not a database. " * size)
    (folder / "ab").mkdir()
    (folder / "ab" / "old.val").write_bytes(b"x")
    cache = Cache(folder, MAX, clock=ManualClock())
    await cache.set("k", b"x")
    assert cache.get("k") == b"x"
    if size:
        assert "wiped" in caplog.text
        assert not (folder / "ab").exists()
    await cache.close()


async def test_a_database_that_breaks_while_in_use_is_a_miss_and_then_mended(
    folder: Path, failures: Failures
) -> None:
    cache = Cache(folder, MAX, clock=ManualClock(), on_failure=failures)
    for number in range(2000):
        await cache.set(str(number), b"x" * 3000)
    await cache.close()
    cache = Cache(folder, MAX, clock=ManualClock(), on_failure=failures)
    with (folder / "cache.db").open("r+b") as file:
        size = file.seek(0, 2)
        file.seek(8192)
        file.write(b"\xff" * (size - 16384))
    found = [cache.get(str(number)) for number in range(2000)]
    assert found.count(None) > 1000
    assert failures.count > 0
    await cache.delete("1")  # behind the mending, in the same queue
    await cache.set("new", b"x")
    assert cache.get("new") == b"x"
    assert await cache.fault() is None
    await cache.close()


async def test_a_value_whose_file_has_gone_is_a_miss(cache: Cache, folder: Path) -> None:
    await cache.set("k", b"x" * 50_000)
    for file in folder.rglob("*.val"):
        file.unlink()
    assert cache.get("k") is None


async def test_a_database_that_another_process_keeps_locked_costs_a_write_not_an_error(
    cache: Cache, folder: Path, failures: Failures, caplog: pytest.LogCaptureFixture
) -> None:
    await cache.set("old", b"x")
    other = sqlite3.connect(folder / "cache.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    await cache.set("k", b"x")
    await cache.set("l", b"x")
    assert cache.get("k") is None
    assert cache.get("old") == b"x"
    assert failures.count == 2
    assert caplog.text.count("the cache failed to write") == 1
    other.execute("ROLLBACK")
    other.close()
    await cache.set("k", b"x")
    assert cache.get("k") == b"x"


async def test_a_full_disk_is_no_error(
    cache: Cache, failures: Failures, monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("gateway.cache.disk.BytesDisk._write", full)
    await cache.set("k", b"x" * 50_000)
    assert cache.get("k") is None
    assert failures.count == 1
    assert not list(folder.rglob("*.val"))


async def test_a_place_where_no_folder_can_be_made_is_a_cache_that_keeps_nothing(
    tmp_path: Path, failures: Failures, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("in the way")
    cache = Cache(tmp_path / "file" / "cache", MAX, clock=ManualClock(), on_failure=failures)
    await cache.set("k", b"x")
    assert cache.get("k") is None
    assert await cache.delete("k")
    assert failures.count == 1
    assert "cannot be used" in caplog.text
    assert await cache.fault() is not None
    await cache.close()


async def test_a_working_cache_finds_no_fault_with_itself(cache: Cache) -> None:
    assert await cache.fault() is None


async def test_after_closing_everything_is_a_miss(cache: Cache) -> None:
    await cache.set("k", b"x")
    await cache.close()
    assert cache.get("k") is None
    await cache.set("k", b"x")


async def test_when_the_disk_does_not_keep_up_writes_are_left_out(
    cache: Cache, failures: Failures, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.cache.store._MAX_WAITING_BYTES", 250)
    await asyncio.gather(*(cache.set(str(number), b"x" * 100) for number in range(10)))
    assert sum(cache.get(str(number)) is not None for number in range(10)) == 2
    assert failures.count == 8
    await cache.set("later", b"x" * 100)
    assert cache.get("later") is not None
