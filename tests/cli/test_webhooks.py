"""`webhooks` and `predictions orphans`: what did not arrive, and what came of lost answers."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from gateway.domain.admission import Admitted
from gateway.ledger import Connection, Ledger, creates, outbox, users
from gateway.ledger.outbox import OutboxEvent
from tests.cli.conftest import Program
from tests.support.clock import START
from tests.support.ledgers import reservation

T = TypeVar("T")


def in_ledger(program: Program, work: Callable[[Ledger], Awaitable[T]]) -> T:
    async def opened() -> T:
        async with Ledger("", program.clock, folder=program.folder / "data") as ledger:
            return await work(ledger)

    return asyncio.run(opened())


def queued(program: Program, name: str, user: str | None = None) -> None:
    def work(conn: Connection) -> None:
        row = None if user is None else users.get_user(conn, user)
        event = OutboxEvent(
            id=name,
            event="completed",
            url="https://example.com/hook?token=s3cret",
            body=b"{}",
            user_id=None if row is None else row.id,
            prediction_id=f"p-{name}",
        )
        outbox.enqueue(conn, [event], START)

    in_ledger(program, lambda ledger: ledger.write(work))


def dead(program: Program, name: str) -> None:
    in_ledger(
        program,
        lambda ledger: ledger.write(
            lambda conn: outbox.dead(conn, name, START, "it said 500", 500)
        ),
    )


def test_deliveries_are_listed_without_what_is_secret_in_their_addresses(program: Program) -> None:
    program.ok("users", "add", "alice")
    queued(program, "msg_1", "alice")
    queued(program, "msg_2")
    dead(program, "msg_2")
    assert "s3cret" not in program.ok("webhooks", "list")
    assert [row["id"] for row in program.json("webhooks", "list", "--state", "dead")] == ["msg_2"]
    (row,) = program.json("webhooks", "list", "--user", "alice")
    assert (row["state"], row["url"]) == ("pending", "https://example.com/hook?…")
    assert program.json("webhooks", "list", "--prediction", "p-msg_2")[0]["last_status"] == 500


def test_dead_letters_are_retried_one_or_all(program: Program) -> None:
    for name in ("msg_1", "msg_2", "msg_3"):
        queued(program, name)
    for name in ("msg_1", "msg_2"):
        dead(program, name)
    assert "msg_3" in program.fails(1, "webhooks", "retry", "msg_1", "msg_3")
    assert [row["id"] for row in program.json("webhooks", "list", "--state", "dead")] == ["msg_2"]
    program.ok("webhooks", "retry", "--all")
    assert program.json("webhooks", "list", "--state", "dead") == []
    program.fails(2, "webhooks", "retry")
    program.fails(2, "webhooks", "retry", "msg_1", "--all")


def test_a_rotated_secret_is_printed_alone_and_signs_from_now_on(program: Program) -> None:
    program.ok("users", "add", "alice")
    secret = program.ok("webhooks", "rotate-secret", "alice")
    assert secret.startswith("whsec_")
    row = in_ledger(program, lambda ledger: ledger.read(lambda conn: users.get_user(conn, "alice")))
    assert row is not None
    assert row.webhook_secret == secret.strip()
    program.fails(1, "webhooks", "rotate-secret", "nobody")


def test_orphans_are_shown_with_what_they_may_be_and_can_be_assigned(program: Program) -> None:
    def doubt(conn: Connection) -> None:
        creates.reserve(conn, reservation("c1"), [], None, lambda _, __: Admitted())
        creates.doubt(conn, "c1", START)
        creates.note_candidates(conn, {"c1": ["p1", "p2"]})

    assert program.json("predictions", "orphans") == []
    in_ledger(program, lambda ledger: ledger.write(doubt))
    (row,) = program.json("predictions", "orphans")
    assert (row["create_id"], row["candidates"], row["assigned"]) == ("c1", ["p1", "p2"], None)
    program.fails(1, "predictions", "orphans", "--assign", "c2", "p1")
    program.ok("predictions", "orphans", "--assign", "c1", "p2")
    assert program.json("predictions", "orphans")[0]["assigned"] == "p2"
    assert "p2 (assigned)" in program.ok("predictions", "orphans")


def test_an_orphan_that_became_nothing_can_be_released(program: Program) -> None:
    def doubt(conn: Connection) -> None:
        for name in ("c1", "c2"):
            creates.reserve(conn, reservation(name), [], None, lambda _, __: Admitted())
        creates.doubt(conn, "c1", START)

    in_ledger(program, lambda ledger: ledger.write(doubt))
    program.fails(1, "predictions", "orphans", "--release", "c2")  # somebody is working on it
    program.fails(2, "predictions", "orphans", "--release", "c1", "--assign", "c1", "p1")
    program.ok("predictions", "orphans", "--release", "c1")
    assert program.json("predictions", "orphans") == []
    row = in_ledger(program, lambda ledger: ledger.read(lambda conn: creates.get(conn, "c1")))
    assert row is not None
    assert row.state == "released"
