"""Creates that are repeated: one prediction, whoever repeats it and whenever; two stay two."""

import json
import socket
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from urllib.parse import urlsplit

import httpx
import pytest

from gateway.simulator import Fault, FaultKind, SimulatorConfig
from tests.support.clock import ManualClock
from tests.support.running import Running, running

PATH = "/replicate/v1/models/simulated/echo/predictions"
RETRY = {"x-stainless-retry-count": "1"}
BODY = {"input": {"value": 7}}


@pytest.fixture
def gateway() -> Iterator[Running]:
    with running() as gateway:
        yield gateway


@pytest.fixture
def key(gateway: Running) -> str:
    return gateway.add_user("ann")


@pytest.fixture
def client(gateway: Running, key: str) -> Iterator[httpx.Client]:
    with gateway.client(key) as client:
        yield client


def create(client: httpx.Client, body: object = BODY, **headers: str) -> httpx.Response:
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    return client.post(PATH, json=body, headers=sent)


def made(gateway: Running) -> int:
    """How many creates upstream has been sent."""
    return len(gateway.sim.log.entries(operation="models.predictions.create"))


def advance(gateway: Running, seconds: float) -> None:
    assert isinstance(gateway.clock, ManualClock)
    gateway.clock.advance(seconds)


class Hasty:
    """A client that sends a create and leaves before the answer."""

    def __init__(self, gateway: Running, key: str, body: object = BODY, *extra: str) -> None:
        sent = json.dumps(body, separators=(",", ":")).encode()
        self.arrived = made(gateway)
        self.gateway = gateway
        parts = urlsplit(gateway.url)
        assert parts.hostname is not None
        self.socket = socket.create_connection((parts.hostname, parts.port or 80), 10)
        lines = [
            f"POST {PATH} HTTP/1.1",
            f"Host: {parts.netloc}",
            f"Authorization: Bearer {key}",
            "Content-Type: application/json",
            f"Content-Length: {len(sent)}",
            *extra,
        ]
        self.socket.sendall("\r\n".join(lines).encode() + b"\r\n\r\n" + sent)

    def leave_once_sent(self) -> None:
        """Hang up as soon as the create is upstream."""
        self.gateway.settle(lambda: made(self.gateway) > self.arrived, step_s=0.01)
        self.socket.close()
        # The gateway hears of it over a socket.
        time.sleep(0.2)


def slow(gateway: Running, seconds: float) -> None:
    gateway.sim.faults.add(Fault(FaultKind.SLOW, "*.create", seconds=seconds))


def lost(gateway: Running, key: str, body: object = BODY) -> str:
    """Create a prediction whose answer does not reach its client; returns its id."""
    slow(gateway, 5)
    before = set(gateway.sim.prediction_ids())
    Hasty(gateway, key, body).leave_once_sent()
    advance(gateway, 6)
    (prediction_id,) = gateway.settle(
        lambda: set(gateway.sim.prediction_ids()) - before, step_s=0.1
    )
    recorded = "SELECT state FROM creates WHERE prediction_id = ?"
    gateway.settle(
        lambda: gateway.ledger(
            lambda conn: conn.exec_driver_sql(recorded, (prediction_id,)).scalar()
        ),
        step_s=0.1,
    )
    return prediction_id


def later(pool: ThreadPoolExecutor, client: httpx.Client, **headers: str) -> Future[httpx.Response]:
    return pool.submit(lambda: create(client, **headers))


# Idempotency-Key


def test_the_same_key_gets_the_same_prediction_with_the_same_status(
    gateway: Running, client: httpx.Client
) -> None:
    first = create(client, idempotency_key="k1")
    again = create(client, idempotency_key="k1")
    assert (first.status_code, again.status_code) == (201, 201)
    assert again.json()["id"] == first.json()["id"]
    assert again.json()["urls"] == first.json()["urls"]
    assert made(gateway) == 1
    gateway.finished(client, first.json()["id"])
    ended = create(client, idempotency_key="k1")
    assert (ended.status_code, ended.json()["status"]) == (201, "succeeded")
    assert made(gateway) == 1


def test_a_key_never_goes_upstream(gateway: Running, client: httpx.Client) -> None:
    create(client, idempotency_key="k1")
    (entry,) = gateway.sim.log.entries(operation="models.predictions.create")
    assert "idempotency-key" not in {name.lower() for name, _ in entry.headers}


