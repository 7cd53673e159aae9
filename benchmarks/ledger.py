"""How long reports and quota checks take on a ledger of 100,000 predictions.

    python -m benchmarks.ledger [--predictions 100000]

Prints medians and the slowest tenth, in milliseconds, on SQLite in a temporary folder; then what
the commands themselves take, start included, in time, processor time and memory.
"""

import argparse
import asyncio
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

from gateway.clock import SystemClock
from gateway.domain.admission import Demand, decide
from gateway.domain.plans import Metric, Per, QuotaRule, Scope, team_subject, user_subject
from gateway.ledger import Connection, Ledger, creates, predictions, totals
from gateway.ledger.creates import Reservation
from gateway.ledger.tables import documents as document_table
from gateway.ledger.tables import predictions as prediction_table
from gateway.ledger.usage import report

_TELLING = """
import atexit, runpy, sys
atexit.register(lambda: sys.stderr.write(open("/proc/self/status").read()))
runpy.run_module("gateway", run_name="__main__")
"""
"""The command line, which says at its end what the kernel knows of it. The peak that a parent is
told of a child is never below the parent's own."""

USERS, TEAMS, MODELS, DAYS = 20, 5, 40, 30
DAY_S = 86_400.0
DOCUMENT = b'{"id":"x","status":"succeeded","output":["https://example.com/x"]}' * 20
DEMAND = Demand(1, 2_000_000, 1, 0, 3_000_000)


def rules(user: str, team: str) -> list[tuple[QuotaRule, str]]:
    own, shared = user_subject(user), team_subject(team)
    return [
        (QuotaRule(Metric.PREDICTIONS, 10**9, Per.DAY), own),
        (QuotaRule(Metric.PREDICTIONS, 10**9, Per.MINUTE), own),
        (QuotaRule(Metric.COST_USD, 10**15, Per.MONTH), own),
        (QuotaRule(Metric.IMAGES, 10**9, Per.WEEK, ("acme/*",)), own),
        (QuotaRule(Metric.COST_USD, 10**15, Per.MONTH, (), Scope.TEAM), shared),
        (QuotaRule(Metric.PREDICT_SECONDS, 10**15, Per.DAY, (), Scope.TEAM), shared),
    ]


def reservation(number: int, at: float, chance: random.Random) -> Reservation:
    user = chance.randrange(USERS)
    return Reservation(
        id=f"create{number:09d}",
        worker="benchmark",
        user_id=f"user{user}",
        user_name=f"user{user}",
        team=f"team{user % TEAMS}",
        key_id="key",
        account="benchmark",
        kind="prediction",
        target="models/acme/model",
        model=f"acme/model{chance.randrange(MODELS)}",
        body_digest=f"{number:064d}",
        input_digest=f"{number:064d}",
        demand=DEMAND,
        at=at,
    )


