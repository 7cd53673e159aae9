"""The usage page, put together."""

import hmac
from collections.abc import Callable
from typing import ParamSpec

from gateway.app.accounts import Accounts
from gateway.clock import Clock
from gateway.dashboard import Dashboard, Services, Sessions, UpstreamHealth
from gateway.dashboard.keys_page import KeysPage
from gateway.dashboard.live_page import LivePage
from gateway.dashboard.predictions_page import PredictionsPage
from gateway.dashboard.start_page import StartPage
from gateway.dashboard.team_page import TeamPage
from gateway.dashboard.usage_page import UsagePage
from gateway.domain.urls import UrlMap
from gateway.flows.present import Presenter
from gateway.flows.read_prediction import ReadPrediction
from gateway.ledger import Ledger
from gateway.settings import Settings
from gateway.web.health import Readiness
from gateway.web.identity import KeyRing
from gateway.web.origin import Origins

_Told = ParamSpec("_Told")


def both(first: Callable[_Told, None], second: Callable[_Told, None]) -> Callable[_Told, None]:
    """Return what tells two about each request to upstream."""

    def note(*args: _Told.args, **named: _Told.kwargs) -> None:
        first(*args, **named)
        second(*args, **named)

    return note


def dashboard(
    *,
    settings: Settings,
    secret: bytes,
    ledger: Ledger,
    clock: Clock,
    keys: KeyRing,
    origins: Origins,
    urls: UrlMap,
    presenter: Presenter,
    read: ReadPrediction,
    own: Accounts,
    health: UpstreamHealth,
    waiting: Callable[[str], int],
    readiness: Readiness,
) -> Dashboard:
    """Build it; `waiting` counts who stands in line for an allowance in this process."""
    services = Services(
        usage=UsagePage(own.usage, own.limits),
        predictions=PredictionsPage(ledger, urls, presenter, read, own.usage, own.erase),
        keys=KeysPage(ledger, own.administer),
        start=StartPage(),
        team=TeamPage(ledger, own.administer, own.usage, own.limits),
        live=LivePage(
            ledger,
            health,
            waiting,
            {
                "create": settings.upstream.creates_per_minute,
                "request": settings.upstream.requests_per_minute,
            },
            readiness.faults,
        ),
    )
    return Dashboard(
        services,
        Sessions(hmac.digest(secret, b"sessions of the usage page", "sha256"), ledger, clock),
        keys,
        origins,
        clock,
    )
