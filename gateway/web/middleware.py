"""What surrounds every request, outermost first, each with its reason: see :func:`middleware`.

All are plain ASGI: a class that sits on the way of every byte must not buffer, spawn or copy.
"""

import asyncio
import itertools
import logging
import re
from collections.abc import Callable

from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway import log
from gateway.clock import Clock
from gateway.domain import http_problems, problems
from gateway.domain.keys import address_holds_key, mask
from gateway.domain.problems import Problem
from gateway.flows.answer import Refused
from gateway.ledger import LedgerUnavailable
from gateway.web.access_log import AccessLog, Observe
from gateway.web.problem_response import ProblemError, problem_of_http_exception, send_problem
from gateway.web.request_facts import Facts, facts, header, keep_facts

_log = logging.getLogger(__name__)

_SANE_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")

Translate = Callable[[Exception], Problem | None]
"""Says which problem an exception of the lower rooms means; None: it is a fault of the gateway."""

AllowedMethods = Callable[[str], tuple[str, ...] | None]
"""Names the methods that a path understands; None: no such path."""

MAX_IN_FLIGHT = 2000
"""Requests that one process holds at a time. Blocking creates and streams last minutes, so there
are many; each may need two file descriptors."""

PROBES = frozenset({"/healthz", "/readyz", "/metrics"})
"""What watches the gateway must get through most of all when it is full or shutting down."""


def middleware(
    *,
    clock: Clock,
    observe: Observe,
    gate: "Gate",
    translate: Translate,
    allowed: AllowedMethods,
) -> list[Middleware]:
    """Return the middleware, outermost first."""
    return [
        # First, so that every other one, and every log line, can name the request; and so that no
        # response at all leaves without the headers that the contract promises for all.
        Middleware(Envelope, clock=clock),
        # Outside the error boundary, so that errors are measured with the status that went out.
        Middleware(AccessLog, clock=clock, observe=observe),
        # Around everything that can fail: from here on an exception is an answer.
        Middleware(ErrorBoundary, translate=translate),
        # Before any work is done, so that refusing costs nothing.
        Middleware(Doorkeeper, gate=gate),
        # Before anything reads the address: whoever reads it might pass it on.
        Middleware(NoKeysInAddresses),
        # Last, since they rest on what the routes know.
        Middleware(PlainMethods, allowed=allowed),
    ]


_EVERYWHERE = ((b"x-content-type-options", b"nosniff"),)

# What models made is shown from our origin: it must not run scripts in its name. The usage page has
# a policy of its own.
OUTSIDE_DASHBOARD = (*_EVERYWHERE, (b"content-security-policy", b"sandbox"))


class RequestNames:
    """Names requests: as the client did, if that can be written everywhere."""

    def __init__(self, clock: Clock) -> None:
        self._process = clock.new_id()[:12]
        self._count = itertools.count(1)

    def __call__(self, given: str | None) -> str:
        """Return the name of a request that came with this one, or without any."""
        if given is not None and _sane(given):
            return given
        # Such a name must be new, not unguessable: counting is cheaper than randomness.
        return f"{self._process}-{next(self._count)}"


class Envelope:
    """Names the request and puts the promised headers on its response."""

    def __init__(self, app: ASGIApp, clock: Clock) -> None:
        self._app = app
        self._clock = clock
        self._name = RequestNames(clock)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a connection under a name."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = self._name(header(scope, b"x-request-id"))
        log.bind_request(request_id)
        client = scope.get("client")
        keep_facts(
            scope,
            Facts(
                request_id=request_id,
                method=scope["method"],
                started_at=self._clock.monotonic(),
                client=client[0] if client else "",
            ),
        )
        path: str = scope["path"]
        inside = path.startswith("/dashboard") and path[10:11] in ("", "/")
        extra = (
            *(_EVERYWHERE if inside else OUTSIDE_DASHBOARD),
            (b"x-request-id", request_id.encode()),
        )

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                # A new message: the one that came may be kept and sent again for others.
                message = {**message, "headers": [*message.get("headers", ()), *extra]}
            await send(message)

        await self._app(scope, receive, send_with_headers)


class ErrorBoundary:
    """Turns every exception into an answer; a connection is never just dropped.

    Once a response has begun it can only be broken off. It is left unfinished then, so that the
    server closes the connection and nobody takes what arrived for the whole.
    """

    def __init__(self, app: ASGIApp, translate: Translate) -> None:
        self._app = app
        self._translate = translate

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a connection; answer for what fails in it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        seen = facts(scope)
        try:
            await self._app(scope, receive, send)
        except asyncio.CancelledError:
            # The server gives up on requests that outlast its shutdown.
            if seen.status == 0 and not seen.disconnected:
                await send_problem(_cut_off(seen), send, close=True)
            raise
        except Exception as error:  # noqa: BLE001 - the boundary: whatever it is, it is answered
            cause = _innermost(error)
            if seen.disconnected or isinstance(cause, ClientDisconnect):
                seen.disconnected = True
                self._note_after_leaving(cause)
                return
            problem = self._problem(cause)
            if problem is None:
                _log.error("a request failed", exc_info=cause)
                problem = problems.internal_error()
            elif seen.status:
                _log.warning("a response was broken off: %s", problem.title, exc_info=cause)
            elif isinstance(cause, LedgerUnavailable):
                _log.warning("a request was refused: %s", cause)
            if seen.status == 0:
                await send_problem(problem, send)

    def _problem(self, error: Exception) -> Problem | None:
        if isinstance(error, ProblemError | Refused):
            return error.problem
        if isinstance(error, HTTPException):
            return problem_of_http_exception(error)
        if isinstance(error, LedgerUnavailable):
            return problems.ledger_unavailable()
        return self._translate(error)

    def _note_after_leaving(self, error: Exception) -> None:
        """Keep faults visible whose client has gone, without calling its leaving an error."""
        if not isinstance(error, ClientDisconnect | OSError) and self._problem(error) is None:
            _log.error("a request failed after its client had left", exc_info=error)


