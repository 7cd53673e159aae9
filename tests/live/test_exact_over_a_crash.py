"""Seven left, fifty at once, and the power fails in the middle."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor

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
        with gateway.client(key) as client:
            assert [create(client, "echo", value=n).status_code for n in (1, 2)] == [201, 201]
        # From now on creates stay on their way, so that the kill falls among them.
        slow = {"kind": "slow", "match": "*.create", "times": None, "seconds": 60}
        gateway.steer("POST", "/faults", slow)

        def kill_when_some_are_on_their_way() -> int:
            found = gateway.wait_for(lambda: on_their_way(gateway) >= 2 and on_their_way(gateway))
            gateway.kill()
            return found

        with ThreadPoolExecutor(1) as pool:
            killing = pool.submit(kill_when_some_are_on_their_way)
            first = fifty(gateway, key)
            sent = killing.result()
        assert first[201] == 0
        assert first[0] >= sent
        gateway.steer("DELETE", "/faults")
        gateway.start()
        second = fifty(gateway, key)
        # What was sent when it was killed stays counted until its fate is known, so nothing may
        # come in its place before.
        assert second[201] <= 5 - sent
        assert second[201] + second[402] == 50
        assert made(gateway) == 2 + second[201]
        with gateway.client(key) as client:
            listed = client.get("/replicate/v1/predictions").json()["results"]
            assert len(listed) == made(gateway)
            for item in listed:
                assert read(client, item["id"]).status_code == 200


def on_their_way(gateway: Processes) -> int:
    """How many creates are upstream beyond the first two."""
    return len(gateway.received(operation="models.predictions.create")) - 2