def test_the_same_key_with_another_body_or_target_is_409(
    gateway: Running, client: httpx.Client
) -> None:
    create(client, idempotency_key="k1")
    other = create(client, {"input": {"value": 8}}, idempotency_key="k1")
    elsewhere = client.post(
        "/replicate/v1/models/simulated/slow/predictions",
        json=BODY,
        headers={"idempotency-key": "k1"},
    )
    assert (other.status_code, elsewhere.status_code) == (409, 409)
    assert other.headers["x-should-retry"] == "false"
    assert made(gateway) == 1


def test_keys_are_each_users_own_and_shared_by_a_users_keys(
    gateway: Running, client: httpx.Client
) -> None:
    first = create(client, idempotency_key="k1").json()["id"]
    with gateway.client(gateway.add_user("bea")) as bea:
        assert create(bea, idempotency_key="k1").json()["id"] != first
    assert made(gateway) == 2


def test_a_key_means_the_same_for_24_hours(gateway: Running, client: httpx.Client) -> None:
    first = create(client, idempotency_key="k1").json()["id"]
    gateway.finished(client, first)
    advance(gateway, 86_000)
    gateway.refresh_keys()
    assert create(client, idempotency_key="k1").json()["id"] == first
    advance(gateway, 500)
    gateway.refresh_keys()
    assert create(client, idempotency_key="k1").json()["id"] != first


def test_a_refused_create_gives_its_key_back(gateway: Running, client: httpx.Client) -> None:
    gateway.sim.faults.add(Fault(FaultKind.NO_CREDIT, "*.create"))
    assert create(client, idempotency_key="k1").status_code == 402
    assert create(client, idempotency_key="k1").status_code == 201


def test_a_key_in_use_waits_for_the_first_and_many_get_one_prediction(
    gateway: Running, client: httpx.Client
) -> None:
    slow(gateway, 5)
    with ThreadPoolExecutor(6) as pool:
        answers = [later(pool, client, idempotency_key="k1") for _ in range(6)]
        gateway.settle(lambda: all(answer.done() for answer in answers), step_s=0.1)
    found = [answer.result() for answer in answers]
    assert {answer.status_code for answer in found} == {201}
    assert len({answer.json()["id"] for answer in found}) == 1
    assert made(gateway) == 1


def test_a_key_in_doubt_waits_as_long_as_a_request_may_and_then_gets_503(
    gateway: Running, client: httpx.Client
) -> None:
    gateway.sim.configure(listed_after_s=100)
    gateway.sim.faults.add(Fault(FaultKind.RESET_AFTER, "*.create"))
    assert create(client, idempotency_key="k1").status_code == 502
    with ThreadPoolExecutor(1) as pool:
        started = gateway.clock.now()
        answer = later(pool, client, idempotency_key="k1")
        gateway.settle(answer.done, step_s=0.1)
        assert 14 <= gateway.clock.now() - started <= 17
    assert answer.result().status_code == 503
    assert int(answer.result().headers["retry-after"]) >= 1
    advance(gateway, 100)

    def same() -> bool:
        again = pool_of_one(gateway, client, idempotency_key="k1")
        return again.status_code == 201

    gateway.settle(same, step_s=1)
    assert made(gateway) == 1


def pool_of_one(gateway: Running, client: httpx.Client, **headers: str) -> httpx.Response:
    """Create while the clock runs."""
    with ThreadPoolExecutor(1) as pool:
        answer = later(pool, client, **headers)
        gateway.settle(answer.done, step_s=0.1)
    return answer.result()


def test_a_key_outlives_a_restart(gateway: Running, client: httpx.Client) -> None:
    first = create(client, idempotency_key="k1").json()["id"]
    gateway.restart()
    assert create(client, idempotency_key="k1").json()["id"] == first
    assert made(gateway) == 1


# The clients' own retries


def test_a_retry_joins_an_attempt_whose_answer_was_lost(
    gateway: Running, client: httpx.Client, key: str
) -> None:
    prediction_id = lost(gateway, key)
    retried = create(client, x_stainless_retry_count="1")
    assert (retried.status_code, retried.json()["id"]) == (201, prediction_id)
    assert made(gateway) == 1


def test_an_attempt_is_joined_once(gateway: Running, client: httpx.Client, key: str) -> None:
    prediction_id = lost(gateway, key)
    first = create(client, x_stainless_retry_count="1").json()["id"]
    second = create(client, x_stainless_retry_count="1").json()["id"]
    assert first == prediction_id
    assert second != prediction_id
    assert made(gateway) == 2


