import asyncio
import threading
import time
from collections.abc import Awaitable, Callable

import pytest
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.clock import SystemClock
from gateway.web.body import read_body
from gateway.web.departure import while_connected
from gateway.web.middleware import Gate, middleware
from tests.web.live import serve, talk

Handler = Callable[[Scope, Receive, Send], Awaitable[None]]
Seen = list[tuple[str, str, int, float]]

GET = b"GET /x HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n"


def house(handler: Handler, observed: Seen | None = None, gate: Gate | None = None) -> ASGIApp:
    seen: Seen = [] if observed is None else observed
    app: ASGIApp = handler
    for layer in reversed(
        middleware(
            clock=SystemClock(),
            observe=lambda *facts: seen.append(facts),
            gate=gate or Gate(),
            translate=lambda _: None,
            allowed=lambda _: None,
        )
    ):
        app = layer.cls(app, *layer.args, **layer.kwargs)
    return app


def wait_for(observed: Seen) -> tuple[str, str, int, float]:
    deadline = time.monotonic() + 20
    while not observed:
        assert time.monotonic() < deadline, "nothing was observed"
        time.sleep(0.005)
    return observed[0]


def test_a_chunked_response_that_fails_half_way_has_no_end() -> None:
    async def handler(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"half", "more_body": True})
        raise RuntimeError("x")

    with serve(house(handler)) as address:
        heard = talk(address, GET.replace(b"connection: close\r\n", b""))
    assert b"half" in heard
    assert b"0\r\n\r\n" not in heard


def test_a_response_of_known_length_that_fails_half_way_is_visibly_short() -> None:
    async def handler(scope: Scope, receive: Receive, send: Send) -> None:
        headers = [(b"content-length", b"100")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"half", "more_body": True})
        raise RuntimeError("x")

    with serve(house(handler)) as address:
        head, _, body = talk(address, GET.replace(b"connection: close\r\n", b"")).partition(
            b"\r\n\r\n"
        )
    assert b"content-length: 100" in head
    assert body == b"half"


def test_a_stream_whose_reader_leaves_is_ended_and_noted_at_once() -> None:
    ended = threading.Event()
    observed: Seen = []

    async def handler(scope: Scope, receive: Receive, send: Send) -> None:
        async def stream() -> None:
            try:
                await send({"type": "http.response.start", "status": 200, "headers": []})
                await send({"type": "http.response.body", "body": b"one", "more_body": True})
                await asyncio.Event().wait()
            finally:
                ended.set()

        await while_connected(receive, stream())

    with serve(house(handler, observed)) as address:
        talk(address, GET, leave_after=b"one")
        assert ended.wait(20)
        assert wait_for(observed)[2] == 499


def test_a_stream_that_is_read_to_its_end_is_whole_and_notes_its_full_time() -> None:
    observed: Seen = []

    async def handler(scope: Scope, receive: Receive, send: Send) -> None:
        async def stream() -> None:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            for part in (b"one", b"two"):
                await send({"type": "http.response.body", "body": part, "more_body": True})
                await asyncio.sleep(0.05)
            await send({"type": "http.response.body", "body": b""})

        await while_connected(receive, stream())

    with serve(house(handler, observed)) as address:
        heard = talk(address, GET)
    assert heard.endswith(b"0\r\n\r\n")
    _, _, status, seconds = wait_for(observed)
    assert status == 200
    assert seconds >= 0.1


def test_an_error_while_streaming_comes_out_as_itself() -> None:
    async def handler(scope: Scope, receive: Receive, send: Send) -> None:
        async def stream() -> None:
            raise LookupError("x")

        await while_connected(receive, stream())

    with serve(house(handler)) as address:
        assert talk(address, GET).startswith(b"HTTP/1.1 500 ")


async def echo_length(scope: Scope, receive: Receive, send: Send) -> None:
    body = await read_body(scope, receive, 100)
    await PlainTextResponse(str(len(body)))(scope, receive, send)


def test_a_client_that_waits_for_permission_sends_no_body_that_is_too_large() -> None:
    request = b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 101\r\nexpect: 100-continue\r\n\r\n"
    with serve(house(echo_length)) as address:
        heard = talk(address, request, leave_after=b"}")
    assert heard.startswith(b"HTTP/1.1 413 ")


def test_a_client_that_waits_for_permission_gets_it() -> None:
    request = b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\nexpect: 100-continue\r\n\r\nabc"
    with serve(house(echo_length)) as address:
        heard = talk(address, request, leave_after=b"\r\n\r\n3")
    assert heard.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 ")


@pytest.mark.parametrize("size", [101, 2_000_000])
def test_a_chunked_body_that_is_too_large_is_answered_not_cut_off(size: int) -> None:
    head = b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n"
    body = b"%x\r\n%b\r\n0\r\n\r\n" % (size, b"x" * size)
    with serve(house(echo_length)) as address:
        heard = talk(address, head + body, leave_after=b"}")
    assert heard.startswith(b"HTTP/1.1 413 ")


def test_a_connection_survives_a_refused_body() -> None:
    first = b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5000\r\n\r\n" + b"x" * 5000
    second = b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\nconnection: close\r\n\r\nabc"
    with serve(house(echo_length)) as address:
        heard = talk(address, first + second)
    assert heard.count(b"HTTP/1.1 413 ") == 1
    assert heard.endswith(b"\r\n\r\n3")


def test_head_has_the_headers_of_its_get_and_no_body() -> None:
    async def handler(scope: Scope, receive: Receive, send: Send) -> None:
        assert scope["method"] == "GET"
        await PlainTextResponse("hello")(scope, receive, send)

    request = b"HEAD /replicate/v1/x HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n"
    with serve(house(handler)) as address:
        heard = talk(address, request)
    assert b"content-length: 5\r\n" in heard
    assert heard.endswith(b"\r\n\r\n")


def test_a_draining_gateway_closes_the_connections_that_it_refuses() -> None:
    gate = Gate()
    gate.drain()
    with serve(house(echo_length, gate=gate)) as address:
        heard = talk(address, GET.replace(b"connection: close\r\n", b""))
    assert heard.startswith(b"HTTP/1.1 503 ")
    assert b"retry-after: 1\r\n" in heard
