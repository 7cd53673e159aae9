"""All middleware around one handler."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.domain import problems
from gateway.domain.problems import Problem
from gateway.web.middleware import Gate, middleware
from tests.support.clock import ManualClock
from tests.web.asgi import Heard, Receiver, call

Handler = Callable[[Scope, Receive, Send], Awaitable[None]]


class KnownFault(Exception):
    pass


def translate(error: Exception) -> Problem | None:
    return problems.upstream_unreachable() if isinstance(error, KnownFault) else None


def allowed(path: str) -> tuple[str, ...] | None:
    return {"/v1/things": ("GET", "POST")}.get(path)


@dataclass
class House:
    """The whole stack around one handler."""

    handler: Handler
    clock: ManualClock = field(default_factory=ManualClock)
    gate: Gate = field(default_factory=lambda: Gate(max_in_flight=3))
    observed: list[tuple[str, str, int, float]] = field(default_factory=list)

    @property
    def app(self) -> ASGIApp:
        app: ASGIApp = self.handler
        for layer in reversed(
            middleware(
                clock=self.clock,
                observe=lambda *seen: self.observed.append(seen),
                gate=self.gate,
                translate=translate,
                allowed=allowed,
            )
        ):
            app = layer.cls(app, *layer.args, **layer.kwargs)
        return app

    async def call(self, scope: Scope, receive: Receiver | None = None) -> Heard:
        return await call(self.app, scope, receive)


async def hello(scope: Scope, receive: Receive, send: Send) -> None:
    await PlainTextResponse("hello")(scope, receive, send)


def raising(error: Exception, *, after: tuple[bytes, ...] | None = None) -> Handler:
    async def handler(scope: Scope, receive: Receive, send: Send) -> None:
        if after is not None:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            for part in after:
                await send({"type": "http.response.body", "body": part, "more_body": True})
        raise error

    return handler