def rows_of(number: int, count: int, at: float, asked: Reservation) -> dict[str, object]:
    settled = number < count - 20
    return {
        "id": f"prediction{number:09d}",
        "create_id": asked.id,
        "kind": "prediction",
        "account": "benchmark",
        "user_id": asked.user_id,
        "user_name": asked.user_name,
        "team": asked.team,
        "key_id": "key",
        "model": asked.model,
        "answered_model": asked.model,
        "status": "succeeded" if settled else "processing",
        "status_rank": 3 if settled else 1,
        "created_at": at,
        "charged_at": at,
        "day": int(at // DAY_S),
        "snapshot_at": at,
        "settled_at": at + 2 if settled else None,
        "next_look_at": None if settled else at + 3600,
        "origin": "http://localhost:8080",
        "est_predictions": 1,
        "est_predict_us": 2_000_000,
        "est_images": 1,
        "est_tokens": 0,
        "est_cost_nano": 3_000_000,
        "predict_us": 2_100_000 if settled else None,
        "images": 1 if settled else None,
        "tokens_in": 0 if settled else None,
        "tokens_out": 0 if settled else None,
        "cost_nano": 3_000_000 if settled else None,
    }


async def fill(ledger: Ledger, count: int, now: float, chance: random.Random) -> None:
    """Write what creating and settling would have left, a thousand at a time."""

    def batch(conn: Connection, first: int) -> None:
        rows = []
        for number in range(first, min(first + 1000, count)):
            at = now - DAYS * DAY_S + (number + 1) * DAYS * DAY_S / count - 60
            rows.append(rows_of(number, count, at, reservation(number, at, chance)))
        conn.execute(prediction_table.insert(), rows)
        conn.execute(
            document_table.insert(),
            [{"prediction_id": row["id"], "body": DOCUMENT} for row in rows],
        )
        for row in rows:
            if row["settled_at"] is None:
                continue
            totals.add(
                conn,
                totals.DailyTotal(
                    day=int(str(row["day"])),
                    user_id=str(row["user_id"]),
                    user_name=str(row["user_name"]),
                    team=str(row["team"]),
                    model=str(row["model"]),
                    status="succeeded",
                    predictions=1,
                    predict_us=2_100_000,
                    images=1,
                    tokens_in=0,
                    tokens_out=0,
                    cost_nano=3_000_000,
                    unpriced=0,
                ),
            )

    for first in range(0, count, 1000):
        await ledger.write(partial(batch, first=first))


async def measure(name: str, times: int, work: Callable[[int], Awaitable[object]]) -> None:
    taken = []
    for number in range(times):
        begun = time.perf_counter()
        await work(number)
        taken.append((time.perf_counter() - begun) * 1000)
    taken.sort()
    print(f"{name:46}  {statistics.median(taken):9.2f}  {taken[int(len(taken) * 0.9)]:9.2f}")


def command(folder: Path, *line: str) -> None:
    """Run a command of the command line on this ledger and print what it took."""
    environment = {**os.environ, "GATEWAY_STORAGE__DATA_DIR": str(folder)}
    begun, before = time.perf_counter(), os.times()
    done = subprocess.run(
        [sys.executable, "-c", _TELLING, *line], env=environment, capture_output=True, check=True
    )
    taken, after = time.perf_counter() - begun, os.times()
    busy = after.children_user + after.children_system
    busy -= before.children_user + before.children_system
    peak = int(done.stderr.partition(b"VmHWM:")[2].split()[0]) / 1024
    lines = done.stdout.count(b"\n")
    told = f"{taken:.2f} s, {busy:.2f} s of processor, {peak:.0f} MB, {lines:,} lines"
    print(f"{' '.join(line):46}  {told}")


async def main(count: int) -> None:
    chance = random.Random(1)
    clock = SystemClock()
    with tempfile.TemporaryDirectory() as folder:
        async with Ledger("", clock, folder=Path(folder)) as ledger:
            now = clock.now()
            begun = time.perf_counter()
            await fill(ledger, count, now, chance)
            print(f"{count:,} predictions written in {time.perf_counter() - begun:.1f} s\n")
            print(f"{'':46}  median ms     90 % ms")

            def reports(by: str, since: float) -> Callable[[int], Awaitable[object]]:
                # Not a whole day: the edges are added up from the predictions themselves.
                return lambda _: ledger.read(
                    lambda conn: report(conn, [by], since=now - since, until=now)  # type: ignore[list-item] # by comes from the list below
                )

            for by in ("model", "user", "team", "day"):
                await measure(f"usage --since 30d --by {by}", 20, reports(by, DAYS * DAY_S))

            async def check(number: int) -> None:
                asked = reservation(count + number, clock.now(), chance)
                counted = rules(asked.user_id, asked.team or "")
                await ledger.read(partial(predictions.recent_usage, model=asked.model or "", n=20))
                await ledger.write(
                    lambda conn: creates.reserve(
                        conn,
                        asked,
                        counted,
                        10**6,
                        lambda standings, running: decide(
                            standings, running, 10**6, DEMAND, asked.at
                        ),
                    ),
                    durable=True,
                )

            await measure("create: estimate, quota check, reservation", 500, check)
        print()
        for by in ("model", "team"):
            command(Path(folder), "usage", "--since", "30d", "--by", by)
        for most in ("1d", "60d"):
            command(Path(folder), "export", "--since", most)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--predictions", type=int, default=100_000)
    asyncio.run(main(parser.parse_args().predictions))
