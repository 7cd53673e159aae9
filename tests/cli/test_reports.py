"""`usage`, `export`, `prune`, `mirror` and `cache`: what they print, and what they leave."""

import csv
import io
import json
import subprocess
import sys
from dataclasses import replace

import pytest

from gateway.domain.admission import Admitted
from gateway.domain.usage import Usage
from gateway.ledger import Connection, audit, creates, files
from gateway.ledger import predictions as rows
from tests.cli.conftest import Program
from tests.cli.test_predictions import DAY, DOCUMENT, URL, in_ledger
from tests.support.clock import START
from tests.support.ledgers import prediction, reservation, settlement


@pytest.fixture
def full(program: Program) -> Program:
    program.ok("users", "add", "alice", "--team", "research")
    program.ok("users", "add", "bob")
    alice, bob = (user["id"] for user in program.json("users", "list"))

    def made(conn: Connection, name: str, user: str, model: str, at: float) -> None:
        who = "alice" if user == alice else "bob"
        asked = replace(reservation(f"c-{name}", user=user, model=model, at=at), user_name=who)
        creates.reserve(conn, asked, [], None, lambda _, __: Admitted())
        creates.record(conn, asked.id, prediction(name, created_at=at), [], at)

    def work(conn: Connection) -> None:
        made(conn, "p1", alice, "acme/picture", START - 3 * DAY)
        made(conn, "p2", alice, "acme/text", START - DAY)
        made(conn, "p3", bob, "acme/picture", START - 60)
        rows.settle(
            conn,
            "p1",
            settlement(
                document=DOCUMENT,
                files=[URL],
                at=START - 3 * DAY + 60,
                usage=Usage(1_500_000, 2),
                cost_nano=3_000_000,
            ),
        )
        rows.settle(
            conn,
            "p2",
            settlement(at=START - DAY + 60, usage=Usage(500_000, 0, 10, 20), cost_nano=None),
        )

    in_ledger(program, lambda ledger: ledger.write(work))
    return program


@pytest.mark.parametrize(
    "line",
    [
        "users list",
        "keys list",
        "predictions list",
        "predictions orphans",
        "webhooks list",
        "usage",
        "export",
        "mirror stats",
        "cache stats",
    ],
)
def test_who_only_looks_begins_no_ledger(program: Program, line: str) -> None:
    program.ok(*line.split())
    assert not (program.folder / "data").exists()


def test_where_there_is_no_ledger_it_is_said_beside_an_empty_list(program: Program) -> None:
    result = program.run("predictions", "list", "--json")
    assert json.loads(result.stdout) == []
    assert "there is no ledger yet" in result.stderr
    program.fails(1, "users", "show", "alice")
    assert not (program.folder / "data").exists()


def test_usage_adds_up_by_whatever_is_asked_for_in_three_forms(full: Program) -> None:
    report = json.loads(full.ok("usage", "--by", "model", "--format", "json"))
    costs = {line["model"]: line["estimated_cost_usd"] for line in report["lines"]}
    assert costs == {"acme/picture": 0.003, "acme/text": None}
    assert report["total"]["predictions"] == 3
    assert report["total"]["running"] == 1
    assert report["total"]["unpriced"] == 1
    table = list(csv.DictReader(io.StringIO(full.ok("usage", "--by", "day", "--format", "csv"))))
    assert [(line["day"], line["predict_seconds"]) for line in table] == [
        ("2025-06-12", "1.5"),
        ("2025-06-14", "0.5"),
        ("2025-06-15", "0"),
    ]
    text = full.ok("usage", "--by", "model", "--since", "7d")
    assert "≈ $0.003" in text
    assert "unknown" in text
    assert "total" in text
    narrowed = json.loads(full.ok("usage", "--model", "ACME/text", "--format", "json"))
    assert narrowed["total"]["input_tokens"] == 10
    assert full.fails(1, "usage", "--user", "alise").count("alice") == 1
    assert full.fails(2, "usage", "--since", "whenever")


def test_export_writes_each_prediction_with_unknown_costs_empty(full: Program) -> None:
    table = list(csv.DictReader(io.StringIO(full.ok("export"))))
    assert [line["id"] for line in table] == ["p3", "p2", "p1"]
    assert [line["estimated_cost_usd"] for line in table] == ["", "", "0.003"]
    lines = full.ok("export", "--format", "jsonl", "--until", "2d").splitlines()
    assert [json.loads(line)["id"] for line in lines] == ["p1"]
    assert "secret wish" not in full.ok("export")


def stored(program: Program, content: bytes) -> None:
    """Let the ledger believe that the file was fetched."""
    in_ledger(
        program,
        lambda ledger: ledger.write(
            lambda conn: files.stored(conn, URL, len(content), None, None, None, START - 2 * DAY)
        ),
    )


