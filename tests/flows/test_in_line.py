"""Creates that wait for the account's allowance: in turn, with what is left of their patience."""

import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from sqlalchemy import func, select

from gateway.ledger.tables import counters, creates, predictions
from gateway.simulator.config import SimulatorConfig
from gateway.simulator.faults import Fault, FaultKind
from tests.support.clock import ManualClock
from tests.support.creating import create, predictions_of
from tests.support.running import Running, running

TOML = """
[upstream]
creates_per_minute = 6
max_queue_s = 30
[plans.default]
quotas = [{ metric = "predictions", limit = 1000, per = "day" }]
"""


@pytest.fixture
def gateway() -> Iterator[Running]:
    with running(TOML, sim=SimulatorConfig(enforce_rate_limits=False)) as gateway:
        yield gateway


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(20) as pool:
        yield pool


def use_up(gateway: Running, client: httpx.Client, pool: ThreadPoolExecutor) -> None:
    """Create until the next one has to wait."""
    for _ in range(40):
        asked = pool.submit(create, client, "echo", value=0)
        until = time.monotonic() + 1
        while not asked.done() and time.monotonic() < until:
            time.sleep(0.005)
        if not asked.done():
            gateway.settle(asked.done, step_s=0.5)
            return
        assert asked.result().status_code == 201


def sent(gateway: Running) -> int:
    return gateway.sim.log.count(operation="models.predictions.create")


def waiting(gateway: Running) -> float:
    page = httpx.get(f"{gateway.url}/metrics", trust_env=False).text
    return sum(
        float(line.split()[-1])
        for line in page.splitlines()
        if line.startswith("replicate_gateway_create_queue_depth")
    )


def reserved(gateway: Running) -> tuple[int, int]:
    """What the counter holds as reserved, and how many creates are open."""
    held = select(func.coalesce(func.sum(counters.c.reserved), 0)).where(
        counters.c.metric == "predictions"
    )
    still_open = (
        select(func.count()).select_from(creates).where(creates.c.state.in_(["reserved", "doubt"]))
    )
    return gateway.ledger(
        lambda conn: (
            int(conn.execute(held).scalar_one()),
            int(conn.execute(still_open).scalar_one()),
        )
    )


def test_the_wait_for_upstream_is_what_the_line_has_left_of_it(
    gateway: Running, pool: ThreadPoolExecutor
) -> None:
    clock = gateway.clock
    assert isinstance(clock, ManualClock)
    with gateway.client(gateway.add_user("ann")) as client:
        use_up(gateway, client, pool)
        began, before = clock.now(), sent(gateway)
        asked = pool.submit(create, client, "echo", {"Prefer": "wait=60"}, value=1)
        gateway.settle(asked.done, step_s=0.5)
        assert sent(gateway) == before + 1
        entry = gateway.sim.log.entries(operation="models.predictions.create")[-1]
        spent = entry.at - began
        assert spent >= 5
        passed = entry.header("prefer")
        assert passed is not None
        assert abs(int(passed.removeprefix("wait=")) - (60 - spent)) <= 1.5


def test_a_wait_that_the_line_has_eaten_is_dropped(
    gateway: Running, pool: ThreadPoolExecutor
) -> None:
    with gateway.client(gateway.add_user("ann")) as client:
        use_up(gateway, client, pool)
        asked = pool.submit(create, client, "slow", {"Prefer": "wait=2"}, seconds=1000)
        gateway.eventually(lambda: waiting(gateway) == 1)
        gateway.settle(asked.done, step_s=0.5)
        assert asked.result().status_code == 201
        entry = gateway.sim.log.entries(operation="models.predictions.create")[-1]
        assert entry.header("prefer") is None


def test_who_waits_too_long_is_told_honestly_when_to_come_again(
    gateway: Running, pool: ThreadPoolExecutor
) -> None:
    with gateway.client(gateway.add_user("ann")) as client:
        use_up(gateway, client, pool)
        asked = [pool.submit(create, client, "echo", value=n) for n in range(8)]
        gateway.settle(lambda: all(one.done() for one in asked), step_s=0.5)
        answers = [one.result() for one in asked]
        refused = [answer for answer in answers if answer.status_code == 429]
        assert refused
        assert len(refused) < len(answers)
        for answer in refused:
            assert int(answer.headers["retry-after"]) >= 1
            assert answer.headers["ratelimit-limit"] == "6"
        assert sent(gateway) == len(gateway.sim.prediction_ids())
        assert reserved(gateway)[1] == 0


