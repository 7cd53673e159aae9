"""One gateway process for all the official clients' tests, with a quick simulated Replicate."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.support.process import Processes, processes

TOML = """
[upstream]
poll_interval_ms = 100
creates_per_minute = 6000
"""


@pytest.fixture(scope="session")
def gateway() -> Iterator[Processes]:
    """Both processes; the tests of a group share them."""
    with processes(TOML, speed=4, creates_per_minute=6000) as both:
        yield both


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
