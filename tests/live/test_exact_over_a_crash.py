"""Seven left, fifty at once, and the power fails in the middle."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import httpx

from tests.support.creating import create, read
from tests.support.process import Processes, processes

TOML = """
[plans.default]
quotas = [{ metric = "predictions", limit = 7, per = "month" }]
"""


def fifty(gateway: Processes, key: str) -> Counter[int]:
    """Create fifty at once; 0 counts those that got no answer."""

    def one(number: int) -> int:
        try:
            return create(client, "echo", value=number).status_code
        except httpx.TransportError:
            return 0

    with gateway.client(key) as client, ThreadPoolExecutor(50) as pool:
        return Counter(pool.map(one, range(50)))


def made(gateway: Processes) -> int:
    return len(gateway.steer("GET", "/predictions"))


def test_fifty_at_once_with_seven_left_are_seven_and_stay_seven() -> None:
    with processes(TOML) as gateway:
        key = gateway.add_user("ann")
        assert fifty(gateway, key) == {201: 7, 402: 43}
        gateway.kill()
        gateway.start()
        assert fifty(gateway, key) == {402: 50}
        assert made(gateway) == 7


def test_killed_in_the_middle_of_fifty_it_is_never_more_than_seven() -> None:
    with processes(TOML) as gateway:
        key = gateway.add_user("ann")
        # Creates stay on their way for a while, so that the kill falls among them.
        slow = {"kind": "slow", "match": "*.create", "times": None, "seconds": 0.4, "skip": 3}
        gateway.steer("POST", "/faults", slow)
        done = Event()

        def kill_when_some_are_through() -> None:
            gateway.wait_for(
                lambda: len(gateway.received(operation="models.predictions.create")) > 4
            )
            gateway.kill()
            done.set()

        with ThreadPoolExecutor(1) as pool:
            killing = pool.submit(kill_when_some_are_through)
            first = fifty(gateway, key)
            killing.result()
        assert done.is_set()
        assert 1 <= first[201] < 7
        assert first[0] >= 7 - first[201]
        gateway.steer("DELETE", "/faults")
        gateway.start()
        second = fifty(gateway, key)
        # What was on its way when it was killed stays counted until its fate is known, so none of
        # these may come on top of it.
        assert first[201] + second[201] <= 7
        assert made(gateway) <= 7
        assert second[201] + second[402] + second[429] == 50
        with gateway.client(key) as client:
            listed = client.get("/replicate/v1/predictions").json()["results"]
            assert len(listed) >= first[201]
            for item in listed:
                assert read(client, item["id"]).status_code == 200
