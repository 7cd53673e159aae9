"""How a gateway ends, by an order or by a power cut: no create is lost, with one worker or four."""

import signal
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from tests.support.creating import create, read
from tests.support.crowd import at_once, make_users
from tests.support.process import Processes, processes

TOML = """
[server]
workers = {workers}
shutdown_grace_s = {grace}
[upstream]
creates_per_minute = 6000
requests_per_minute = 30000
"""

pytestmark = pytest.mark.xdist_group("ending")


def fifty(gateway: Processes, key: str, seconds: float) -> list[httpx.Response | None]:
    """Begin fifty blocking creates, each on a connection of its own; None is no answer."""
    trust = gateway.verify()

    def one(_: int) -> httpx.Response | None:
        with gateway.client(key, verify=trust) as client:
            try:
                return create(client, "slow", {"Prefer": "wait=30"}, seconds=seconds)
            except httpx.TransportError:
                return None

    return at_once(50, one)


def on_their_way(gateway: Processes) -> bool:
    return len(gateway.steer("GET", "/predictions")) >= 50


def readable(gateway: Processes, key: str) -> list[str]:
    """The ids of all predictions that upstream has and that their owner can read."""
    with gateway.client(key) as client:
        return [
            made["id"]
            for made in gateway.steer("GET", "/predictions")
            if read(client, made["id"]).status_code == 200
        ]


@pytest.mark.parametrize("workers", [1, 4])
def test_sigterm_during_fifty_blocking_creates_lets_each_be_answered(workers: int) -> None:
    with processes(
        TOML.format(workers=workers, grace=30), creates_per_minute=6000, requests_per_minute=30000
    ) as gateway:
        [key] = make_users(gateway, ["ann"])
        with gateway.client(key) as kept, ThreadPoolExecutor(1) as pool:
            assert kept.get("/replicate/v1/predictions").status_code == 200
            running = pool.submit(fifty, gateway, key, 4.0)
            gateway.wait_for(lambda: on_their_way(gateway))
            gateway.signal(signal.SIGTERM)
            gateway.wait_for(lambda: "stopping: " in gateway.log())
            time.sleep(0.2)
            # A connection that is kept is told; a new one is not accepted.
            refused = kept.get("/replicate/v1/predictions")
            assert refused.status_code == 503
            assert refused.headers["connection"] == "close"
            assert int(refused.headers["retry-after"]) >= 1
            with pytest.raises(httpx.ConnectError):
                httpx.get(f"{gateway.url}/healthz", trust_env=False)
            answers = running.result()
        assert Counter(a and a.status_code for a in answers) == {201: 50}
        assert gateway.exit_status() == 0
        gateway.start()
        assert sorted(readable(gateway, key)) == sorted(a.json()["id"] for a in answers if a)


def test_creates_that_outlast_the_grace_are_answered_and_readable_after_the_restart() -> None:
    with processes(
        TOML.format(workers=4, grace=1), creates_per_minute=6000, requests_per_minute=30000
    ) as gateway:
        [key] = make_users(gateway, ["ann"])
        with ThreadPoolExecutor(1) as pool:
            running = pool.submit(fifty, gateway, key, 25.0)
            gateway.wait_for(lambda: on_their_way(gateway))
            told = time.monotonic()
            gateway.signal(signal.SIGTERM)
            answers = running.result()
            assert gateway.exit_status() == 0
            assert time.monotonic() - told < 10
        assert None not in answers
        assert {a.status_code for a in answers if a} <= {502, 503}
        gateway.start()
        gateway.wait_for(lambda: len(readable(gateway, key)) == 50)
        assert len(gateway.steer("GET", "/predictions")) == 50


def test_a_power_cut_for_all_of_four_loses_no_create() -> None:
    with processes(
        TOML.format(workers=4, grace=30), creates_per_minute=6000, requests_per_minute=30000
    ) as gateway:
        [key] = make_users(gateway, ["ann"])
        with ThreadPoolExecutor(1) as pool:
            running = pool.submit(fifty, gateway, key, 6.0)
            gateway.wait_for(lambda: on_their_way(gateway))
            gateway.kill_all()
            assert running.result() == [None] * 50
        gateway.start()
        gateway.wait_for(lambda: len(readable(gateway, key)) == 50, patience_s=60)
        assert len(gateway.steer("GET", "/predictions")) == 50


def test_workers_whose_parent_was_killed_end_by_themselves() -> None:
    with processes(TOML.format(workers=2, grace=5)) as gateway:
        [key] = make_users(gateway, ["ann"])
        workers = gateway.workers()
        gateway.kill()
        gateway.wait_for(lambda: not any(gateway.lives(pid) for pid in workers))
        gateway.start()
        with gateway.client(key) as client:
            assert create(client, "echo", value=1).status_code == 201


def test_a_gateway_whose_workers_cannot_start_says_so_once_and_ends() -> None:
    with processes(TOML.format(workers=3, grace=5)) as gateway:
        gateway.stop()
        (gateway.data_dir / "mirror").rename(gateway.data_dir / "moved")
        (gateway.data_dir / "mirror").write_text("in the way")
        with pytest.raises(AssertionError, match="could not start; the reason stands above"):
            gateway.start()
        assert gateway.exit_status() == 1
