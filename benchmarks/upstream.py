"""A thousand impatient clients against the real service's limits: `make bench-upstream`.

A simulated Replicate that enforces its limits, a gateway, and clients, each in processes of their
own. Two scenes: 1,000 clients poll 300 running predictions every half second for a minute, while
nobody asks for 30 more; and one user's burst of 500 creates beside another's create every two
seconds. `--scale 0.1` is a tenth of everything, limits included.
"""

import argparse
import asyncio
import bisect
import json
import os
import random
import statistics
import time
from collections import Counter
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp

from gateway.clock import SystemClock
from gateway.domain.facts import parse_time
from gateway.ledger import Ledger, predictions
from tests.support.process import Processes, processes

SLOW = "/replicate/v1/models/simulated/slow/predictions"
UNNOTICED_AFTER_S = 10.0
TERMINAL = {"succeeded", "failed", "canceled", "aborted"}


@dataclass
class Watching:
    """What came of the first scene. Times are seconds."""

    sent_by_clients: int = 0
    seen_by_upstream: int = 0
    most_requests_in_a_minute: int = 0
    most_creates_in_a_minute: int = 0
    statuses: Counter[int] = field(default_factory=Counter)
    view_age_median: float = 0.0
    view_age_p95: float = 0.0
    end_lag_median: float = 0.0
    end_lag_p95: float = 0.0
    answer_median: float = 0.0
    ends: int = 0
    silent_lag_median: float = 0.0
    """How long the end of what nobody asks for went unnoticed."""
    silent_lag_most: float = 0.0
    silent_ends: int = 0
    silent_unnoticed: int = 0
    """How many ended more than ten seconds before the scene did, and nobody knows."""
    gateway_cpu_s: float = 0.0

    @property
    def spared(self) -> float:
        """The part of the clients' requests that upstream never saw."""
        return 1 - self.seen_by_upstream / max(1, self.sent_by_clients)


POLL_EVERY_S = 0.5
"""How often each client asks, in seconds."""


@dataclass
class Queueing:
    """What came of the second scene: how long the second user's creates took, in seconds."""

    alone_median: float = 0.0
    beside_median: float = 0.0
    beside_most: float = 0.0
    burst: Counter[int] = field(default_factory=Counter)


@dataclass(frozen=True)
class Size:
    """How large the scenes are."""

    predictions: int
    silent: int
    clients: int
    seconds: float
    burst: int
    creates_per_minute: int
    requests_per_minute: int

    @classmethod
    def of(cls, scale: float, seconds: float) -> "Size":
        return cls(
            predictions=round(300 * scale),
            silent=max(6, round(30 * scale)),
            clients=round(1000 * scale),
            seconds=seconds,
            burst=round(500 * scale),
            # A tenth of the pace would make everybody wait for a tenth of the pace.
            creates_per_minute=round(600 * max(0.3, scale)),
            requests_per_minute=round(3000 * scale),
        )


def toml(size: Size, workers: int) -> str:
    return (
        f"[server]\nworkers = {workers}\n"
        f"[upstream]\ncreates_per_minute = {size.creates_per_minute}\n"
        f"requests_per_minute = {size.requests_per_minute}\n"
        "[webhooks]\nallow_private_addresses = true\n"
    )


async def watch(gateway: Processes, key: str, size: Size) -> Watching:
    """Let clients poll running predictions."""
    dice = random.Random(7)
    found = Watching()
    made: dict[str, dict[str, Any]] = {}
    headers = {"authorization": f"Bearer {key}"}
    timeout = aiohttp.ClientTimeout(total=60)
    async with aiohttp.ClientSession(
        gateway.url, headers=headers, timeout=timeout, connector=aiohttp.TCPConnector(limit=0)
    ) as session:
        count = size.predictions + size.silent
        creating = 60 * count / size.creates_per_minute
        begun = time.time()
        silent: set[str] = set()

        async def create(number: int) -> None:
            await asyncio.sleep(creating * number / count)
            asked_for = number >= size.silent
            # Some end during the minute, the others run on.
            part = dice.uniform(0.1, 2.0 if asked_for else 0.6)
            lasts = creating - (time.time() - begun) + part * size.seconds
            body: dict[str, object] = {"input": {"seconds": round(lasts, 3)}}
            if not asked_for and number % 2:
                body["webhook"] = "http://127.0.0.1:9/nobody"
            async with session.post(SLOW, json=body) as answer:
                document = await answer.json()
                made[document["id"]] = document
            if not asked_for:
                silent.add(document["id"])

        await asyncio.gather(*(create(number) for number in range(count)))
        views: list[tuple[str, float]] = []
        waits: list[float] = []
        ended: dict[str, list[float]] = {}
        names = sorted(made.keys() - silent)
        start = time.time()
        until = start + size.seconds
        burnt = _cpu_seconds(gateway)

        async def client(number: int) -> None:
            await asyncio.sleep(POLL_EVERY_S * dice.random())
            mine = names[number % len(names)]
            while time.time() < until:
                asked = time.time()
                found.sent_by_clients += 1
                async with session.get(f"/replicate/v1/predictions/{mine}") as answer:
                    body = await answer.read()
                now = time.time()
                waits.append(now - asked)
                found.statuses[answer.status] += 1
                document = json.loads(body)
                if document.get("status") in TERMINAL:
                    ended.setdefault(mine, []).append(now)
                    mine = dice.choice([one for one in names if one not in ended] or names)
                else:
                    views.append((mine, now))
                await asyncio.sleep(max(0.0, POLL_EVERY_S - (now - asked)))

        await asyncio.gather(*(client(number) for number in range(size.clients)))
        found.gateway_cpu_s = _cpu_seconds(gateway) - burnt
    _judge(gateway, found, start, until, views, waits, ended)
    await _judge_silent(gateway, found, silent, start, until)
    return found


