"""`predictions`: finding, showing and erasing what was made."""

import asyncio
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import TypeVar

import pytest
from click.testing import CliRunner

from gateway.cache import Cache
from gateway.cli.commands import Invocation
from gateway.cli.root import root
from gateway.domain.admission import Admitted
from gateway.flows.observe import cache_key
from gateway.ledger import Connection, Ledger, creates, files, read_revision
from gateway.ledger import predictions as rows
from gateway.mirror import key_of
from gateway.mirror.folder import shard
from tests.cli.conftest import Program
from tests.support.clock import START
from tests.support.ledgers import prediction, reservation, settlement

T = TypeVar("T")
DAY = 86_400
URL = "https://replicate.delivery/xezq/abc/out-0.webp"
DOCUMENT = (
    b'{"id":"p1","status":"succeeded","input":{"prompt":"secret wish"},'
    b'"output":["https://replicate.delivery/xezq/abc/out-0.webp"],"logs":"l","data_removed":false}'
)


def in_ledger(program: Program, work: Callable[[Ledger], Awaitable[T]]) -> T:
    async def opened() -> T:
        async with Ledger("", program.clock, folder=program.folder / "data") as ledger:
            return await work(ledger)

    return asyncio.run(opened())


def made(conn: Connection, name: str, user: str, model: str, at: float) -> None:
    asked = reservation(f"c-{name}", user=user, model=model, at=at)
    creates.reserve(conn, asked, [], None, lambda _, __: Admitted())
    creates.record(conn, asked.id, prediction(name, created_at=at), [], at)


@pytest.fixture
def full(program: Program) -> Program:
    """A ledger with predictions of two users, the oldest of which has ended."""
    program.ok("users", "add", "alice")
    program.ok("users", "add", "bob")
    alice, bob = (user["id"] for user in program.json("users", "list"))

    def work(conn: Connection) -> None:
        made(conn, "p1", alice, "acme/picture", START - 3 * DAY)
        made(conn, "p2", alice, "acme/text", START - DAY)
        made(conn, "p3", bob, "acme/picture", START - 60)
        rows.settle(conn, "p1", settlement(document=DOCUMENT, files=[URL]))

    in_ledger(program, lambda ledger: ledger.write(work))
    return program


def ids(program: Program, *options: str) -> list[str]:
    return [row["id"] for row in program.json("predictions", "list", *options)]


def test_a_list_is_newest_first_and_bounded(full: Program) -> None:
    assert ids(full) == ["p3", "p2", "p1"]
    assert ids(full, "--limit", "2") == ["p3", "p2"]
    assert ids(full, "--limit", "0") == ["p3", "p2", "p1"]


@pytest.mark.parametrize(
    ("options", "found"),
    [
        (("--user", "alice"), ["p2", "p1"]),
        (("--model", "Acme/Picture"), ["p3", "p1"]),
        (("--status", "succeeded"), ["p1"]),
        (("--since", "2d"), ["p3", "p2"]),
        (("--since", "2025-06-15"), ["p3"]),
        (("--until", "2d"), ["p1"]),
        (("--user", "alice", "--model", "acme/picture", "--since", "2d"), []),
    ],
)
def test_a_list_can_be_narrowed(full: Program, options: tuple[str, ...], found: list[str]) -> None:
    assert ids(full, *options) == found


def test_a_wish_that_cannot_be_is_misuse(full: Program) -> None:
    assert "7d" in full.fails(2, "predictions", "list", "--since", "yesterday")
    full.fails(2, "predictions", "list", "--status", "done")
    full.fails(2, "predictions", "list", "--limit", "-1")
    assert 'did you mean "alice"?' in full.fails(1, "predictions", "list", "--user", "alcie")


def test_the_fields_for_programs_are_stable(full: Program) -> None:
    (row,) = full.json("predictions", "list", "--status", "succeeded")
    assert row.pop("user_id")
    assert row == {
        "id": "p1",
        "kind": "prediction",
        "status": "succeeded",
        "model": "acme/picture",
        "answered_model": "Owner/Name",
        "version": "hidden",
        "deployment": None,
        "user": row["user"],
        "team": None,
        "key_id": "k1",
        "account": "acme",
        "source": "api",
        "created_at": "2025-06-12T15:06:40.000Z",
        "started_at": None,
        "completed_at": None,
        "settled_at": "2025-06-15T15:06:40.000Z",
        "removed_at": None,
        "predict_seconds": 2.0,
        "images": 1,
        "input_tokens": 10,
        "output_tokens": 20,
        "estimated_cost_usd": 5e-07,
    }


