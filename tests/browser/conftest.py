"""A gateway with something to look at, and a browser, for all tests of pages in browsers."""

from collections.abc import Iterator

import pytest

from tests.browser.pages import DESKTOP, furnished
from tests.support.running import Running
from tests.support.webdriver import Browser, browser


@pytest.fixture(scope="session")
def house() -> Iterator[tuple[Running, str, str]]:
    with furnished() as found:
        yield found


@pytest.fixture(scope="session")
def window() -> Iterator[Browser]:
    with browser() as found:
        yield found


@pytest.fixture
def at_ease(house: tuple[Running, str, str], window: Browser) -> Iterator[Browser]:
    """A browser without a session, that is asked at the end what it complains about."""
    gateway = house[0]
    window.look_like(width=DESKTOP[0], height=DESKTOP[1], dark=False)
    window.command("Network.clearBrowserCookies")
    window.errors()
    yield window
    assert window.errors() == []
    assert window.requested() == {gateway.url.removeprefix("http://")}