def _judge(
    gateway: Processes,
    found: Watching,
    start: float,
    until: float,
    views: list[tuple[str, float]],
    waits: list[float],
    ended: dict[str, list[float]],
) -> None:
    log = gateway.received(origin="api")
    times = sorted(entry["at"] for entry in log)
    found.seen_by_upstream = sum(start <= at <= until for at in times)
    creates = [entry["at"] for entry in log if entry["operation"].endswith(".create")]
    requests = [entry["at"] for entry in log if not entry["operation"].endswith(".create")]
    found.most_creates_in_a_minute = _most_in_a_minute(creates)
    found.most_requests_in_a_minute = _most_in_a_minute(requests)
    lists: list[float] = []
    looks: dict[str, list[float]] = {}
    for entry in sorted(log, key=lambda entry: entry["at"]):
        if entry["operation"] == "predictions.list":
            lists.append(entry["at"])
        elif entry["operation"] == "predictions.get":
            looks.setdefault(entry["path"].rpartition("/")[2], []).append(entry["at"])
    ages = []
    for one, at in views:
        last = 0.0
        for seen in (lists, looks.get(one, [])):
            place = bisect.bisect_right(seen, at)
            last = max(last, seen[place - 1] if place else 0.0)
        ages.append(at - last)
    found.view_age_median, found.view_age_p95 = statistics.median(ages), _p95(ages)
    found.answer_median = statistics.median(waits)
    lags = []
    for one, moments in ended.items():
        document = gateway.steer("GET", f"/predictions/{one}")
        happened = _seconds(document["completed_at"])
        lags += [moments[0] - happened] if happened > start else []
    found.ends = len(lags)
    if lags:
        found.end_lag_median, found.end_lag_p95 = statistics.median(lags), _p95(lags)


async def _judge_silent(
    gateway: Processes, found: Watching, silent: set[str], start: float, until: float
) -> None:
    async with Ledger("", SystemClock(), folder=gateway.data_dir) as ledger:
        rows = [
            await ledger.read(partial(predictions.get, prediction_id=one)) for one in sorted(silent)
        ]
    lags = []
    for row in rows:
        assert row is not None
        happened = _seconds(gateway.steer("GET", f"/predictions/{row.id}")["completed_at"] or "")
        if not start < happened < until:
            continue
        if row.settled_at is not None:
            lags.append(row.settled_at - happened)
        elif happened < until - UNNOTICED_AFTER_S:
            found.silent_unnoticed += 1
    found.silent_ends = len(lags)
    if lags:
        found.silent_lag_median, found.silent_lag_most = statistics.median(lags), max(lags)


async def queue(gateway: Processes, keys: tuple[str, str], size: Size) -> Queueing:
    """Let one user burst while another creates now and then."""
    found = Queueing()
    body = {"input": {"value": 1}}
    path = "/replicate/v1/models/simulated/echo/predictions"

    async def create(session: aiohttp.ClientSession) -> tuple[int, float]:
        asked = time.monotonic()
        async with session.post(path, json=body) as answer:
            await answer.read()
            return answer.status, time.monotonic() - asked

    def session(key: str) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            gateway.url,
            headers={"authorization": f"Bearer {key}"},
            timeout=aiohttp.ClientTimeout(total=120),
            connector=aiohttp.TCPConnector(limit=0),
        )

    async with session(keys[0]) as greedy, session(keys[1]) as modest:

        async def now_and_then() -> list[float]:
            took = []
            for _ in range(5):
                status, seconds = await create(modest)
                assert status == 201, status
                took.append(seconds)
                await asyncio.sleep(2)
            return took

        alone = await now_and_then()
        burst = [asyncio.create_task(create(greedy)) for _ in range(size.burst)]
        await asyncio.sleep(0.5)
        beside = await now_and_then()
        found.burst = Counter(status for status, _ in await asyncio.gather(*burst))
    found.alone_median = statistics.median(alone)
    found.beside_median, found.beside_most = statistics.median(beside), max(beside)
    return found


def _cpu_seconds(gateway: Processes) -> float:
    """The processor time that the gateway's processes have used."""
    ticks = 0
    for pid in [gateway.pid, *gateway.workers()]:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def _most_in_a_minute(moments: list[float]) -> int:
    times = sorted(moments)
    return max(bisect.bisect_right(times, at + 60) - place for place, at in enumerate(times))


def _p95(values: list[float]) -> float:
    return sorted(values)[int(len(values) * 0.95)]


def _seconds(text: str) -> float:
    return parse_time(text) or 0.0


def run_watching(size: Size, workers: int) -> Watching:
    """Run the first scene."""
    with _stage(size, workers) as gateway:
        return asyncio.run(watch(gateway, gateway.add_user("ann"), size))


def run_queueing(size: Size, workers: int) -> Queueing:
    """Run the second scene."""
    with _stage(size, workers) as gateway:
        keys = gateway.add_user("ann"), gateway.add_user("bob")
        return asyncio.run(queue(gateway, keys, size))


def _stage(size: Size, workers: int) -> AbstractContextManager[Processes]:
    return processes(
        toml(size, workers),
        creates_per_minute=size.creates_per_minute,
        requests_per_minute=size.requests_per_minute,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--workers", type=int, default=2)
    given = parser.parse_args()
    size = Size.of(given.scale, given.seconds)
    watching = run_watching(size, given.workers)
    print(json.dumps({**vars(watching), "spared": watching.spared}, indent=2))
    print(json.dumps(vars(run_queueing(size, given.workers)), indent=2))


if __name__ == "__main__":
    main()
