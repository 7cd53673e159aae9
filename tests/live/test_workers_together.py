"""What one worker promises, promised by four: exact, shared, and known to all within a second."""

import json
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise

import pytest

from tests.support.creating import create, created, read
from tests.support.crowd import asked_apart, at_once, make_users, until_all_answered, workers_of
from tests.support.process import Processes, processes

WORKERS = 4
POLL_S = 0.5
TOML = f"""
[server]
workers = {WORKERS}
[upstream]
poll_interval_ms = {POLL_S * 1000:.0f}
creates_per_minute = 6000
requests_per_minute = 30000
[plans.default]
[plans.ten]
quotas = [{{ metric = "predictions", limit = 10, per = "month" }}]
[plans.three_at_a_time]
concurrent_predictions = 3
[plans.changing]
"""

pytestmark = pytest.mark.xdist_group("four workers")


@pytest.fixture(scope="module")
def gateway() -> Iterator[Processes]:
    """Four workers; the tests of this file share them."""
    with processes(TOML, speed=4, creates_per_minute=6000, requests_per_minute=30000) as both:
        yield both


@pytest.fixture(scope="module")
def key(gateway: Processes) -> str:
    """The key of a user whom nothing limits."""
    return make_users(gateway, ["ann"])[0]


def test_every_worker_answers(gateway: Processes, key: str) -> None:
    assert len(gateway.workers()) == WORKERS
    until_all_answered(gateway, key, WORKERS)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux spreads connections")
def test_connections_are_spread_over_the_workers(gateway: Processes, key: str) -> None:
    answers = [answer for _ in range(4) for answer in asked_apart(gateway, key, 25)]
    shares = Counter(answer.headers["x-request-id"].partition("-")[0] for answer in answers)
    assert len(shares) == WORKERS
    assert min(shares.values()) >= 5  # of 25 on average; less happens once in a million


@pytest.mark.parametrize(
    ("plan", "left", "refused"), [("ten", 10, 402), ("three_at_a_time", 3, 429)]
)
def test_with_so_many_left_so_many_succeed_however_many_workers_are_asked(
    gateway: Processes, plan: str, left: int, refused: int
) -> None:
    limited = make_users(gateway, [f"racer-{left}"], plan)[0]
    before = len(gateway.steer("GET", "/predictions"))

    def one(_: int) -> tuple[int, str]:
        with gateway.client(limited) as client:
            answer = create(client, "slow", seconds=20)
            return answer.status_code, answer.headers["x-request-id"].partition("-")[0]

    answers = at_once(40, one)
    assert Counter(status for status, _ in answers) == {201: left, refused: 40 - left}
    assert len({worker for _, worker in answers}) > 1
    assert len(gateway.steer("GET", "/predictions")) - before == left


def test_a_running_prediction_is_polled_once_per_interval_by_all_together(
    gateway: Processes, key: str
) -> None:
    with gateway.client(key) as client:
        made = created(client, "slow", seconds=12)
    path = f"/v1/predictions/{made}"
    until = time.monotonic() + 2
    answered = set()
    while time.monotonic() < until:
        answers = asked_apart(gateway, key, 16, f"/replicate{path}")
        assert {answer.status_code for answer in answers} == {200}
        answered |= workers_of(answers)
    assert len(answered) > 1
    looks = [request["at"] for request in gateway.received(path=path, method="GET")]
    assert looks
    # The simulator notes a request when it arrives, some milliseconds after it was allowed.
    assert all(b - a > POLL_S * 0.9 for a, b in pairwise(looks))


def test_a_file_is_fetched_once_whoever_is_asked_for_it(gateway: Processes, key: str) -> None:
    with gateway.client(key) as client:
        made = created(client, "large-file", size_bytes=3_000_000, bytes_per_second=4_000_000)
        url: str = gateway.finished(client, made).json()["output"]
    answers = asked_apart(gateway, key, 20, url.removeprefix(gateway.url))
    assert {(answer.status_code, len(answer.content)) for answer in answers} == {(200, 3_000_000)}
    assert len({answer.content for answer in answers}) == 1
    name = url.rpartition("/")[2]
    fetched = [r for r in gateway.received(origin="delivery") if r["path"].endswith(name)]
    assert len(fetched) == 1


def test_a_revoked_key_is_dead_within_a_second_on_every_worker(gateway: Processes) -> None:
    doomed = make_users(gateway, ["dee"])[0]
    until_all_answered(gateway, doomed, WORKERS)
    key_id = json.loads(gateway.command("keys", "list", "dee", "--json"))[0]["id"]
    gateway.command("keys", "revoke", key_id)
    time.sleep(1.0)
    answers = asked_apart(gateway, doomed, 48)
    assert {answer.status_code for answer in answers} == {401}
    assert len(workers_of(answers)) > 1


@pytest.mark.parametrize("by", ["SIGHUP", "config reload"])
def test_other_plans_reach_every_worker_within_a_second(gateway: Processes, by: str) -> None:
    name = "changed-by-" + by.replace(" ", "-").lower()
    theirs = make_users(gateway, [name], "changing")[0]
    until_all_answered(gateway, theirs, WORKERS)
    before = gateway.workers()
    rule = f'\nmodels_deny = ["simulated/{"echo" if by == "SIGHUP" else "slow"}"]\n'
    gateway.config.write_text(TOML + rule)
    if by == "SIGHUP":
        gateway.signal(signal.SIGHUP)
        gateway.wait_for(lambda: "reloaded: " in gateway.log())
    else:
        gateway.command("config", "reload")
    time.sleep(1.0)
    denied = "echo" if by == "SIGHUP" else "slow"

    def one(_: int) -> int:
        with gateway.client(theirs) as client:
            return create(client, denied).status_code

    assert set(at_once(24, one)) == {403}
    assert gateway.workers() == before


def test_a_faulty_configuration_changes_nothing_and_is_told(gateway: Processes) -> None:
    theirs = make_users(gateway, ["unchanged"], "ten")[0]
    gateway.config.write_text(TOML + "\n[server.typo]\n")
    gateway.signal(signal.SIGHUP)
    gateway.wait_for(lambda: "not reloaded: " in gateway.log())
    with gateway.client(theirs) as client:
        assert create(client, "echo", value=1).status_code == 201
    gateway.config.write_text(TOML)


def test_a_worker_that_is_killed_is_replaced_and_nothing_is_lost(
    gateway: Processes, key: str
) -> None:
    with gateway.client(key) as client:
        made = [created(client, "slow", seconds=8) for _ in range(4)]
    before = gateway.workers()
    gateway.kill_process(before[0])
    gateway.wait_for(lambda: not gateway.lives(before[0]))
    # Whoever comes meanwhile is served by the others.
    answers = asked_apart(gateway, key, 16)
    assert {answer.status_code for answer in answers} == {200}
    gateway.wait_for(lambda: len(set(gateway.workers()) - set(before)) == 1)
    told = [line for line in gateway.log().splitlines() if f"process {before[0]})" in line]
    assert len(told) == 1
    assert "SIGKILL" in told[0]
    until_all_answered(gateway, key, WORKERS)
    with gateway.client(key) as client:
        for prediction in made:
            assert gateway.finished(client, prediction).json()["status"] == "succeeded"
            assert read(client, prediction).headers["cache-status"].endswith("; hit")
