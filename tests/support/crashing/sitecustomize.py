"""Put first on PYTHONPATH, this lets one process of a gateway die at a named point.

``CRASH_AT`` is ``point:marker``: whoever comes to the point first, in any of the processes, makes
the marker file and dies on the spot, as in a power cut. The product knows nothing of it.
"""

import asyncio
import os
import signal
from collections.abc import AsyncGenerator
from typing import Any


def _die_once(marker: str) -> None:
    try:
        os.close(os.open(marker, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return
    os.kill(os.getpid(), signal.SIGKILL)


def _around_creates(point: str, marker: str) -> None:
    from gateway.upstream.client import Upstream

    plain_call, plain_once = Upstream.call, Upstream._once

    async def call(self: Any, operation: Any, *args: Any, **kwargs: Any) -> Any:
        if operation.creates and point == "reserved":
            _die_once(marker)
        answer = await plain_call(self, operation, *args, **kwargs)
        if operation.creates and point == "answered":
            _die_once(marker)
        return answer

    async def once(self: Any, operation: Any, request: Any) -> Any:
        if operation.creates and point == "sent":
            asyncio.get_running_loop().call_later(0.05, _die_once, marker)
        return await plain_once(self, operation, request)

    Upstream.call = call  # type: ignore[method-assign]
    Upstream._once = once  # type: ignore[method-assign]


def _in_the_middle_of_settling(marker: str) -> None:
    from gateway.ledger import predictions

    plain = predictions.settle

    def settle(*args: Any, **kwargs: Any) -> bool:
        settled = plain(*args, **kwargs)
        _die_once(marker)
        return settled

    predictions.settle = settle


def _in_the_middle_of_a_file(marker: str) -> None:
    from gateway.upstream.download import Download

    plain = Download.chunks

    async def chunks(self: Any) -> AsyncGenerator[bytes]:
        async for chunk in plain(self):
            yield chunk[: len(chunk) // 2]
            _die_once(marker)
            yield chunk[len(chunk) // 2 :]

    Download.chunks = chunks  # type: ignore[method-assign]


def _after_a_delivery(marker: str) -> None:
    from gateway.upstream.webhook_sender import Delivered, WebhookSender

    plain = WebhookSender.deliver

    async def deliver(self: Any, *args: Any, **kwargs: Any) -> Any:
        outcome = await plain(self, *args, **kwargs)
        if isinstance(outcome, Delivered):
            _die_once(marker)
        return outcome

    WebhookSender.deliver = deliver  # type: ignore[method-assign]


def _prepare() -> None:
    point, _, marker = os.environ.get("CRASH_AT", "").partition(":")
    match point:
        case "reserved" | "sent" | "answered":
            _around_creates(point, marker)
        case "settling":
            _in_the_middle_of_settling(marker)
        case "file":
            _in_the_middle_of_a_file(marker)
        case "delivered":
            _after_a_delivery(marker)


_prepare()
