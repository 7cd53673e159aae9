"""What faces the network: addresses, pages, the order in which a request meets them."""

from functools import partial

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp

from gateway.app.process import Process
from gateway.flows.count_requests import CountRequests
from gateway.flows.read_prediction import ReadPrediction
from gateway.settings import Settings
from gateway.web.front import Front
from gateway.web.identity import KeyRing
from gateway.web.middleware import middleware
from gateway.web.origin import Origins
from gateway.web.problem_response import http_exception_response
from gateway.web.routes import Pages, allowed_methods, routes, translate


def origins_of(settings: Settings) -> Origins:
    """Return what tells by which names clients know this gateway."""
    server = settings.server
    return Origins(
        public_url=server.public_url,
        aliases=server.public_aliases,
        trusted_proxies=server.trusted_proxies,
        listener=_listener(settings),
    )


def served(
    process: Process,
    pages: Pages,
    *,
    keys: KeyRing,
    origins: Origins,
    read: ReadPrediction,
    count: CountRequests,
) -> ASGIApp:
    """Return the application: the shortest way before the middleware, the router behind it."""
    clock, metrics = process.clock, process.metrics

    def observe(route: str, method: str, status: int, seconds: float) -> None:
        metrics.http(route, method).done(status, seconds)

    application = Starlette(
        routes=routes(pages),
        exception_handlers={HTTPException: http_exception_response},
        middleware=middleware(
            clock=clock,
            observe=observe,
            gate=process.gate,
            translate=translate,
            allowed=partial(allowed_methods, tables=pages.tables),
        ),
    )
    # An address with a slash too many is another one: the API's table knows which of them mean
    # the same, and a redirect is nothing that a client of it expects.
    application.router.redirect_slashes = False
    return Front(
        application,
        read,
        count,
        keys,
        origins,
        clock,
        process.gate,
        observe=observe,
        aborted_setting=process.settings.compat.aborted_as,
    )


def _listener(settings: Settings) -> str:
    """Return the origin that a client means who names no host."""
    server = settings.server
    scheme = "http" if server.tls.mode == "off" else "https"
    host = f"[{server.host}]" if ":" in server.host else server.host
    return f"{scheme}://{host}:{server.port}"
