"""Streams of events over HTTP: for whoever has the address, as the events come."""

import asyncio
from contextlib import aclosing

from starlette.types import Receive, Scope, Send

from gateway.domain import problems
from gateway.flows.relay_stream import RelayStream, StreamRequest
from gateway.web.departure import while_connected
from gateway.web.middleware import Gate
from gateway.web.origin import Origins
from gateway.web.problem_response import ProblemError
from gateway.web.request_facts import header

_HEADERS = [
    # Exactly this: the Python client compares it with nothing cut off.
    (b"content-type", b"text/event-stream"),
    (b"cache-control", b"no-store"),
    # Proxies of the nginx kind would collect events until a buffer is full.
    (b"x-accel-buffering", b"no"),
]


class StreamPage:
    """Serves `/v1/{kind}/{token}` of one kind."""

    def __init__(self, kind: str, relay: RelayStream, origins: Origins, gate: Gate) -> None:
        self._kind = kind
        self._relay = relay
        self._origins = origins
        self._gate = gate

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer GET and HEAD."""
        if scope["method"] not in ("GET", "HEAD"):
            raise ProblemError(problems.method_not_allowed(("GET", "HEAD", "OPTIONS")))
        prediction_id = await self._relay.find(self._kind, scope["path_params"]["token"])
        start = {"type": "http.response.start", "status": 200, "headers": _HEADERS}
        if scope["method"] == "HEAD":
            await send(start)
            await send({"type": "http.response.body", "body": b""})
            return
        request = StreamRequest(
            prediction_id, header(scope, b"last-event-id"), self._origins.of(scope)
        )
        await send(start)
        await while_connected(receive, self._until_draining(request, send))

    async def _until_draining(self, request: StreamRequest, send: Send) -> None:
        """Send the stream; when the gateway is to stop, end the response between two events."""
        async with asyncio.TaskGroup() as group:
            sending = group.create_task(self._send(request, send), name="stream")
            draining = group.create_task(self._gate.wait_draining(), name="draining")
            await asyncio.wait((sending, draining), return_when=asyncio.FIRST_COMPLETED)
            sending.cancel()
            draining.cancel()
        await send({"type": "http.response.body", "body": b""})

    async def _send(self, request: StreamRequest, send: Send) -> None:
        async with aclosing(self._relay.events(request)) as events:
            async for event in events:
                await send({"type": "http.response.body", "body": event, "more_body": True})
