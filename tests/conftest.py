"""Fixtures for every test. What only one room needs is in that room's own conftest.py."""

import pytest


@pytest.fixture(scope="session")
def anyio_backend() -> tuple[str, dict[str, bool]]:
    """Coroutine tests run on the standard asyncio loop, whose errors are the most readable."""
    return "asyncio", {"use_uvloop": False}