def test_one_is_shown_with_its_files_and_its_document(full: Program) -> None:
    shown = full.json("predictions", "show", "p1")
    assert shown["document"]["input"] == {"prompt": "secret wish"}
    assert [(file["url"], file["state"]) for file in shown["files"]] == [(URL, "wanted")]
    text = full.ok("predictions", "show", "p1")
    assert URL in text
    assert "$0.0000005" in text
    assert "knows no prediction p9" in full.fails(1, "predictions", "show", "p9")


def test_a_document_that_cannot_be_printed_as_it_was_written_is_shown_still(full: Program) -> None:
    deep = b"[" * 3_000 + b"]" * 3_000
    odd = b'{"id":"p2","status":"succeeded","input":{"prompt":"a cat \\ud83d","n":%s},"output":%s}'
    document = odd % (b"9" * 5_000, deep)

    def work(conn: Connection) -> None:
        rows.settle(conn, "p2", settlement(document=document, files=[]))

    in_ledger(full, lambda ledger: ledger.write(work))
    assert full.json("predictions", "show", "p2")["document"]["input"]["prompt"] == "a cat \ufffd"
    assert "a cat" in full.ok("predictions", "show", "p2")


def test_what_is_erased_is_gone_everywhere_and_its_charge_stays(full: Program) -> None:
    data = full.folder / "data"
    key = key_of(URL)
    bytes_, sidecar = shard(data / "mirror", key) / key, shard(data / "mirror", key) / f"{key}.json"
    sidecar.parent.mkdir(parents=True)
    bytes_.write_bytes(b"picture")
    sidecar.write_bytes(b"{}")

    async def fill_cache() -> None:
        cache = Cache(data / "cache", 2**20, clock=full.clock)
        await cache.set(cache_key("p1"), b"copy")
        await cache.close()

    asyncio.run(fill_cache())
    before = in_ledger(full, lambda ledger: ledger.read(read_revision))

    full.ok("predictions", "delete", "p1")

    shown = full.json("predictions", "show", "p1")
    assert shown["removed_at"] is not None
    assert shown["document"]["data_removed"] is True
    assert "secret wish" not in str(shown)
    assert [file["state"] for file in shown["files"]] == ["gone"]
    assert shown["predict_seconds"] == 2.0
    assert not bytes_.exists()
    cache = Cache(data / "cache", 2**20, clock=full.clock)
    assert cache.get(cache_key("p1")) is None
    asyncio.run(cache.close())
    assert in_ledger(full, lambda ledger: ledger.read(read_revision)) > before


def test_what_is_unknown_is_told_and_the_rest_is_erased(full: Program) -> None:
    assert "knows no prediction p9" in full.fails(1, "predictions", "delete", "p9", "p1")
    assert full.json("predictions", "show", "p1")["removed_at"] is not None


def test_a_purged_users_predictions_hold_nothing_any_more(full: Program) -> None:
    full.ok("users", "remove", "alice", "--purge", "--yes")
    removed = {row["id"]: row["removed_at"] is not None for row in full.json("predictions", "list")}
    assert removed == {"p1": True, "p2": True, "p3": False}
    assert [user["name"] for user in full.json("users", "list")] == ["bob"]
    known = in_ledger(full, lambda ledger: ledger.read(lambda conn: files.known(conn, URL)))
    assert known is not None
    assert known.state == "gone"


def test_nothing_is_purged_without_a_word_of_consent(
    full: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    def answer(text: str) -> int:
        invocation = Invocation(full.folder / "gateway.toml", full.clock)
        line = ["users", "remove", "alice", "--purge"]
        with monkeypatch.context() as patched:
            patched.setattr(
                "gateway.cli.users.sys", SimpleNamespace(stdin=SimpleNamespace(isatty=lambda: True))
            )
            return CliRunner().invoke(root, line, obj=invocation, input=text).exit_code

    assert "--yes" in full.fails(2, "users", "remove", "alice", "--purge")
    assert answer("n\n") == 1
    assert [user["name"] for user in full.json("users", "list")] == ["alice", "bob"]
    assert full.json("users", "show", "alice")["user"]["disabled"] is False
    assert full.json("predictions", "show", "p1")["removed_at"] is None
    assert answer("y\n") == 0
    assert full.json("predictions", "show", "p1")["removed_at"] is not None


def test_without_a_purge_they_stay(full: Program) -> None:
    full.ok("users", "remove", "alice")
    assert ids(full) == ["p3", "p2", "p1"]
    assert full.json("predictions", "show", "p1")["removed_at"] is None
