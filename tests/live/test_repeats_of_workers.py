"""Repeated creates with four workers: whichever of them is asked, one prediction."""

import socket
from collections.abc import Iterator
from urllib.parse import urlsplit

import httpx
import pytest

from tests.support.crowd import at_once, make_users
from tests.support.process import Processes, processes

PATH = "/replicate/v1/models/simulated/echo/predictions"
OPERATION = "models.predictions.create"
TOML = """
[server]
workers = 4
"""

pytestmark = pytest.mark.xdist_group("repeats of workers")


@pytest.fixture(scope="module")
def gateway() -> Iterator[Processes]:
    with processes(TOML, speed=4) as both:
        yield both


@pytest.fixture(scope="module")
def key(gateway: Processes) -> str:
    return make_users(gateway, ["ann"])[0]


def create(gateway: Processes, key: str, value: str, **headers: str) -> httpx.Response:
    """Create over a connection of its own: the kernel chooses the worker."""
    sent = {name.replace("_", "-"): text for name, text in headers.items()}
    with gateway.client(key) as client:
        return client.post(PATH, json={"input": {"value": value}}, headers=sent)


def made(gateway: Processes, value: str) -> list[str]:
    """What upstream has made of this input."""
    return [
        entry["id"]
        for entry in gateway.steer("GET", "/predictions")
        if entry["input"] == {"value": value}
    ]


def lose(gateway: Processes, key: str, value: str) -> str:
    """Send a create and leave before its answer; returns its prediction."""
    fault = {"kind": "slow", "match": "*.create", "seconds": 1.0, "contains": value}
    gateway.steer("POST", "/faults", fault)
    before = len(gateway.received(operation=OPERATION))
    body = f'{{"input":{{"value":"{value}"}}}}'.encode()
    parts = urlsplit(gateway.url)
    assert parts.hostname is not None
    with socket.create_connection((parts.hostname, parts.port or 80), 10) as raw:
        raw.sendall(
            f"POST {PATH} HTTP/1.1\r\nHost: {parts.netloc}\r\nAuthorization: Bearer {key}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode()
            + body
        )
        gateway.wait_for(lambda: len(gateway.received(operation=OPERATION)) > before)
    return gateway.wait_for(lambda: made(gateway, value))[0]


def test_one_key_used_at_once_with_four_workers_makes_one_prediction(
    gateway: Processes, key: str
) -> None:
    answers = at_once(12, lambda _: create(gateway, key, "keyed", idempotency_key="k"))
    assert {answer.status_code for answer in answers} == {201}
    assert {answer.json()["id"] for answer in answers} == set(made(gateway, "keyed"))
    assert len(made(gateway, "keyed")) == 1


def test_of_many_retries_one_joins_the_lost_attempt_whichever_worker_it_asks(
    gateway: Processes, key: str
) -> None:
    lost = lose(gateway, key, "lost")
    answers = at_once(4, lambda _: create(gateway, key, "lost", x_stainless_retry_count="1"))
    ids = [answer.json()["id"] for answer in answers]
    assert ids.count(lost) == 1
    assert len(set(ids)) == 4
    assert set(ids) == set(made(gateway, "lost"))


def test_a_delivered_create_is_joined_by_no_worker(gateway: Processes, key: str) -> None:
    first = create(gateway, key, "delivered").json()["id"]
    for count in "1", "2", "3":
        assert create(gateway, key, "delivered", x_stainless_retry_count=count).json()["id"] != (
            first
        )
    assert len(made(gateway, "delivered")) == 4