class Gate:
    """How many requests are inside, and whether more are let in."""

    def __init__(self, max_in_flight: int = MAX_IN_FLIGHT) -> None:
        self.max_in_flight = max_in_flight
        self.in_flight = 0
        self._draining = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def draining(self) -> bool:
        """Whether new requests are refused because the gateway is shutting down."""
        return self._draining.is_set()

    def drain(self) -> None:
        """Let nobody in any more; who is inside may finish."""
        self._draining.set()

    async def wait_draining(self) -> None:
        """Return when draining begins: for streams, which would otherwise never end."""
        await self._draining.wait()

    async def wait_idle(self) -> None:
        """Return when nobody is inside."""
        await self._idle.wait()

    def enter(self) -> None:
        """Count one in."""
        self.in_flight += 1
        self._idle.clear()

    def leave(self) -> None:
        """Count one out."""
        self.in_flight -= 1
        if self.in_flight == 0:
            self._idle.set()


class Doorkeeper:
    """Refuses requests while the gateway is full or shutting down; probes get through."""

    def __init__(self, app: ASGIApp, gate: Gate) -> None:
        self._app = app
        self._gate = gate

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a connection if there is room for it."""
        if scope["type"] != "http" or scope["path"] in PROBES:
            await self._app(scope, receive, send)
            return
        gate = self._gate
        if gate.draining:
            # Closing sends the client's next attempt to another process or machine.
            await send_problem(problems.shutting_down(), send, close=True)
            return
        if gate.in_flight >= gate.max_in_flight:
            await send_problem(problems.overloaded(), send)
            return
        gate.enter()
        try:
            await self._app(scope, receive, send)
        finally:
            gate.leave()


class NoKeysInAddresses:
    """Refuses a request with a key in its path or query, so that it gets no further than here."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a connection whose address is fit to be seen."""
        if scope["type"] == "http":
            raw: bytes = scope.get("raw_path") or scope["path"].encode()
            raw += b"?" + scope["query_string"]
            # Nearly no address has any of these; telling so costs next to nothing.
            if (b"hk-" in raw or b"%" in raw) and address_holds_key(raw.decode("latin-1")):
                raise ProblemError(http_problems.key_in_address())
        await self._app(scope, receive, send)


class PlainMethods:
    """Answers OPTIONS with what a path understands, and lets the API's HEAD be its GET.

    HEAD is left to the handlers where answering a GET is long work (files, streams) and on the
    usage page.
    """

    _HEAD_IS_GET = ("/replicate/", "/me/", "/admin/")
    _BUT_NOT = "/replicate/delivery/"

    def __init__(self, app: ASGIApp, allowed: AllowedMethods) -> None:
        self._app = app
        self._allowed = allowed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a connection, or answer it from what the routes know."""
        if scope["type"] == "http":
            method = scope["method"]
            if method == "OPTIONS":
                allow = self._allowed(scope["path"])
                if allow is not None:
                    names = ", ".join(sorted({*allow, "OPTIONS"}))
                    headers = [(b"allow", names.encode())]
                    await send({"type": "http.response.start", "status": 204, "headers": headers})
                    await send({"type": "http.response.body", "body": b""})
                    return
            elif (
                method == "HEAD"
                and scope["path"].startswith(self._HEAD_IS_GET)
                and not scope["path"].startswith(self._BUT_NOT)
            ):
                # The server knows the request as HEAD still, and sends no body.
                scope = {**scope, "method": "GET"}
        await self._app(scope, receive, send)


def _sane(request_id: str) -> bool:
    """Whether a client's name for its request can be written everywhere as it is."""
    return _SANE_REQUEST_ID.fullmatch(request_id) is not None and mask(request_id) == request_id


def _cut_off(seen: Facts) -> Problem:
    """Say that the gateway stops before a request was finished.

    A create may be upstream by now; its fate is found out after the next start.
    """
    if seen.method == "POST" and seen.route.startswith("/replicate/"):
        return problems.upstream_broke_off(create=True)
    return problems.shutting_down()


def _innermost(error: Exception) -> Exception:
    """Take a lone exception out of the groups that task groups wrap around it."""
    while isinstance(error, ExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error
