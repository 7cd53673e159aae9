"""Each way in which a connection can fail, and whether the request may have been carried out."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from gateway.upstream.errors import (
    UpstreamBroken,
    UpstreamError,
    UpstreamGarbage,
    UpstreamTimeout,
    UpstreamUnreachable,
)
from gateway.upstream.hooks import Hooks
from gateway.upstream.line import Urgency
from gateway.upstream.operations import OPERATIONS
from tests.upstream.conftest import Connect
from tests.upstream.wild import Conversation, Handler, always, each, says, wild

CREATE = OPERATIONS["predictions.create"]
GET = OPERATIONS["predictions.get"]
LIST = OPERATIONS["predictions.list"]
UPLOAD = OPERATIONS["files.create"]
BODY = b'{"version": "v", "input": {}}'


def unused_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def close_before_reading(talk: Conversation) -> None:
    await asyncio.sleep(0.02)
    talk.reset()


async def close_after_reading(talk: Conversation) -> None:
    await talk.request()


async def reset_after_reading(talk: Conversation) -> None:
    await talk.request()
    talk.reset()


async def half_headers(talk: Conversation) -> None:
    await talk.request()
    await talk.send(b"HTTP/1.1 201 Created\r\nContent-Type: appl")


async def truncated_body(talk: Conversation) -> None:
    await talk.request()
    await talk.answer(b'{"id": "a"', headers=("Content-Length: 100",))


async def chunked_cut(talk: Conversation) -> None:
    await talk.request()
    await talk.answer(b'5\r\n{"id"\r\n', headers=("Transfer-Encoding: chunked",))


async def reset_in_body(talk: Conversation) -> None:
    await talk.request()
    await talk.answer(b'{"id"', headers=("Content-Length: 100",))
    await asyncio.sleep(0.02)
    talk.reset()


async def not_http(talk: Conversation) -> None:
    await talk.request()
    await talk.send(b"SSH-2.0-OpenSSH_9.6\r\n\r\n")


async def hang(talk: Conversation) -> None:
    await talk.request()
    await asyncio.sleep(60)


async def hang_in_headers(talk: Conversation) -> None:
    await talk.request()
    await talk.send(b"HTTP/1.1 201 Created\r\n")
    await asyncio.sleep(60)


async def hang_in_body(talk: Conversation) -> None:
    await talk.request()
    await talk.answer(b'{"id"', headers=("Content-Length: 100",))
    await asyncio.sleep(60)


async def drip_for_ever(talk: Conversation) -> None:
    await talk.request()
    await talk.answer(b"[", headers=("Content-Length: 100000",))
    while True:
        await asyncio.sleep(0.05)
        await talk.send(b" ")


async def drip_headers_for_ever(talk: Conversation) -> None:
    await talk.request()
    await talk.send(b"HTTP/1.1 201 Created\r\n")
    while True:
        await asyncio.sleep(0.05)
        await talk.send(b"X-A: b\r\n")


@pytest.mark.parametrize(
    ("handler", "error"),
    [
        (close_before_reading, UpstreamBroken),
        (close_after_reading, UpstreamBroken),
        (reset_after_reading, UpstreamBroken),
        (half_headers, UpstreamBroken),
        (truncated_body, UpstreamBroken),
        (chunked_cut, UpstreamBroken),
        (reset_in_body, UpstreamBroken),
        (not_http, UpstreamBroken),
        (hang, UpstreamTimeout),
        (hang_in_headers, UpstreamTimeout),
        (hang_in_body, UpstreamTimeout),
        (drip_for_ever, UpstreamTimeout),
        (drip_headers_for_ever, UpstreamTimeout),
    ],
)
async def test_after_the_request_went_out_its_fate_is_unknown_and_it_is_not_repeated(
    connect: Connect, handler: Handler, error: type[UpstreamError]
) -> None:
    # Patience only where it is to run out: a busy machine is slow, too.
    patience_s = 0.3 if error is UpstreamTimeout else 5
    async with (
        wild(handler) as server,
        connect(server.origin, read_timeout_s=patience_s, connect_timeout_s=1) as upstream,
    ):
        with pytest.raises(error) as caught:
            await upstream.call(CREATE, "/v1/predictions", body=BODY, urgency=Urgency.ACT)
        assert caught.value.sent
        await asyncio.sleep(0.05)
        assert server.connections == 1
        assert len(server.requests) <= 1


async def test_a_refused_connection_was_certainly_not_sent(connect: Connect) -> None:
    seen: list[tuple[str, str]] = []
    hooks = Hooks(on_request=lambda name, status, _: seen.append((name, status)))
    async with connect(f"http://127.0.0.1:{unused_port()}", hooks=hooks) as upstream:
        with pytest.raises(UpstreamUnreachable) as caught:
            await upstream.call(CREATE, "/v1/predictions", body=BODY)
    assert not caught.value.sent
    assert seen == [("predictions.create", "unreachable")]


async def test_a_name_that_does_not_resolve_was_certainly_not_sent(connect: Connect) -> None:
    async with connect("http://no-such-host.invalid", connect_timeout_s=5) as upstream:
        with pytest.raises((UpstreamUnreachable, UpstreamTimeout)) as caught:
            await upstream.call(CREATE, "/v1/predictions", body=BODY)
    assert not caught.value.sent


async def test_a_connection_that_does_not_come_about_in_time_was_certainly_not_sent(
    connect: Connect,
) -> None:
    with socket.socket() as deaf:
        # A full backlog: further connections are neither accepted nor refused.
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(0)
        address = deaf.getsockname()
        fillers = [socket.socket() for _ in range(3)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(address)
        try:
            async with connect(f"http://127.0.0.1:{address[1]}", connect_timeout_s=0.3) as upstream:
                with pytest.raises(UpstreamTimeout) as caught:
                    await upstream.call(CREATE, "/v1/predictions", body=BODY)
        finally:
            for filler in fillers:
                filler.close()
    assert not caught.value.sent


async def test_a_server_that_talks_no_tls_was_certainly_not_sent_a_request(
    connect: Connect,
) -> None:
    async def plain(talk: Conversation) -> None:
        await talk.reader.read(100)
        await talk.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    async with (
        wild(plain) as server,
        connect(server.origin.replace("http:", "https:")) as upstream,
    ):
        with pytest.raises(UpstreamUnreachable) as caught:
            await upstream.call(CREATE, "/v1/predictions", body=BODY)
    assert not caught.value.sent


async def test_every_create_has_a_connection_of_its_own(connect: Connect) -> None:
    async with wild(always(b"{}", status=201)) as server, connect(server.origin) as upstream:
        for _ in range(3):
            await upstream.call(CREATE, "/v1/predictions", body=BODY)
        assert server.connections == 3
        assert all(seen.header("connection") == "close" for seen in server.requests)


async def test_a_server_that_closes_after_each_answer_never_leaves_a_create_in_doubt(
    connect: Connect,
) -> None:
    async def one_answer(talk: Conversation) -> None:
        await talk.request()
        await talk.answer(b"{}", status=201)

    async with wild(one_answer) as server, connect(server.origin) as upstream:
        for _ in range(20):
            answer = await upstream.call(CREATE, "/v1/predictions", body=BODY)
            assert answer.status == 201
        assert len(server.requests) == 20


async def test_reads_share_connections_and_survive_one_that_went_stale(connect: Connect) -> None:
    async def then_leave_at_the_next_request(talk: Conversation) -> None:
        await talk.request()
        await talk.answer()
        if talk.server.connections == 1:
            await talk.request()
            return  # as if the connection had been closed while the request was on its way
        await talk.request()
        await talk.answer()

    async with (
        wild(then_leave_at_the_next_request) as server,
        connect(server.origin) as upstream,
    ):
        for _ in range(3):
            assert (await upstream.call(GET, "/v1/predictions/a")).status == 200
        assert server.connections == 2


Step = Callable[[Conversation], Awaitable[None]]


@pytest.mark.parametrize(
    ("step", "status", "sent"),
    [
        (says(b"<html>ok</html>", headers=("Content-Type: text/html",)), 200, True),
        (says(b'{"half": '), 200, True),
        (says(b""), 200, True),
        (says(b"<html>Bad gateway</html>", status=502), 502, True),
        (says(b"", status=500), 500, True),
        (says(b"<html>Blocked</html>", status=403), 403, False),
        (says(b"moved", status=302, headers=("Location: /elsewhere",)), 302, True),
        (says(b"not gzip", headers=("Content-Encoding: gzip",)), 200, True),
        (says(b"[" + b" " * 2_000_000 + b"]"), 200, True),
    ],
)
async def test_what_is_not_json_where_json_is_due_is_not_passed_on(
    connect: Connect, step: Step, status: int, sent: bool
) -> None:
    async with wild(each(step)) as server, connect(server.origin) as upstream:
        with pytest.raises(UpstreamGarbage) as caught:
            await upstream.call(CREATE, "/v1/predictions", body=BODY)
        assert (caught.value.status, caught.value.sent) == (status, sent)
        assert len(server.requests) == 1


async def test_a_message_never_quotes_the_url_or_the_token(connect: Connect) -> None:
    async with wild(reset_after_reading) as server, connect(server.origin) as upstream:
        with pytest.raises(UpstreamBroken) as caught:
            await upstream.call(LIST, "/v1/predictions", query=b"signature=s3cret")
    text = f"{caught.value!r} {caught.value.__cause__!r}"
    assert "s3cret" not in text
    assert "r8_" not in text
    assert caught.value.__suppress_context__


class ClientGone(Exception):
    pass


async def test_a_body_that_breaks_off_at_its_source_is_not_upstreams_fault(
    connect: Connect,
) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield b"x" * 1000
        raise ClientGone

    async with wild(always()) as server, connect(server.origin) as upstream:
        with pytest.raises(ClientGone):
            await upstream.call(UPLOAD, "/v1/files", body=broken())


async def test_a_body_slow_at_its_source_is_not_upstreams_silence(connect: Connect) -> None:
    async def slow() -> AsyncIterator[bytes]:
        for _ in range(4):
            await asyncio.sleep(0.2)
            yield b"xx"

    async with (
        wild(always(b"{}", status=201)) as server,
        connect(server.origin, read_timeout_s=0.3, connect_timeout_s=0.1) as upstream,
    ):
        answer = await upstream.call(UPLOAD, "/v1/files", body=slow())
        assert answer.status == 201
        assert server.requests[0].body == b"xx" * 4


async def test_a_server_that_stops_taking_the_body_is_given_up(connect: Connect) -> None:
    async def deaf(talk: Conversation) -> None:
        await talk.reader.readuntil(b"\r\n\r\n")
        await asyncio.sleep(60)

    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield b"x" * 1_000_000

    async with (
        wild(deaf) as server,
        connect(server.origin, read_timeout_s=0.3, connect_timeout_s=0.3) as upstream,
    ):
        with pytest.raises(UpstreamTimeout) as caught:
            await upstream.call(UPLOAD, "/v1/files", body=endless())
        assert caught.value.sent
        with pytest.raises(UpstreamTimeout) as caught:
            await upstream.call(CREATE, "/v1/predictions", body=b"x" * 30_000_000)
        assert caught.value.sent
