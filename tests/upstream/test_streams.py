import asyncio
import ssl

import pytest

from gateway.domain.origins import parse_origin_pattern
from gateway.upstream.errors import StreamRefused, UpstreamBroken, UpstreamTimeout
from gateway.upstream.streams import Streams
from tests.upstream.wild import Conversation, each, says, wild

EVENTS = ("Content-Type: text/event-stream; charset=utf-8", "Transfer-Encoding: chunked")


def streams(context: ssl.SSLContext, origin: str, silence_s: float = 5) -> Streams:
    return Streams(
        [parse_origin_pattern(origin)], connect_timeout_s=1, silence_s=silence_s, context=context
    )


async def test_events_come_as_they_are_sent(context: ssl.SSLContext) -> None:
    more = asyncio.Event()

    async def step(talk: Conversation) -> None:
        await talk.answer(b"8\r\nid: 1\n\n\n\r\n", headers=EVENTS)
        await more.wait()
        await talk.send(b"8\r\nid: 2\n\n\n\r\n0\r\n\r\n")

    async with wild(each(step)) as server, streams(context, server.origin) as opened:
        async with opened.open_stream(f"{server.origin}/v1/streams/t%2D", "7:0") as stream:
            chunks = stream.chunks()
            assert await anext(chunks) == b"id: 1\n\n\n"
            more.set()
            assert [chunk async for chunk in chunks] == [b"id: 2\n\n\n"]
        seen = server.requests[0]
        assert seen.line == "GET /v1/streams/t%2D HTTP/1.1"
        assert seen.header("last-event-id") == "7:0"
        assert seen.header("accept") == "text/event-stream"
        assert seen.header("authorization") is None


async def test_a_stream_that_breaks_off_or_falls_silent_does_not_end_quietly(
    context: ssl.SSLContext,
) -> None:
    async def broken(talk: Conversation) -> None:
        await talk.answer(b"8\r\nid: 1\n\n\n\r\n", headers=EVENTS)
        talk.writer.close()

    async def silent(talk: Conversation) -> None:
        await talk.answer(b"", headers=EVENTS)
        await talk.reader.read(1)

    async with wild(each(broken, silent)) as server, streams(context, server.origin, 0.2) as opened:
        for error, events in ((UpstreamBroken, 1), (UpstreamTimeout, 0)):
            async with opened.open_stream(f"{server.origin}/v1/streams/t") as stream:
                chunks = stream.chunks()
                for _ in range(events):
                    assert await anext(chunks)
                with pytest.raises(error):
                    await anext(chunks)


@pytest.mark.parametrize(
    ("status", "headers", "told"),
    [
        (404, EVENTS[:1], 404),
        (200, ("Content-Type: text/html",), 415),
        (302, ("Location: http://127.0.0.1:9/",), 302),
    ],
)
async def test_what_is_no_stream_is_refused(
    context: ssl.SSLContext, status: int, headers: tuple[str, ...], told: int
) -> None:
    async with (
        wild(each(says(b"", status=status, headers=headers))) as server,
        streams(context, server.origin) as opened,
    ):
        with pytest.raises(StreamRefused) as caught:
            async with opened.open_stream(f"{server.origin}/v1/streams/t"):
                raise AssertionError("opened")
    assert caught.value.status == told


async def test_nobody_outside_the_stream_origins_is_asked(context: ssl.SSLContext) -> None:
    async with wild(each()) as server, streams(context, "https://*.replicate.com") as opened:
        with pytest.raises(StreamRefused):
            async with opened.open_stream(f"{server.origin}/v1/streams/t"):
                raise AssertionError("opened")
        assert server.connections == 0