def test_without_lines_a_csv_has_its_heading_still(full: Program) -> None:
    long_ago = ("--since", "2001-01-01", "--until", "2001-01-02")
    [head] = full.ok("usage", "--by", "model", "--format", "csv", *long_ago).splitlines()
    some = full.ok("usage", "--by", "model", "--format", "csv").splitlines()
    assert head == some[0]
    [head] = full.ok("export", *long_ago).splitlines()
    assert head == full.ok("export").splitlines()[0]
    assert full.ok("export", "--format", "jsonl", *long_ago) == ""
    report = json.loads(full.ok("usage", "--format", "json", *long_ago))
    assert (report["lines"], report["total"]["predictions"]) == ([], 0)


@pytest.mark.parametrize(
    "span",
    [
        ("--since", "2026-03-02", "--until", "2026-03-01"),
        ("--since", "9999-12-31T23:59:59-14:00"),
        ("--until", "0001-01-01T00:00:00+14:00"),
        ("--since", "yesterday"),
        ("--since", "2026-02-30"),
        ("--since", "0d"),
    ],
)
def test_a_time_that_cannot_be_is_misuse(full: Program, span: tuple[str, ...]) -> None:
    assert "since" in full.fails(2, "usage", *span) or "until" in full.fails(2, "usage", *span)


def test_times_are_utc_unless_they_say_otherwise(full: Program) -> None:
    def made(*span: str) -> int:
        found: int = json.loads(full.ok("usage", "--format", "json", *span))["total"]["predictions"]
        return found

    # p3 was made at 15:05:40 UTC on 2025-06-15.
    assert made("--since", "2025-06-15T15:05:40", "--until", "2025-06-15T15:05:41") == 1
    assert made("--since", "2025-06-15T17:05:40+02:00", "--until", "2025-06-15T15:05:41Z") == 1
    assert made("--since", "2025-06-15T15:05:41", "--until", "2025-06-16") == 0


def test_who_was_renamed_is_one_line_under_the_name_that_they_have(full: Program) -> None:
    full.ok("users", "set", "alice", "--name", "aaron")
    for command in (("usage",), ("usage", "--user", "aaron")):
        [line] = [
            line
            for line in json.loads(full.ok(*command, "--format", "json"))["lines"]
            if line["user"] != "bob"
        ]
        assert (line["user"], line["predictions"]) == ("aaron", 2)


def test_what_removed_users_made_is_found_by_their_name_and_id(full: Program) -> None:
    alice = full.json("users", "show", "alice")["user"]["id"]
    full.ok("users", "remove", "alice")
    for name in ("alice", alice):
        report = json.loads(full.ok("usage", "--user", name, "--format", "json"))
        assert [(line["user"], line["predictions"]) for line in report["lines"]] == [("alice", 2)]
        assert len(full.ok("export", "--user", name).splitlines()) == 3
        assert len(full.json("predictions", "list", "--user", name)) == 2
    # Somebody else who gets the name has used nothing.
    full.ok("users", "add", "alice")
    assert json.loads(full.ok("usage", "--user", "alice", "--format", "json"))["lines"] == []
    assert "bob" in full.fails(1, "usage", "--user", "bobo")


def test_what_removed_users_made_outlives_a_purge_in_the_totals(full: Program) -> None:
    full.ok("users", "remove", "alice", "--purge", "--yes")
    report = json.loads(full.ok("usage", "--user", "alice", "--format", "json"))
    assert report["total"]["predict_seconds"] == 2


def test_prune_goes_by_the_configuration_and_says_what_went(full: Program) -> None:
    stored(full, b"picture")
    assert "nothing to remove" in full.run("prune").stderr
    config = full.folder / "gateway.toml"
    config.write_text(config.read_text() + "\n[retention]\ndocuments_days = 2\nfiles_days = 1\n")
    assert full.json("prune") == {"documents": 1, "files": 1}
    assert full.json("prune") == {}
    assert full.json("mirror", "stats")["files"] == {"gone": 1}
    document = full.json("predictions", "show", "p1")["document"]
    assert (document["input"], document["output"], document["data_removed"]) == ({}, None, True)
    report = json.loads(full.ok("usage", "--format", "json"))
    assert report["total"]["images"] == 2
    entries = in_ledger(full, lambda ledger: ledger.read(audit.entries))
    assert entries[0].action == "prune"
    assert entries[0].source


def test_mirror_verify_finds_lost_bytes_and_repair_asks_for_them_again(full: Program) -> None:
    stored(full, b"picture")
    result = full.run("mirror", "verify", "--json")
    assert result.exit_code == 1
    [fault] = json.loads(result.stdout)["faults"]
    assert (fault["url"], fault["fault"]) == (URL, "bytes missing")
    full.ok("mirror", "verify", "--repair")
    assert full.json("mirror", "stats")["files"] == {"wanted": 1}
    full.ok("mirror", "verify")


def test_the_cache_is_counted_and_cleared(full: Program) -> None:
    assert full.json("cache", "stats")["entries"] == 0
    assert "Dropped 0 entries" in full.run("cache", "clear").stderr


def test_a_report_loads_nothing_of_the_services() -> None:
    """A command that answers in under a second has no time for importing a server."""
    code = (
        "import sys, gateway.cli.usage;"
        "print(*[name for name in ('starlette', 'uvicorn', 'aiohttp', 'httpx', 'alembic',"
        " 'diskcache', 'gateway.app', 'gateway.mirror') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
