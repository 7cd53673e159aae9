"""Every change that a command makes stands in the audit log: who, what, when, from where."""

import socket

import pytest

from gateway.domain.admission import Admitted
from gateway.ledger import Connection, audit, creates, outbox
from gateway.ledger import predictions as rows
from gateway.ledger.audit import AuditRow
from gateway.ledger.outbox import OutboxEvent
from tests.cli.conftest import CONFIG, Program
from tests.cli.test_predictions import in_ledger
from tests.support.clock import START
from tests.support.ledgers import prediction, reservation, settlement


def entries(program: Program) -> list[AuditRow]:
    found: list[AuditRow] = in_ledger(program, lambda ledger: ledger.read(audit.entries))
    return found


@pytest.fixture
def busy(program: Program) -> Program:
    program.ok("users", "add", "alice")
    [alice] = program.json("users", "list")

    def work(conn: Connection) -> None:
        for name in ("p1", "p2"):
            asked = reservation(f"c-{name}", user=alice["id"], at=START)
            creates.reserve(conn, asked, [], None, lambda _, __: Admitted())
            creates.record(conn, asked.id, prediction(name, created_at=START), [], START)
            rows.settle(conn, name, settlement(at=START + 1))
        lost = reservation("lost", user=alice["id"], at=START)
        creates.reserve(conn, lost, [], None, lambda _, __: Admitted())
        creates.doubt(conn, "lost", START + 1)
        event = OutboxEvent(
            id="msg_1", event="completed", url="https://example.com", body=b"{}", team="research"
        )
        outbox.enqueue(conn, [event], START)
        outbox.dead(conn, "msg_1", START, "no", 500)

    in_ledger(program, lambda ledger: ledger.write(work))
    return program


LINES = [
    ("users add bob --team research", "users.add", "bob"),
    ("users set alice --quota predictions=3/day", "users.set", "alice"),
    ("users disable alice", "users.disable", "alice"),
    ("users enable alice", "users.enable", "alice"),
    ("users remove alice", "users.remove", "alice"),
    ("users remove alice --purge --yes", "users.remove", "p1"),
    ("keys create alice --label laptop", "keys.create", "alice"),
    ("predictions delete p1", "predictions.delete", "p1"),
    ("predictions orphans --assign lost p9", "predictions.assign", "p9"),
    ("predictions orphans --release lost", "predictions.release", "lost"),
    ("predictions orphans --release lost", "predictions.release", "lost"),
    ("webhooks retry --all", "webhooks.retry", "all"),
    ("webhooks retry msg_1", "webhooks.retry", "msg_1"),
    ("webhooks rotate-secret alice", "webhooks.rotate-secret", "alice"),
    ("mirror verify --repair", "mirror.repair", "mirror"),
    ("cache clear", "cache.clear", "cache"),
    ("prune", "prune", "storage"),
    ("config reload", "config.publish", "configuration"),
]


@pytest.mark.parametrize(("line", "action", "subject"), LINES)
def test_every_change_is_on_record(busy: Program, line: str, action: str, subject: str) -> None:
    before = len(entries(busy))
    busy.ok(*line.split())
    news = entries(busy)[: len(entries(busy)) - before]
    assert (action, subject) in [(entry.action, entry.subject) for entry in news]
    for entry in news:
        assert entry.actor.startswith("command line")
        assert entry.source == socket.gethostname()
        assert entry.at == START


def test_a_revoked_key_is_on_record_and_no_key_ever(busy: Program) -> None:
    key = busy.ok("keys", "create", "alice").strip()
    [info] = busy.json("keys", "list")
    busy.ok("keys", "revoke", info["id"])
    newest = entries(busy)[0]
    assert (newest.action, newest.detail) == ("keys.revoke", {"key_id": info["id"]})
    assert key not in str(entries(busy))


def test_what_did_not_happen_is_not_on_record(busy: Program) -> None:
    before = entries(busy)
    busy.fails(1, "predictions", "orphans", "--assign", "none", "p9")
    busy.fails(1, "predictions", "orphans", "--release", "none")
    busy.fails(1, "predictions", "delete", "none")
    busy.fails(1, "webhooks", "retry", "none")
    busy.fails(1, "users", "disable", "nobody")
    busy.ok("mirror", "verify")
    busy.ok("usage")
    busy.ok("export")
    assert entries(busy) == before


def test_a_purge_stops_the_keys_first_and_says_so(busy: Program) -> None:
    busy.ok("users", "remove", "alice", "--purge", "--yes")
    told = [(entry.action, entry.subject) for entry in reversed(entries(busy))]
    assert told[-4] == ("users.disable", "alice")
    assert set(told[-3:-1]) == {("users.remove", "p1"), ("users.remove", "p2")}
    assert told[-1] == ("users.remove", "alice")


def test_what_is_published_is_named_once_and_shows_no_secret(busy: Program) -> None:
    busy.ok("config", "reload")
    first = entries(busy)[0]
    assert first.detail["plans"] == ["default", "pro"]
    assert first.detail["teams"] == ["research"]
    busy.ok("config", "reload")
    assert entries(busy)[0].id == first.id
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    more = f'\n[teams.art]\nwebhook = "https://example.com/secret"\nwebhook_secret = "{secret}"\n'
    changed = CONFIG.replace("limit = 20", "limit = 30") + more
    (busy.folder / "gateway.toml").write_text(changed, encoding="utf-8")
    busy.ok("config", "reload")
    assert entries(busy)[0].detail == {"plans": ["pro"], "teams": ["art"]}
