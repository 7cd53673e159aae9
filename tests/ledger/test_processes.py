"""Several processes on one SQLite file, and one that is killed in the middle."""

import os
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import IO

from gateway.domain.plans import Metric
from gateway.ledger import creates, predictions, quotas, totals
from tests.support.ledgers import NOW, Database, rule

ROOT = Path(__file__).parents[2]


def start(*arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.ledger.process", *map(str, arguments)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )


def out(process: subprocess.Popen[str]) -> IO[str]:
    assert process.stdout is not None
    return process.stdout


async def test_processes_that_race_for_one_quota_get_exactly_what_is_left(tmp_path: Path) -> None:
    limit, times = 25, 20
    racers = [start("race", tmp_path, limit, times, f"u{number}") for number in range(4)]
    for racer in racers:
        assert out(racer).readline() == "ready\n"
    for racer in racers:
        assert racer.stdin is not None
        racer.stdin.write("go\n")
        racer.stdin.flush()
    got = [int(racer.communicate(timeout=60)[0]) for racer in racers]
    assert [racer.returncode for racer in racers] == [0] * 4
    assert sum(got) == limit
    async with Database("", tmp_path).open() as ledger:
        shared = [(rule(limit=limit), "team:red")]
        (standing,) = await ledger.read(lambda conn: quotas.standings(conn, shared, NOW))
        assert standing.taken == limit


async def test_what_was_acknowledged_survives_a_kill(tmp_path: Path) -> None:
    acknowledged: set[tuple[str, str]] = set()
    for life in ("a", "b"):
        process = start("load", tmp_path, life)
        assert out(process).readline() == "ready\n"
        for _ in range(150):
            word, name = out(process).readline().split()
            acknowledged.add((word, name))
        process.send_signal(signal.SIGKILL)
        rest = process.communicate(timeout=30)[0]
        # What it still said is acknowledged too; its last line may be cut off.
        for line in rest.splitlines(keepends=True):
            if line.endswith("\n"):
                word, name = line.split()
                acknowledged.add((word, name))
    async with Database("", tmp_path).open() as ledger:
        for word, name in acknowledged:
            create = await ledger.read(partial(creates.get, create_id=name))
            assert create is not None
            if word == "reserved":
                continue
            assert create.state == "recorded"
            known = await ledger.read(
                partial(predictions.get_with_document, prediction_id=f"p-{name}")
            )
            assert known is not None
            if word == "settled":
                assert (known[0].status, known[1]) == ("succeeded", name.encode())
        # And everything is whole: counters and totals are the sums of the rows.
        rows = await ledger.read(
            lambda conn: predictions.rows(conn, predictions.Filter(), limit=10**6)
        )
        settled = [row for row in rows if row.settled_at is not None]
        doubtful = [
            row.id for row in rows if (row.settled_at is None) != (row.status == "starting")
        ]
        assert doubtful == []
        daily = await ledger.read(lambda conn: totals.daily(conn, 0, 10**6))
        assert sum(total.predictions for total in daily) == len(settled)
        kept = await ledger.read(lambda conn: quotas.counters_at(conn, NOW, ["team:red"]))
        (counter,) = [one for one in kept if one.metric is Metric.PREDICTIONS]
        assert counter.used == len(settled)
        # A counter that is made now says the same.
        fresh = [(rule(models=("*",)), "team:red")]
        (standing,) = await ledger.read(lambda conn: quotas.standings(conn, fresh, NOW))
        assert (standing.used, standing.reserved) == (counter.used, counter.reserved)
