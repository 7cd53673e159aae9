"""Every route on one screen."""

from dataclasses import dataclass

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp

from gateway.domain import problems
from gateway.domain.problems import Problem
from gateway.domain.stream_tokens import STREAM_KINDS
from gateway.flows.answer import Refused
from gateway.flows.upstream_answer import upstream_problem
from gateway.mirror import MirrorClosed, OutputBroken
from gateway.upstream import UpstreamError
from gateway.upstream.operations import MethodNotAllowed, match
from gateway.web.api import PREFIX, Api
from gateway.web.delivery import Delivery
from gateway.web.endpoints import EndpointApp
from gateway.web.health import Alive, MetricsPage, Readiness
from gateway.web.streams import StreamPage


@dataclass(frozen=True, slots=True)
class Pages:
    """What is served."""

    api: Api
    delivery: Delivery
    streams: tuple[tuple[str, StreamPage], ...]
    """By the kind that their addresses begin with."""
    tables: tuple[EndpointApp, ...]
    """The gateway's own addresses, by their prefixes."""
    dashboard: ASGIApp
    """The usage page, which tells its own addresses apart."""
    alive: Alive
    readiness: Readiness
    metrics: MetricsPage


DELIVERY = "/replicate/delivery/{host}/{path:path}"

_STREAMS = tuple(f"/v1/{kind}/" for kind in STREAM_KINDS)


class AnyMethod(Route):
    """A route that leaves the method to what it leads to."""

    def __init__(self, path: str, app: ASGIApp) -> None:
        super().__init__(path, _placeholder)
        self.app = app
        self.methods = None


async def front_door(_: Request) -> Response:
    """Lead whoever opens the bare address to the page for people; tell programs where to go."""
    return Response(
        b"The usage page is at /dashboard, the API below /replicate.\n",
        307,
        {"location": "/dashboard"},
        media_type="text/plain",
    )


async def _placeholder(_: Request) -> Response:
    raise HTTPException(404)


def routes(pages: Pages) -> list[BaseRoute]:
    """Return the routes, the most specific first."""
    return [
        AnyMethod(DELIVERY, pages.delivery),
        # The API's own table (upstream/operations) tells its operations apart, and its methods:
        # one of them, QUERY, is no method that a router knows.
        AnyMethod("/replicate/{path:path}", pages.api),
        *(AnyMethod(f"/v1/{kind}/{{token}}", page) for kind, page in pages.streams),
        *(AnyMethod(f"{app.table.prefix}/{{path:path}}", app) for app in pages.tables),
        AnyMethod("/dashboard", pages.dashboard),
        AnyMethod("/dashboard/{path:path}", pages.dashboard),
        Route("/", front_door),
        Route("/healthz", pages.alive.healthz),
        Route("/readyz", pages.readiness.readyz),
        Route("/metrics", pages.metrics.page),
    ]


def allowed_methods(path: str, tables: tuple[EndpointApp, ...] = ()) -> tuple[str, ...] | None:
    """Return the methods that a path understands; None for an unknown one."""
    for app in tables:
        if path.startswith(f"{app.table.prefix}/"):
            return app.table.allowed(path.removeprefix(app.table.prefix))
    if path.startswith(("/replicate/delivery/", *_STREAMS)):
        return ("GET", "HEAD")
    if path.startswith(f"{PREFIX}/"):
        # No operation has this method, so the table names those that it has.
        found = match("OPTIONS", path.removeprefix(PREFIX))
        return found.allow if isinstance(found, MethodNotAllowed) else None
    if path.startswith("/dashboard/") and path != "/dashboard/":
        return ("GET", "HEAD", "POST")
    plain = ("/", "/dashboard", "/dashboard/", "/healthz", "/readyz", "/metrics")
    return ("GET", "HEAD") if path in plain else None


def translate(error: Exception) -> Problem | None:
    """Return the problem that an exception of the rooms below means, None for a fault of ours."""
    match error:
        case Refused():
            return error.problem
        case UpstreamError():
            return upstream_problem(error, create=False)
        case OutputBroken():
            return problems.upstream_broke_off(create=False)
        case MirrorClosed():
            return problems.shutting_down()
        case _:
            return None
