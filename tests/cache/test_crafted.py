"""A cache folder that somebody else could write to must not become code that runs."""

# ruff: noqa: ASYNC240 - these tests have nothing else to do while a file is looked at

import pickle
import sqlite3
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import diskcache
import pytest

from gateway.cache import Cache
from tests.support.clock import ManualClock

MAX = 32 * 1024 * 1024

Edit = Callable[[sqlite3.Connection], object]


class Bomb:
    """Pickled, it is code: unpickling makes a file."""

    def __init__(self, mark: Path, padding: int = 0) -> None:
        self.mark = mark
        self.padding = padding

    def __reduce__(self) -> tuple[object, ...]:
        return (Path.write_text, (self.mark, "x" * (self.padding + 1)))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def mark(tmp_path: Path) -> Path:
    return tmp_path / "executed"


@pytest.fixture
async def cache(folder: Path) -> AsyncIterator[Cache]:
    made = Cache(folder, MAX, clock=ManualClock())
    yield made
    await made.close()


def edit(folder: Path, statement: str, *values: object) -> None:
    connection = sqlite3.connect(folder / "cache.db", isolation_level=None)
    connection.execute(statement, values)
    connection.close()


def test_the_bomb_of_these_tests_works(mark: Path) -> None:
    pickle.loads(pickle.dumps(Bomb(mark)))  # noqa: S301 - that it runs is the point
    assert mark.exists()


@pytest.mark.parametrize("padding", [0, 200_000])
async def test_a_pickled_value_is_a_miss_and_removed_unread(
    folder: Path, mark: Path, padding: int
) -> None:
    with diskcache.Cache(str(folder)) as crafted:
        crafted["k"] = [Bomb(mark), "x" * padding]  # in the table, or in a file beside it
        crafted["good"] = b"good"
    cache = Cache(folder, MAX, clock=ManualClock())
    assert cache.get("k") is None
    assert cache.get("good") == b"good"
    await cache.set("after", b"x")  # behind the removal, in the same queue
    assert cache.stats().items == 2
    assert not list(folder.rglob("*.val"))
    await cache.close()
    assert not mark.exists()


async def test_a_pickled_key_is_never_read(folder: Path, mark: Path) -> None:
    with diskcache.Cache(str(folder)) as crafted:
        crafted[("k", Bomb(mark))] = b"x"
    cache = Cache(folder, MAX, clock=ManualClock())
    assert cache.get("k") is None
    cache.stats()
    await cache.fault()
    await cache.clear()
    await cache.close()
    assert not mark.exists()


async def test_a_value_of_our_own_made_a_pickle_behind_our_back_is_not_read(
    cache: Cache, folder: Path, mark: Path
) -> None:
    await cache.set("k", b"x")
    edit(folder, "UPDATE Cache SET mode = 4, value = ?", pickle.dumps(Bomb(mark)))
    assert cache.get("k") is None
    assert not mark.exists()


async def test_a_file_of_our_own_made_a_pickle_behind_our_back_is_not_read(
    cache: Cache, folder: Path, mark: Path
) -> None:
    await cache.set("k", b"x" * 50_000)
    (file,) = folder.rglob("*.val")
    file.write_bytes(pickle.dumps(Bomb(mark)))
    edit(folder, "UPDATE Cache SET mode = 4")
    assert cache.get("k") is None
    await cache.set("after", b"x")
    assert not mark.exists()
    assert not file.exists()


@pytest.mark.parametrize(
    ("mode", "value"), [(1, "text"), (1, 5), (1, 1.5), (3, None), (0, None), (9, b"x"), (1, None)]
)
async def test_a_value_of_another_kind_is_a_miss_and_removed(
    cache: Cache, folder: Path, mode: int, value: object
) -> None:
    await cache.set("k", b"x")
    edit(folder, "UPDATE Cache SET mode = ?, value = ?", mode, value)
    assert cache.get("k") is None
    await cache.set("after", b"x")
    assert cache.stats().items == 1


@pytest.mark.parametrize("absolute", [True, False])
async def test_no_file_elsewhere_is_served_or_removed(
    cache: Cache, folder: Path, tmp_path: Path, absolute: bool
) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"not for you")
    await cache.set("k", b"x" * 50_000)
    name = str(secret) if absolute else "../secret"
    edit(folder, "UPDATE Cache SET filename = ?", name)
    assert cache.get("k") is None
    await cache.delete("k")
    await cache.clear()
    assert secret.read_bytes() == b"not for you"


async def test_a_link_in_the_place_of_a_value_is_not_followed(
    cache: Cache, folder: Path, tmp_path: Path
) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"not for you")
    await cache.set("k", b"x" * 50_000)
    (file,) = folder.rglob("*.val")
    file.unlink()
    file.symlink_to(secret)
    assert cache.get("k") is None


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("get", "x"),
        ("disk__directory", "/etc"),
        ("disk_fetch", "x"),
        ("sqlite_foo; DROP", 1),
        ("x", 1),
    ],
)
async def test_a_setting_that_is_not_ours_wipes_the_cache(
    folder: Path, key: str, value: object, caplog: pytest.LogCaptureFixture
) -> None:
    first = Cache(folder, MAX, clock=ManualClock())
    await first.set("k", b"x")
    await first.close()
    edit(folder, "INSERT INTO Settings VALUES (?, ?)", key, value)
    cache = Cache(folder, MAX, clock=ManualClock())
    assert "wiped" in caplog.text
    assert cache.get("k") is None
    await cache.set("k", b"x")
    assert cache.get("k") == b"x"
    await cache.close()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("eviction_policy", "least-recently-used"),
        ("size_limit", 1),
        ("statistics", 1),
        ("sqlite_journal_mode", "delete"),
        ("disk_min_file_size", 0),
    ],
)
async def test_our_settings_are_the_programs_whatever_the_folder_says(
    folder: Path, key: str, value: object
) -> None:
    first = Cache(folder, MAX, clock=ManualClock())
    await first.set("k", b"x")
    await first.close()
    edit(folder, "UPDATE Settings SET value = ? WHERE key = ?", value, key)
    cache = Cache(folder, MAX, clock=ManualClock())
    assert cache.get("k") == b"x"
    for number in range(20):
        await cache.set(str(number), b"x")
    assert cache.stats().items == 21
    connection = sqlite3.connect(folder / "cache.db")
    (kept,) = connection.execute("SELECT value FROM Settings WHERE key = ?", (key,)).fetchone()
    connection.close()
    assert kept != value
    await cache.close()


async def test_counters_that_are_no_numbers_wipe_the_cache(cache: Cache, folder: Path) -> None:
    await cache.set("k", b"x")
    edit(folder, "UPDATE Settings SET value = 'x' WHERE key = 'size'")
    await cache.set("l", b"x")
    await cache.set("m", b"x")
    assert cache.get("m") == b"x"
    assert await cache.fault() is None
