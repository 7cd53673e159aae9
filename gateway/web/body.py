"""Request bodies, never larger or slower than allowed."""

import asyncio
from collections.abc import AsyncIterator

from starlette.requests import ClientDisconnect
from starlette.types import Message, Receive, Scope

from gateway.domain import http_problems, problems
from gateway.web.problem_response import ProblemError
from gateway.web.request_facts import header

IDLE_S = 60.0
"""How long a client may send nothing while its body is due, in seconds."""


async def read_body(
    scope: Scope, receive: Receive, max_bytes: int, *, idle_s: float = IDLE_S
) -> bytes:
    """Return the whole body.

    A client that waits for "100 Continue" gets it here, by the server, and not before the announced
    length was found acceptable.

    Raises:
        ProblemError: 413 over `max_bytes`, also for bodies without an announced length; 415 for a
            compressed body; 408 for a client that stops sending.
        ClientDisconnect: the client left before the end.
    """
    _check_head(scope, max_bytes)
    message = await _next(receive, idle_s)
    body: bytes = message.get("body", b"")
    if not message.get("more_body", False):
        if len(body) > max_bytes:
            raise ProblemError(problems.too_large(max_bytes))
        return body
    parts = [body]
    size = len(body)
    while message.get("more_body", False):
        if size > max_bytes:
            raise ProblemError(problems.too_large(max_bytes))
        message = await _next(receive, idle_s)
        part: bytes = message.get("body", b"")
        parts.append(part)
        size += len(part)
    if size > max_bytes:
        raise ProblemError(problems.too_large(max_bytes))
    return b"".join(parts)


async def stream_body(
    scope: Scope, receive: Receive, max_bytes: int, *, idle_s: float = IDLE_S
) -> AsyncIterator[bytes]:
    """Yield the body as it arrives, for what is too large to hold; raises like `read_body`."""
    _check_head(scope, max_bytes)
    size = 0
    more = True
    while more:
        message = await _next(receive, idle_s)
        part: bytes = message.get("body", b"")
        more = message.get("more_body", False)
        size += len(part)
        if size > max_bytes:
            raise ProblemError(problems.too_large(max_bytes))
        if part:
            yield part


def announced_length(scope: Scope) -> int | None:
    """Return the announced length of the body in bytes; None when it is sent in chunks."""
    text = header(scope, b"content-length")
    return int(text) if text is not None and text.isascii() and text.isdigit() else None


def _check_head(scope: Scope, max_bytes: int) -> None:
    length = announced_length(scope)
    if length is not None and length > max_bytes:
        raise ProblemError(problems.too_large(max_bytes))
    encoding = header(scope, b"content-encoding")
    if encoding is not None and encoding.strip().lower() not in ("", "identity"):
        # A few bytes can unpack to any number of them.
        raise ProblemError(http_problems.unsupported_encoding())


async def _next(receive: Receive, idle_s: float) -> Message:
    try:
        async with asyncio.timeout(idle_s):
            message = await receive()
    except TimeoutError:
        raise ProblemError(http_problems.body_timed_out(idle_s)) from None
    if message["type"] == "http.disconnect":
        raise ClientDisconnect
    return message
