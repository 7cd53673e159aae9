"""Whole answers of the flows, sent as they are."""

from starlette.types import Scope, Send

from gateway.flows.answer import Answer
from gateway.web.request_facts import facts

_BODYLESS = frozenset({204, 304})


def wire_headers(answer: Answer) -> list[tuple[bytes, bytes]]:
    """Return its headers as they are sent."""
    headers = [
        (name.encode("latin-1"), value.encode("latin-1", "replace"))
        for name, value in answer.headers
    ]
    if answer.status not in _BODYLESS:
        headers.append((b"content-length", str(len(answer.body)).encode()))
    return headers


async def send_answer(answer: Answer, scope: Scope, send: Send) -> None:
    """Send it, and note for the access log where it came from."""
    headers = wire_headers(answer)
    for name, value in answer.headers:
        if name == "cache-status":
            facts(scope).cache_result = value.partition("; ")[2]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    body = b"" if answer.status in _BODYLESS else answer.body
    await send({"type": "http.response.body", "body": body})