def hang_up_during(gateway: Running, key: str, meanwhile: Callable[[], bool]) -> None:
    """Send a create, wait until `meanwhile` has come true, and hang up."""
    port = int(gateway.url.rpartition(":")[2])
    body = b'{"input":{"value":"gone"}}'
    with socket.create_connection(("127.0.0.1", port)) as line:
        line.sendall(
            f"POST {predictions_of('simulated/echo')} HTTP/1.1\r\nHost: a\r\n"
            f"Authorization: Bearer {key}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n".encode()
            + body
        )
        gateway.eventually(meanwhile)


def test_a_client_that_hangs_up_in_line_leaves_it_and_nothing_stays_reserved(
    gateway: Running, pool: ThreadPoolExecutor
) -> None:
    key = gateway.add_user("ann")
    with gateway.client(key) as client:
        use_up(gateway, client, pool)
        before, held = sent(gateway), reserved(gateway)
        for _ in range(3):
            hang_up_during(gateway, key, lambda: waiting(gateway) == 1)
            gateway.eventually(lambda: waiting(gateway) == 0)
        gateway.eventually(lambda: reserved(gateway) <= held)
        for _ in range(40):
            gateway.advance(1)
        gateway.refresh_keys()
        assert sent(gateway) == before


def test_clients_that_hang_up_at_any_moment_leave_nothing_half_done(
    pool: ThreadPoolExecutor,
) -> None:
    toml = TOML.replace("creates_per_minute = 6\n", "creates_per_minute = 60\n")
    with running(toml, sim=SimulatorConfig(enforce_rate_limits=False)) as gateway:
        key = gateway.add_user("ann")

        def impatient(number: int) -> None:
            def moment() -> bool:
                time.sleep(number % 20 / 1000)
                return True

            hang_up_during(gateway, key, moment)

        list(pool.map(impatient, range(100)))
        gateway.eventually(lambda: waiting(gateway) == 0)
        gateway.eventually(lambda: reserved(gateway)[1] == 0)
        made = gateway.sim.prediction_ids()
        rows = gateway.ledger(lambda conn: conn.execute(select(predictions.c.id)).scalars().all())
        assert sorted(rows) == sorted(made)
        taken = select(func.sum(counters.c.reserved + counters.c.used)).where(
            counters.c.metric == "predictions"
        )
        held = gateway.ledger(lambda conn: conn.execute(taken).scalar_one())
        assert (held or 0) == len(made)


def test_a_client_that_hangs_up_later_has_its_prediction_all_the_same(gateway: Running) -> None:
    key = gateway.add_user("ann")
    gateway.sim.faults.add(Fault(FaultKind.SLOW, "models.predictions.create", seconds=5))
    hang_up_during(gateway, key, lambda: sent(gateway) == 1)
    rows = select(func.count()).select_from(predictions)
    gateway.settle(lambda: gateway.ledger(lambda conn: conn.execute(rows).scalar_one()) == 1)
    (made,) = gateway.sim.prediction_ids()
    with gateway.client(key) as client:
        assert gateway.finished(client, made).json()["output"] == "gone"
        listed = client.get("/replicate/v1/predictions").json()["results"]
        assert [item["id"] for item in listed] == [made]


def test_one_users_burst_does_not_starve_another(
    gateway: Running, pool: ThreadPoolExecutor
) -> None:
    with (
        gateway.client(gateway.add_user("ann")) as many,
        gateway.client(gateway.add_user("bea")) as one,
    ):
        use_up(gateway, many, pool)
        burst = [pool.submit(create, many, "echo", value=n) for n in range(8)]
        gateway.eventually(lambda: waiting(gateway) == 8)
        single = pool.submit(create, one, "echo", value="single")
        gateway.eventually(lambda: waiting(gateway) == 9)
        gateway.settle(single.done, step_s=0.5)
        assert single.result().status_code == 201
        assert sum(asked.done() for asked in burst) <= 2
        gateway.settle(lambda: all(asked.done() for asked in burst), step_s=0.5)


def test_a_429_of_upstreams_sends_the_create_back_into_line_and_not_to_the_user(
    gateway: Running, pool: ThreadPoolExecutor
) -> None:
    gateway.sim.faults.add(Fault(FaultKind.THROTTLE, "models.predictions.create", retry_after=3))
    with gateway.client(gateway.add_user("ann")) as client:
        asked = pool.submit(create, client, "echo", value=1)
        gateway.settle(asked.done, step_s=0.5)
        assert asked.result().status_code == 201
        assert (sent(gateway), len(gateway.sim.prediction_ids())) == (2, 1)
