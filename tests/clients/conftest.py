"""One gateway process for all the clients' tests, and a network in which there is nothing else.

The simulated Replicate behind it is quick. Clients run in the closed network, where that can be
made: see `closed`, `run` and tests/support/closed_network.py.
"""

import os
import subprocess
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support.closed_network import (
    ClosedNetwork,
    closed_network_or_none,
    not_closed,
    why_not,
)
from tests.support.process import Processes, processes
from tests.support.receiving import Receiver, receiver
from tests.support.tools import must_be_there

TOML = """
[upstream]
poll_interval_ms = 100
creates_per_minute = 6000
[webhooks]
allow_private_addresses = true
[plans.default]
trainings = true
"""

Run = Callable[..., str]


@pytest.fixture(scope="session")
def gateway() -> Iterator[Processes]:
    """Both processes; the tests of a group share them."""
    # Every address: the closed network's end is made only when the port is known.
    with processes(TOML, host="0.0.0.0", speed=4, creates_per_minute=6000) as both:
        yield both


@pytest.fixture(scope="session")
def network(gateway: Processes) -> Iterator[ClosedNetwork | None]:
    """The closed network; None where none can be made, which every test that wants it then says."""
    with closed_network_or_none(gateway.port) as made:
        yield made


def leaks_not_looked_for() -> None:
    """Say at the end of a test, which may have passed, that nobody saw what its client reached."""
    pytest.skip(not_closed(why_not() or "nobody asked for it"))


@pytest.fixture(scope="session")
def base(gateway: Processes, network: ClosedNetwork | None) -> str:
    """What clients are given in the place of https://api.replicate.com."""
    if network is None:
        return gateway.base
    return f"http://{network.gateway}:{gateway.port}/replicate"


@pytest.fixture
def closed(base: str, network: ClosedNetwork | None) -> Iterator[None]:
    """Let a test run in the closed network, and fail if it tried to reach anything else."""
    if network is None:
        yield
        leaks_not_looked_for()
        return
    network.attempts()
    with network.entered():
        yield
    assert network.attempts() == [], "the client tried to reach more than the gateway"


@pytest.fixture
def run(network: ClosedNetwork | None) -> Iterator[Run]:
    """Runs a client's process in the closed network; returns what it prints.

    Fails if that process tried to reach anything but the gateway.
    """
    yield running_in(network)
    if network is None:
        leaks_not_looked_for()


def running_in(network: ClosedNetwork | None) -> Run:
    """Return what runs processes in this network, and fails if they try to get out of it."""

    def run_closed(
        *command: str,
        cwd: Path,
        env: Mapping[str, str],
        given: str | Path = "",
        timeout_s: float = 90,
    ) -> str:
        if network is not None:
            network.attempts()
        content = given.read_bytes() if isinstance(given, Path) else given.encode()
        done = subprocess.run(
            network.inside(*command) if network is not None else command,
            cwd=cwd,
            env={"PATH": os.environ["PATH"], **env},
            input=content,
            capture_output=True,
            timeout=timeout_s,
            check=False,
        )
        assert done.returncode == 0, done.stderr.decode()
        if network is not None:
            assert network.attempts() == [], "the client tried to reach more than the gateway"
        return done.stdout.decode()

    return run_closed


def installed(folder: Path, program: str) -> Path:
    """Return a client's program, which `make test` installs; skip, in CI fail, without it."""
    found = folder / program
    if not found.exists():
        reason = f"{folder.name} is not installed: run .ci/tools"
        if must_be_there():
            pytest.fail(reason)
        pytest.skip(reason)
    return found


@pytest.fixture(scope="module")
def hook() -> Iterator[Receiver]:
    """Somebody's webhook, outside the closed network, where the gateway reaches it."""
    with receiver() as found:
        yield found


@pytest.fixture(scope="session")
def key(gateway: Processes) -> str:
    """The key of a user that all tests share."""
    return gateway.add_user("ann")


@pytest.fixture(scope="session")
def prolific(gateway: Processes) -> tuple[str, set[str]]:
    """The key of a user with more predictions than one page holds, and their ids."""
    key = gateway.add_user("bea")
    path = "/replicate/v1/models/simulated/echo/predictions"
    with gateway.client(key) as client, ThreadPoolExecutor(8) as pool:
        answers = list(
            pool.map(lambda n: client.post(path, json={"input": {"value": n}}), range(105))
        )
    assert {answer.status_code for answer in answers} == {201}
    return key, {answer.json()["id"] for answer in answers}
