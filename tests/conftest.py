"""Fixtures for every test. What only one room needs is in that room's own conftest.py."""

import hypothesis
import pytest

from tests.support.tools import PROGRAMS, must_be_there, program

# A busy machine is no finding: no deadlines. In CI the same examples every time, so that a change
# that did nothing wrong does not fail; elsewhere fresh ones, to find what nobody thought of.
hypothesis.settings.register_profile("anywhere", deadline=None)
hypothesis.settings.register_profile("ci", deadline=None, derandomize=True)
hypothesis.settings.load_profile("ci" if must_be_there() else "anywhere")


@pytest.fixture(scope="session")
def anyio_backend() -> tuple[str, dict[str, bool]]:
    """Coroutine tests run on the standard asyncio loop, whose errors are the most readable."""
    return "asyncio", {"use_uvloop": False}


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip, or in CI fail, a test whose marker names a program that is not installed."""
    for marker, names in PROGRAMS.items():
        if item.get_closest_marker(marker) is None or program(marker) is not None:
            continue
        reason = f"{names[0]} is not installed, which this test needs"
        if must_be_there():
            pytest.fail(f"{reason}; in CI that is a failure", pytrace=False)
        pytest.skip(reason)