def test_two_lost_attempts_are_joined_one_by_one(
    gateway: Running, client: httpx.Client, key: str
) -> None:
    attempts = {lost(gateway, key), lost(gateway, key)}
    retried = {create(client, x_stainless_retry_count="1").json()["id"] for _ in range(2)}
    assert retried == attempts
    assert made(gateway) == 2


def test_a_delivered_attempt_is_not_joined(gateway: Running, client: httpx.Client) -> None:
    first = create(client).json()["id"]
    assert create(client, x_stainless_retry_count="1").json()["id"] != first
    assert made(gateway) == 2


def test_two_deliberate_creates_stay_two(gateway: Running, client: httpx.Client, key: str) -> None:
    prediction_id = lost(gateway, key)
    one, two = create(client).json()["id"], create(client, x_stainless_retry_count="0").json()["id"]
    assert len({prediction_id, one, two}) == 3
    assert made(gateway) == 3


def test_a_retry_joins_no_other_body_key_or_older_attempt(
    gateway: Running, client: httpx.Client, key: str
) -> None:
    prediction_id = lost(gateway, key)
    other = create(client, {"input": {"value": 8}}, x_stainless_retry_count="1").json()["id"]
    with gateway.client(gateway.add_user("bea")) as bea:
        foreign = create(bea, x_stainless_retry_count="1").json()["id"]
    advance(gateway, 601)
    gateway.refresh_keys()
    late = create(client, x_stainless_retry_count="1").json()["id"]
    assert prediction_id not in (other, foreign, late)


def test_a_retry_waits_for_an_attempt_that_is_still_under_way(
    gateway: Running, client: httpx.Client, key: str
) -> None:
    slow(gateway, 5)
    Hasty(gateway, key).leave_once_sent()
    retried = pool_of_one(gateway, client, x_stainless_retry_count="1")
    assert retried.status_code == 201
    assert gateway.sim.prediction_ids() == [retried.json()["id"]]
    assert made(gateway) == 1


def test_a_retry_of_a_doubtful_attempt_gets_503_and_later_its_prediction(
    gateway: Running, client: httpx.Client
) -> None:
    gateway.sim.configure(listed_after_s=60)
    gateway.sim.faults.add(Fault(FaultKind.RESET_AFTER, "*.create"))
    assert create(client).status_code == 502
    waited = pool_of_one(gateway, client, x_stainless_retry_count="1")
    assert waited.status_code == 503
    assert made(gateway) == 1
    advance(gateway, 60)
    answers: list[httpx.Response] = []

    def joined() -> bool:
        answers.append(pool_of_one(gateway, client, x_stainless_retry_count="2"))
        return answers[-1].status_code == 201

    gateway.settle(joined, step_s=1)
    assert [answers[-1].json()["id"]] == gateway.sim.prediction_ids()
    assert made(gateway) == 1


def test_a_retry_whose_own_answer_was_lost_leaves_the_attempt_to_the_next(
    gateway: Running, client: httpx.Client, key: str
) -> None:
    slow(gateway, 8)
    Hasty(gateway, key).leave_once_sent()
    impatient = Hasty(gateway, key, BODY, "x-stainless-retry-count: 1")
    time.sleep(0.2)
    impatient.socket.close()
    time.sleep(0.2)
    retried = pool_of_one(gateway, client, x_stainless_retry_count="2")
    assert [retried.json()["id"]] == gateway.sim.prediction_ids()
    assert made(gateway) == 1


def test_a_retry_joins_across_a_restart(gateway: Running, client: httpx.Client, key: str) -> None:
    prediction_id = lost(gateway, key)
    gateway.restart()
    advance(gateway, 2)
    gateway.refresh_keys()
    assert create(client, x_stainless_retry_count="1").json()["id"] == prediction_id
    assert made(gateway) == 1


def test_a_retry_after_a_refusal_is_a_create_of_its_own(
    gateway: Running, client: httpx.Client
) -> None:
    gateway.sim.faults.add(Fault(FaultKind.SERVER_ERROR, "*.create"))
    assert create(client).status_code == 500
    assert create(client, x_stainless_retry_count="1").status_code == 201
    assert made(gateway) == 2


def test_a_lost_blocking_create_is_joined_with_its_output(gateway: Running, key: str) -> None:
    gateway.sim.configure(speed=SimulatorConfig().speed)
    slow(gateway, 3)
    Hasty(gateway, key, BODY, "Prefer: wait=5").leave_once_sent()
    with gateway.client(key) as client:
        retried = pool_of_one(gateway, client, x_stainless_retry_count="1", prefer="wait=5")
    assert retried.json()["output"] == 7
    assert made(gateway) == 1
