"""One log line and one measurement for each request, when its response has ended.

For a stream that is when the last byte is out or the reader has left, not when it began. A client
that leaves early is no error: it is noted with status 499, which no client ever sees.
"""

import logging
from collections.abc import Callable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway import log
from gateway.clock import Clock
from gateway.domain.keys import address_holds_key
from gateway.web.request_facts import UNMATCHED, Facts, facts

_log = logging.getLogger("gateway.access")

CLIENT_LEFT = 499
_METHODS = frozenset(
    {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "QUERY", "TRACE", "CONNECT"}
)
# Asked every few seconds by machines; worth a line only to whoever debugs them.
_QUIET = frozenset({"/healthz", "/readyz", "/metrics"})
_LONGEST_PATH = 300

Observe = Callable[[str, str, int, float], None]
"""Takes a request's route, method, status and seconds."""


class AccessLog:
    """Counts what goes out, notices clients that leave, and writes it down at the end."""

    def __init__(self, app: ASGIApp, clock: Clock, observe: Observe) -> None:
        self._app = app
        self._note = Note(clock, observe)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a connection and write down what became of it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        seen = facts(scope)

        async def counting_send(message: Message) -> None:
            if message["type"] == "http.response.start":
                seen.status = message["status"]
            elif message["type"] == "http.response.body":
                seen.bytes_sent += len(message.get("body", b""))
                if not message.get("more_body", False):
                    seen.finished = True
            await send(message)

        async def watching_receive() -> Message:
            message = await receive()
            # The server says so after every response too; only before its end it is news.
            if message["type"] == "http.disconnect" and not seen.finished:
                seen.disconnected = True
            return message

        try:
            await self._app(scope, watching_receive, counting_send)
        finally:
            self._note(scope, seen)


class Note:
    """Writes down what became of a request."""

    def __init__(self, clock: Clock, observe: Observe) -> None:
        self._clock = clock
        self._observe = observe

    def __call__(self, scope: Scope, seen: Facts) -> None:
        """Measure it, and log a line."""
        seconds = self._clock.monotonic() - seen.started_at
        if seen.disconnected and not seen.finished:
            status = CLIENT_LEFT
        elif seen.status == 0 or not seen.finished:
            status = 500  # nothing was sent, or the response was broken off
        else:
            status = seen.status
        route = seen.route
        if route == UNMATCHED and (matched := scope.get("route")) is not None:
            route = matched.path
        method = seen.method if seen.method in _METHODS else "other"
        self._observe(route, method, status, seconds)
        path: str = scope["path"]
        level = logging.DEBUG if path in _QUIET and status < 500 else logging.INFO
        if _log.isEnabledFor(level):
            shown = path if len(path) <= _LONGEST_PATH else f"{path[:_LONGEST_PATH]}…"
            if "%" in shown and address_holds_key(path):
                shown = "/***"  # encoded more than once, it would not be known for what it is
            fields = {
                "method": method,
                "status": status,
                "route": route,
                "ms": round(seconds * 1000, 1),
                "bytes": seen.bytes_sent,
                "cache": seen.cache_result,
                "client": seen.client,
                "sent_status": seen.status if seen.status not in (0, status) else None,
            }
            log.emit_fields(_log, level, f"{seen.method} {shown} {status}", fields)
