"""Killed at the worst moments under load: nothing is lost, doubled, or given to somebody else.

By default each point is tried once, and four moments, with one worker and with four. The full size,
a quarter of an hour of it:

    CRASH_ROUNDS=5 CRASH_MOMENTS=20 make test TESTS=tests/live/test_crash_points.py
"""

import asyncio
import os
import random
import signal
import threading
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.clock import SystemClock
from gateway.ledger import Connection, Ledger
from tests.support.creating import FLUX
from tests.support.process import ROOT, Processes, processes
from tests.support.receiving import Receiver, receiver

ROUNDS = int(os.environ.get("CRASH_ROUNDS", "1"))
MOMENTS = int(os.environ.get("CRASH_MOMENTS", "4"))
POINTS = ("reserved", "sent", "answered", "settling", "file", "delivered")
USERS = ("ann", "bob", "eve")
TOML = """
[server]
workers = {workers}

[plans.default]
quotas = [{{ metric = "predictions", limit = 100000, per = "month" }}]

[webhooks]
allow_private_addresses = true
"""


class Load:
    """Three users who create without a pause until they are told to stop."""

    def __init__(self, gateway: Processes, hook: Receiver, keys: dict[str, str]) -> None:
        self._gateway = gateway
        self._hook = hook
        self._over = threading.Event()
        self.answered: dict[str, str] = {}
        self._threads = [
            threading.Thread(target=self._create, args=(name, key)) for name, key in keys.items()
        ]
        for thread in self._threads:
            thread.start()

    def _create(self, name: str, key: str) -> None:
        number = 0
        with self._gateway.client(key) as client:
            while not self._over.is_set():
                number += 1
                body = {
                    "input": {"prompt": f"{name} {number}", "output_format": "jpg"},
                    "webhook": self._hook.url,
                    "webhook_events_filter": ["completed"],
                }
                try:
                    answer = client.post(FLUX, json=body)
                except httpx.TransportError:
                    time.sleep(0.1)  # it is down
                    continue
                if answer.status_code == 201:
                    self.answered[answer.json()["id"]] = name
                time.sleep(0.05)

    def stop(self) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()


def rows(gateway: Processes, statement: str) -> list[tuple[Any, ...]]:
    def read(conn: Connection) -> list[tuple[Any, ...]]:
        return [tuple(row) for row in conn.exec_driver_sql(statement)]

    async def run() -> list[tuple[Any, ...]]:
        async with Ledger("", SystemClock(), folder=gateway.data_dir) as ledger:
            return await ledger.read(read)

    return asyncio.run(run())


def check(gateway: Processes, hook: Receiver, load: Load, keys: dict[str, str]) -> None:
    """Wait until what upstream has is known, ended, mirrored and told; then count."""
    upstream = {
        one["id"]: str(one["input"]["prompt"]).split()[0]
        for one in gateway.steer("GET", "/predictions")
    }

    def settled() -> bool:
        known = dict(rows(gateway, "SELECT id, user_name FROM predictions WHERE settled_at > 0"))
        return set(known) >= set(upstream)

    def drained() -> bool:
        ((files, events),) = rows(
            gateway,
            "SELECT (SELECT count(*) FROM files WHERE state <> 'stored'),"
            " (SELECT count(*) FROM outbox WHERE next_attempt_at IS NOT NULL)",
        )
        return bool(files == 0 and events == 0)

    gateway.wait_for(settled, 90)
    gateway.wait_for(drained, 90)
    owners = dict(rows(gateway, "SELECT id, user_name FROM predictions"))
    assert owners == upstream, "every prediction of upstream's, with the right owner"
    assert load.answered.items() <= owners.items()
    # Reserved and never sent: they stay counted until the list has lacked them for five minutes.
    open_creates = rows(gateway, "SELECT count(*) FROM creates WHERE state IN ('reserved','doubt')")
    ((used, reserved),) = rows(
        gateway,
        "SELECT sum(used), sum(reserved) FROM counters"
        " WHERE metric = 'predictions' AND per = 'month' AND subject LIKE 'user:%'",
    )
    assert (used, reserved) == (len(upstream), open_creates[0][0])
    assert rows(gateway, "SELECT sum(predictions) FROM daily_totals") == [(len(upstream),)]
    told: dict[str, set[str]] = defaultdict(set)
    for delivery in hook.deliveries:
        told[delivery.document["id"]].add(delivery.id)
    assert set(told) == set(upstream), "every end is told"
    assert {len(names) for names in told.values()} == {1}, "under one webhook-id"
    ids = random.Random(1).sample(sorted(upstream), min(10, len(upstream)))
    for one in ids:
        with gateway.client(keys[upstream[one]]) as client:
            document = client.get(f"/replicate/v1/predictions/{one}").json()
            file = client.get(document["output"][0])
            assert file.status_code == 200
            assert len(file.content) == int(file.headers["content-length"])
            assert file.content.startswith(b"\xff\xd8")
            assert file.content.rstrip(b"\0").endswith(b"\xff\xd9")


def power_cut(gateway: Processes) -> None:
    """End all processes at once: none may see another die and do something about it."""
    if gateway.running():
        os.kill(gateway.pid, signal.SIGSTOP)
        gateway.kill_all()


def crash_at(gateway: Processes, point: str, marker: Path) -> None:
    """Start the gateway so that it dies at this point, see it die, and end what is left of it."""
    gateway.environment = {
        "PYTHONPATH": os.pathsep.join((str(ROOT / "tests" / "support" / "crashing"), str(ROOT))),
        "CRASH_AT": f"{point}:{marker}",
    }
    try:
        gateway.start()
        gateway.wait_for(marker.exists)
    except AssertionError:
        # The load does not wait until it is ready: it may be dead already.
        if not marker.exists():
            raise
    power_cut(gateway)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("workers", [1, 4])
def test_killed_at_every_point_nothing_is_lost_or_doubled(workers: int, tmp_path: Path) -> None:
    toml = TOML.format(workers=workers)
    with receiver() as hook, processes(toml, no_limits=True) as gateway:
        keys = {name: gateway.add_user(name) for name in USERS}
        load = Load(gateway, hook, keys)
        try:
            power_cut(gateway)
            for number in range(ROUNDS):
                for point in POINTS:
                    if point == "sent":
                        slow = {"kind": "slow", "match": "*.create", "times": 20, "seconds": 0.2}
                        gateway.steer("POST", "/faults", slow)
                    crash_at(gateway, point, tmp_path / f"{point}-{number}")
            gateway.environment = {}
            gateway.start()
        finally:
            load.stop()
        check(gateway, hook, load, keys)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("workers", [1, 4])
def test_killed_at_random_moments_nothing_is_lost_or_doubled(workers: int) -> None:
    moments = random.Random(20260801)
    toml = TOML.format(workers=workers)
    with receiver() as hook, processes(toml, no_limits=True) as gateway:
        keys = {name: gateway.add_user(name) for name in USERS}
        load = Load(gateway, hook, keys)
        try:
            for _ in range(MOMENTS):
                time.sleep(moments.uniform(0.05, 2.0))
                power_cut(gateway)
                gateway.start()
        finally:
            load.stop()
        check(gateway, hook, load, keys)
