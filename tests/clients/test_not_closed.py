"""Where no closed network can be made, no client's test looks as if one had been."""

import inspect
from collections.abc import Callable, Iterator

import pytest

from tests.clients import conftest
from tests.support import closed_network as closing


@pytest.fixture(autouse=True)
def impossible(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(closing, "why_not", lambda: "ip is not installed")
    monkeypatch.setattr(conftest, "why_not", lambda: "ip is not installed")


def test_in_ci_that_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    with (
        pytest.raises(RuntimeError, match=r"NOT CLOSED.*ip is not installed"),
        closing.closed_network_or_none(1),
    ):
        pytest.fail("what is not closed was taken")


def fixture_of(way: str) -> Iterator[object]:
    """Return what the tests get that enter the network, or run a program in it."""
    plain: dict[str, Callable[[], Iterator[object]]] = {
        "closed": lambda: inspect.unwrap(conftest.closed)("", None),
        "run": lambda: inspect.unwrap(conftest.run)(None),
    }
    return plain[way]()


@pytest.mark.parametrize("way", ["closed", "run"])
def test_elsewhere_each_test_says_so_at_its_end(monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    monkeypatch.delenv("CI", raising=False)
    with closing.closed_network_or_none(1) as none:
        assert none is None
    fixture = fixture_of(way)
    next(fixture)
    with pytest.raises(pytest.skip.Exception, match=r"NOT CLOSED.*ip is not installed"):
        next(fixture)
