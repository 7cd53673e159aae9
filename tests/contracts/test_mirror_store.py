"""What every store of output files promises; a new one is added to `STORES`."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest

from gateway.mirror.disk import Disk
from gateway.mirror.files import Finding, StoredFile, Usage, key_of
from gateway.mirror.folder import FolderStore
from gateway.mirror.store import Store, StoredBytes


@asynccontextmanager
async def folder_store(home: Path) -> AsyncIterator[Store]:
    disk = Disk()
    store = FolderStore(home / "store", disk)
    await store.start()
    try:
        yield store
    finally:
        await store.close()
        disk.close()


STORES: dict[str, Callable[[Path], AbstractAsyncContextManager[Store]]] = {"folder": folder_store}


@pytest.fixture(params=STORES)
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    async with STORES[request.param](tmp_path) as store:
        yield store


def described(content: bytes, name: str = "a", **changes: object) -> StoredFile:
    fields: dict[str, object] = {
        "key": key_of(f"https://replicate.delivery/{name}"),
        "size": len(content),
        "content_type": "image/webp",
        "etag": '"e-ü"',
        "sha256": hashlib.sha256(content).hexdigest(),
        "last_modified": None,
        "stored_at": 1_750_000_000.25,
    }
    return StoredFile(**(fields | changes))  # type: ignore[arg-type] # one dict for all the types


def spooled(home: Path, content: bytes) -> Path:
    path = home / "spooled"
    path.write_bytes(content)
    return path


async def read_all(content: StoredBytes, piece: int = 1_000) -> bytes:
    got = b""
    while more := await content.read(len(got), piece):
        assert len(more) <= piece
        got += more
    content.close()
    return got


async def content_of(store: Store, key: str) -> bytes | None:
    opened = await store.open(key)
    return None if opened is None else await read_all(opened.content)


async def test_what_was_put_is_there_with_all_that_was_said_of_it(
    store: Store, tmp_path: Path
) -> None:
    content = bytes(range(256)) * 40
    file = described(content)
    await store.put(file, spooled(tmp_path, content))

    assert await store.get(file.key) == file
    opened = await store.open(file.key)
    assert opened is not None
    assert opened.file == file
    assert await opened.content.read(5_000, 7) == content[5_000:5_007]
    assert await opened.content.read(len(content) - 3, 100) == content[-3:]
    assert await opened.content.read(len(content), 100) == b""
    assert await read_all(opened.content) == content


async def test_an_empty_file_is_a_file(store: Store, tmp_path: Path) -> None:
    file = described(b"")
    await store.put(file, spooled(tmp_path, b""))

    assert await store.get(file.key) == file
    assert await content_of(store, file.key) == b""


async def test_what_was_never_put_is_absent(store: Store) -> None:
    key = key_of("https://replicate.delivery/never")

    assert await store.get(key) is None
    assert await store.open(key) is None
    assert await store.delete(key) is False


async def test_a_deleted_file_is_absent_but_readable_to_its_end(
    store: Store, tmp_path: Path
) -> None:
    file = described(b"0123456789" * 500)
    await store.put(file, spooled(tmp_path, b"0123456789" * 500))
    opened = await store.open(file.key)
    assert opened is not None

    assert await store.delete(file.key) is True

    assert await store.get(file.key) is None
    assert await store.open(file.key) is None
    assert await store.delete(file.key) is False
    assert await read_all(opened.content) == b"0123456789" * 500


async def test_a_file_put_again_replaces_the_earlier_one_whole(
    store: Store, tmp_path: Path
) -> None:
    first, second = described(b"first"), described(b"the second one", etag=None)
    await store.put(first, spooled(tmp_path, b"first"))
    await store.put(second, spooled(tmp_path, b"the second one"))

    assert await store.get(first.key) == second
    assert await content_of(store, first.key) == b"the second one"
    assert store.usage() == Usage(1, 14)


async def test_files_are_listed_once_each(store: Store, tmp_path: Path) -> None:
    files = [described(b"x" * n, name=str(n)) for n in range(8)]
    for file in files:
        await store.put(file, spooled(tmp_path, b"x" * file.size))
    await store.delete(files[3].key)

    listed = [file async for file in store.files()]

    assert sorted(listed, key=lambda file: file.size) == files[:3] + files[4:]
    assert await remains_of(store) == []


async def remains_of(store: Store) -> list[Finding]:
    return [finding async for finding in store.remains()]


async def test_the_usage_follows_every_change_and_survives_a_recount(
    store: Store, tmp_path: Path
) -> None:
    assert store.usage() == Usage(0, 0)
    for n in (10, 20, 30):
        await store.put(described(b"x" * n, name=str(n)), spooled(tmp_path, b"x" * n))
    await store.delete(described(b"", name="20").key)
    assert store.usage() == Usage(2, 40)

    await store.recount()

    assert store.usage() == Usage(2, 40)


async def test_a_file_is_never_seen_in_part(store: Store, tmp_path: Path) -> None:
    content = b"y" * 300_000
    file = described(content)
    seen: set[int | None] = set()

    async def look() -> None:
        for _ in range(60):
            found = await content_of(store, file.key)
            seen.add(None if found is None else len(found))

    async def change() -> None:
        for _ in range(10):
            await store.put(file, spooled(tmp_path, content))
            await store.delete(file.key)

    await asyncio.gather(look(), look(), change())

    assert seen <= {None, len(content)}


async def test_a_put_that_fails_leaves_nothing(store: Store, tmp_path: Path) -> None:
    file = described(b"lost")
    with pytest.raises(OSError, match="No such file"):
        await store.put(file, tmp_path / "nowhere")

    assert await store.get(file.key) is None
    assert [found async for found in store.files()] == []
    assert store.usage() == Usage(0, 0)


async def test_the_state_is_found_again_after_a_restart(tmp_path: Path) -> None:
    for make in STORES.values():
        async with make(tmp_path) as store:
            await store.put(described(b"kept"), spooled(tmp_path, b"kept"))
        async with make(tmp_path) as store:
            assert await content_of(store, described(b"kept").key) == b"kept"
            assert store.usage() == Usage(1, 4)
