"""`keys`: made once, shown once, revoked for good."""

import asyncio

import pytest

from gateway.domain import keys as domain
from gateway.ledger import Ledger, read_revision
from gateway.ledger.keys import KeyRow, find_key
from tests.cli.conftest import Program


@pytest.fixture
def alice(program: Program) -> Program:
    program.ok("users", "add", "alice")
    return program


def stored(program: Program, key: str) -> tuple[KeyRow | None, int]:
    async def ask() -> tuple[KeyRow | None, int]:
        async with Ledger("", program.clock, folder=program.folder / "data") as ledger:
            return await ledger.read(
                lambda conn: (find_key(conn, domain.digest(key)), read_revision(conn))
            )

    return asyncio.run(ask())


def test_a_new_key_stands_alone_on_stdout_and_opens_the_door(alice: Program) -> None:
    result = alice.run("keys", "create", "alice", "--label", "laptop")
    key = result.stdout.removesuffix("\n")
    assert domain.well_formed(key)
    assert key not in result.stderr
    row, _ = stored(alice, key)
    assert row is not None
    assert (row.user_name, row.good(alice.clock.now())) == ("alice", True)
    for path in (alice.folder / "data").iterdir():
        if path.is_file():
            assert key.encode() not in path.read_bytes()


def test_a_list_shows_keys_without_giving_them_away(alice: Program) -> None:
    key = alice.ok("keys", "create", "alice", "--label", "laptop", "--expires", "30d").strip()
    (listed,) = alice.json("keys", "list", "alice")
    assert len(listed.pop("id")) == 26
    assert listed.pop("user_id")
    assert listed == {
        "user": "alice",
        "hint": domain.hint(key),
        "label": "laptop",
        "state": "active",
        "created_at": "2025-06-15T15:06:40.000Z",
        "expires_at": "2025-07-15T15:06:40.000Z",
        "revoked_at": None,
        "last_used_at": None,
    }
    assert key not in alice.ok("keys", "list")
    alice.clock.advance(30 * 86_400)
    assert alice.json("keys", "list")[0]["state"] == "expired"


def test_a_list_can_be_one_users(alice: Program) -> None:
    alice.ok("users", "add", "bob")
    alice.ok("keys", "create", "bob")
    assert alice.json("keys", "list", "alice") == []
    assert [key["user"] for key in alice.json("keys", "list")] == ["bob"]
    alice.fails(1, "keys", "list", "carol")


@pytest.mark.parametrize("text", ["30", "0d", "-1d", "1y", "d", "", "1e9d", "99999999d"])
def test_a_duration_that_is_none_is_misuse(alice: Program, text: str) -> None:
    alice.fails(2, "keys", "create", "alice", f"--expires={text}")
    assert alice.json("keys", "list") == []


@pytest.mark.parametrize("label", ["x" * 101, "a\x1b[31mb"])
def test_a_label_that_would_spoil_a_terminal_is_misuse(alice: Program, label: str) -> None:
    alice.fails(2, "keys", "create", "alice", "--label", label)


def test_a_key_for_nobody_is_not_made(alice: Program) -> None:
    assert 'did you mean "alice"?' in alice.fails(1, "keys", "create", "alcie")


@pytest.mark.parametrize("by", ["id", "key"])
def test_a_revoked_key_opens_nothing_and_every_worker_is_told(alice: Program, by: str) -> None:
    key = alice.ok("keys", "create", "alice").strip()
    _, before = stored(alice, key)
    alice.ok("keys", "revoke", key if by == "key" else alice.json("keys", "list")[0]["id"])
    row, after = stored(alice, key)
    assert row is not None
    assert not row.good(alice.clock.now())
    assert after > before
    assert alice.json("keys", "list")[0]["state"] == "revoked"
    assert "already" in alice.run("keys", "revoke", key).stderr


def test_an_unknown_key_is_not_revoked_and_not_repeated(alice: Program) -> None:
    alice.fails(1, "keys", "revoke", "0123456789abcdefghjkmnpqrs")
    foreign = domain.make_key(bytes(27))
    assert foreign not in alice.fails(1, "keys", "revoke", foreign)
    mistyped = foreign[:-1] + "x"
    assert mistyped not in alice.fails(1, "keys", "revoke", mistyped)
