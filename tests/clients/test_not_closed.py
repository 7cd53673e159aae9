"""Where no closed network can be made, no client's test looks as if one had been."""

import inspect
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.clients import conftest
from tests.support import closed_network as closing

WAYS_IN = {"closed", "run", "network"}
NO_CLIENT = {
    "test_old_schemes_and_both_shapes_of_address_are_understood": "asks as no official client does",
    "test_curl_trusts_every_name_of_this_machine": "the names mean another machine in there",
    "test_one_who_leaves_the_closed_network_is_caught": "it goes in, and out, by itself",
}


def test_every_clients_test_is_in_the_closed_network(request: pytest.FixtureRequest) -> None:
    here = Path(__file__).parent
    tests = [
        item
        for item in request.session.items
        if isinstance(item, pytest.Function)
        and item.path.parent == here
        and item.path != Path(__file__)
        and item.originalname not in NO_CLIENT
    ]
    # Those that were asked for; with all of them it says something of all.
    assert [item.nodeid for item in tests if not WAYS_IN & set(item.fixturenames)] == []


@pytest.fixture
def impossible(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(closing, "why_not", lambda: "ip is not installed")
    monkeypatch.setattr(conftest, "why_not", lambda: "ip is not installed")


@pytest.mark.usefixtures("impossible")
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


@pytest.mark.usefixtures("impossible")
@pytest.mark.parametrize("way", ["closed", "run"])
def test_elsewhere_each_test_says_so_at_its_end(monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    monkeypatch.delenv("CI", raising=False)
    with closing.closed_network_or_none(1) as none:
        assert none is None
    fixture = fixture_of(way)
    next(fixture)
    with pytest.raises(pytest.skip.Exception, match=r"NOT CLOSED.*ip is not installed"):
        next(fixture)
