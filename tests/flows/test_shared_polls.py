"""However many ask for a running prediction, upstream is asked once per interval."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from gateway.simulator import Fault, FaultKind
from tests.support.creating import created, read
from tests.support.running import Running, running

NAME = "replicate-gateway"


@pytest.fixture
def gateway() -> Iterator[Running]:
    # The follower looks after 2 s again: what happens before is the readers' doing.
    with running() as gateway:
        yield gateway


def looks(gateway: Running) -> int:
    return len(gateway.sim.log.entries(operation="predictions.get"))


def advance(gateway: Running, seconds: float) -> None:
    gateway.clock.advance(seconds)  # type: ignore[attr-defined]


def test_a_crowd_costs_one_request_per_interval(gateway: Running) -> None:
    key = gateway.add_user("ann")
    with gateway.client(key) as client, ThreadPoolExecutor(20) as pool:
        made = created(client, "slow", seconds=60)
        for _ in range(5):
            advance(gateway, 0.55)
            before = looks(gateway)
            answers = list(pool.map(lambda _: read(client, made), range(40)))
            assert {answer.status_code for answer in answers} == {200}
            assert {answer.headers["cache-control"] for answer in answers} == {"no-store"}
            assert looks(gateway) - before <= 1
            told = {answer.headers["cache-status"] for answer in answers}
            assert told <= {
                f"{NAME}; fwd=miss",
                f"{NAME}; fwd=miss; collapsed",
                f"{NAME}; hit; ttl=0",
                f"{NAME}; hit; ttl=1",
            }


def test_a_young_snapshot_answers_at_once(gateway: Running) -> None:
    with gateway.client(gateway.add_user("ann")) as client:
        made = created(client, "slow", seconds=60)
        advance(gateway, 0.6)
        assert "; fwd=miss" in read(client, made).headers["cache-status"]
        before = looks(gateway)
        assert "; hit; ttl=" in read(client, made).headers["cache-status"]
        assert looks(gateway) == before


def test_no_cache_forces_a_look_that_those_who_ask_meanwhile_share(gateway: Running) -> None:
    with gateway.client(gateway.add_user("ann")) as client, ThreadPoolExecutor(20) as pool:
        made = created(client, "slow", seconds=60)
        advance(gateway, 0.6)
        read(client, made)
        before = looks(gateway)
        forced = read(client, made, cache_control="no-cache")
        assert "; fwd=miss" in forced.headers["cache-status"]
        assert looks(gateway) == before + 1
        asked = [pool.submit(read, client, made, cache_control="no-cache") for _ in range(40)]
        # One of those who ask at the same time may wait for another by the clock.
        gateway.settle(lambda: all(each.done() for each in asked), step_s=0.01)
        answers = [each.result() for each in asked]
        assert all("fwd=miss" in answer.headers["cache-status"] for answer in answers)
        assert looks(gateway) - before <= 30


def test_no_cache_is_not_content_with_a_look_that_was_under_way_already(gateway: Running) -> None:
    with gateway.client(gateway.add_user("ann")) as client, ThreadPoolExecutor(2) as pool:
        made = created(client, "slow", seconds=60)
        advance(gateway, 0.6)
        before = looks(gateway)
        gateway.sim.faults.add(Fault(FaultKind.SLOW, "predictions.get", seconds=1))
        first = pool.submit(read, client, made)
        gateway.eventually(lambda: looks(gateway) > before)
        advance(gateway, 0.5)
        forced = pool.submit(read, client, made, cache_control="no-cache")
        gateway.settle(lambda: first.done() and forced.done(), step_s=0.05)
        assert looks(gateway) == before + 2
        assert {one.result().headers["cache-status"] for one in (first, forced)} == {
            f"{NAME}; fwd=miss"
        }


@pytest.mark.parametrize(
    "kind",
    [FaultKind.SERVER_ERROR, FaultKind.BARE_ERROR, FaultKind.RESET_BEFORE, FaultKind.GARBAGE],
)
def test_when_upstream_fails_the_last_snapshot_is_served_and_says_so(
    gateway: Running, kind: FaultKind
) -> None:
    with gateway.client(gateway.add_user("ann")) as client:
        made = created(client, "slow", seconds=60)
        advance(gateway, 0.6)
        fresh = read(client, made)
        gateway.sim.faults.add(Fault(kind, "predictions.*", times=None))
        advance(gateway, 0.6)
        stale = read(client, made)
        assert stale.status_code == 200
        assert stale.json()["status"] == fresh.json()["status"]
        assert stale.headers["cache-status"] == f"{NAME}; fwd=stale; detail=upstream-failed"
        assert stale.headers["cache-control"] == "no-store"
        # Nor is it asked again at once because it failed.
        before = looks(gateway)
        for _ in range(5):
            assert "fwd=stale" in read(client, made).headers["cache-status"]
        assert looks(gateway) == before
        gateway.sim.faults.clear()
        advance(gateway, 0.6)
        assert "; fwd=miss" in read(client, made).headers["cache-status"]


def test_a_client_never_sees_time_run_backwards(gateway: Running) -> None:
    ranks = {"starting": 0, "processing": 1, "succeeded": 2}
    with gateway.client(gateway.add_user("ann")) as client, ThreadPoolExecutor(8) as pool:
        made = created(client, "slow", seconds=3, queue_seconds=1)

        def follow(_: int) -> list[int]:
            seen: list[int] = []
            while not seen or seen[-1] < 2:
                seen.append(ranks[read(client, made).json()["status"]])
                advance(gateway, 0.02)
            return seen

        for seen in pool.map(follow, range(8)):
            assert seen == sorted(seen)
