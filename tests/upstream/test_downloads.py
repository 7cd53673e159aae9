import contextlib
import gzip
import resource
import ssl
from collections.abc import AsyncIterator

import pytest

from gateway.domain.origins import parse_origin_pattern
from gateway.domain.sources import SourceRefused, SourceUnreachable
from gateway.mirror.source import Source
from gateway.upstream.download import Downloads
from tests.upstream.wild import Conversation, always, each, says, wild


@contextlib.asynccontextmanager
async def downloads(context: ssl.SSLContext, *origins: str) -> AsyncIterator[Downloads]:
    patterns = [parse_origin_pattern(origin) for origin in origins]
    async with Downloads(
        patterns, connect_timeout_s=1, read_timeout_s=0.5, context=context
    ) as opened:
        yield opened


def test_it_is_a_source_for_the_mirror(context: ssl.SSLContext) -> None:
    source: Source = Downloads([], connect_timeout_s=1, read_timeout_s=1, context=context)
    assert isinstance(source, Downloads)


async def test_a_file_comes_with_what_the_mirror_wants_to_know(context: ssl.SSLContext) -> None:
    headers = (
        "Content-Type: image/png",
        'ETag: "abc"',
        "Last-Modified: Mon, 01 Jan 2024 00:00:00 GMT",
        "Accept-Ranges: bytes",
        "Set-Cookie: a=b",
    )
    async with (
        wild(always(b"bytes", headers=headers)) as server,
        downloads(context, server.origin) as source,
    ):
        for _ in range(2):
            async with source.fetch(f"{server.origin}/x/out%2D0.png?sig=a%2Fb%3D") as file:
                assert (file.status, file.content_type, file.content_length) == (
                    200,
                    "image/png",
                    5,
                )
                assert (file.etag, file.accept_ranges) == ('"abc"', True)
                assert file.last_modified == "Mon, 01 Jan 2024 00:00:00 GMT"
                assert b"".join([chunk async for chunk in file.chunks()]) == b"bytes"
        assert server.connections == 1
        seen = server.requests[1]
        assert seen.line == "GET /x/out%2D0.png?sig=a%2Fb%3D HTTP/1.1"
        assert seen.header("accept-encoding") == "identity"
        assert seen.header("authorization") is None
        assert seen.header("cookie") is None
        assert seen.header("range") is None


async def test_the_rest_of_a_file_is_asked_for_by_range_and_etag(context: ssl.SSLContext) -> None:
    headers = ("Content-Range: bytes 3-4/5", 'ETag: "abc"')
    async with (
        wild(always(b"es", status=206, headers=headers)) as server,
        downloads(context, server.origin) as source,
        source.fetch(f"{server.origin}/x", start=3, etag='"abc"') as file,
    ):
        assert (file.status, file.content_length) == (206, 2)
        assert file.content_range == "bytes 3-4/5"
    seen = server.requests[0]
    assert (seen.header("range"), seen.header("if-range")) == ("bytes=3-", '"abc"')


@pytest.mark.parametrize("status", [204, 304, 400, 403, 404, 410, 416, 500, 503])
async def test_every_other_answer_is_a_refusal_with_its_status(
    context: ssl.SSLContext, status: int
) -> None:
    async with (
        wild(always(b"", status=status)) as server,
        downloads(context, server.origin) as source,
    ):
        with pytest.raises(SourceRefused) as caught:
            async with source.fetch(f"{server.origin}/x"):
                raise AssertionError("opened")
    assert caught.value.status == status


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:9/x",
        "https://evil.example/x",
        "https://replicate.delivery.evil.example/x",
        "https://evilreplicate.delivery/x",
        "https://user@replicate.delivery/x",
        "https://replicate.delivery@evil.example/x",
        "https://replicate.delivery:8443/x",
        "http://replicate.delivery/x",
        "ftp://replicate.delivery/x",
        "file:///etc/passwd",
        "https:\\\\replicate.delivery/x",
        "https://[::1/x",
        "//replicate.delivery/x",
    ],
)
async def test_nobody_outside_the_delivery_origins_is_ever_asked(
    context: ssl.SSLContext, url: str
) -> None:
    async with downloads(context, "https://replicate.delivery", "https://*.b.delivery") as source:
        with pytest.raises(SourceRefused) as caught:
            async with source.fetch(url):
                raise AssertionError("opened")
    assert caught.value.status == 403


async def test_redirects_are_followed_within_the_delivery_origins_only(
    context: ssl.SSLContext,
) -> None:
    async with wild(always(b"other")) as other, wild(always(b"outside")) as outside:

        async def handler(talk: Conversation) -> None:
            while True:
                seen = await talk.request()
                path = seen.line.split(" ")[1]
                location = {
                    "/rel": "other?x=1",
                    "/over": f"{other.origin}/y",
                    "/out": f"{outside.origin}/z",
                    "/loop": "/loop",
                }.get(path)
                if location:
                    await talk.answer(b"", status=302, headers=(f"Location: {location}",))
                else:
                    await talk.answer(path.encode())

        async with (
            wild(handler) as server,
            downloads(context, server.origin, other.origin) as source,
        ):

            async def body(path: str) -> bytes:
                async with source.fetch(server.origin + path) as file:
                    return b"".join([chunk async for chunk in file.chunks()])

            assert await body("/rel") == b"/other?x=1"
            assert await body("/over") == b"other"
            with pytest.raises(SourceRefused) as caught:
                await body("/out")
            assert caught.value.status == 403
            assert outside.connections == 0
            with pytest.raises(SourceRefused) as caught:
                await body("/loop")
            assert caught.value.status == 508
            assert sum(seen.line.startswith("GET /loop") for seen in server.requests) == 4


async def cut_short(talk: Conversation) -> None:
    await talk.answer(b"a" * 10, headers=("Content-Length: 20",))


async def cut_chunk(talk: Conversation) -> None:
    await talk.answer(b"a\r\n" + b"a" * 10 + b"\r\n", headers=("Transfer-Encoding: chunked",))


async def fall_silent(talk: Conversation) -> None:
    await talk.answer(b"a" * 10, headers=("Content-Length: 20",))
    await talk.reader.read(1)


@pytest.mark.parametrize("step", [cut_short, cut_chunk, fall_silent])
async def test_a_body_that_does_not_arrive_whole_never_ends_quietly(
    context: ssl.SSLContext, step: object
) -> None:
    async def handler(talk: Conversation) -> None:
        await talk.request()
        await step(talk)  # type: ignore[operator]  # a step

    async with (
        wild(handler) as server,
        downloads(context, server.origin) as source,
        source.fetch(f"{server.origin}/x") as file,
    ):
        chunks = file.chunks()
        assert await anext(chunks) == b"a" * 10
        with pytest.raises(SourceUnreachable):
            await anext(chunks)


async def test_a_server_that_is_gone_is_unreachable(context: ssl.SSLContext) -> None:
    async with wild(always()) as server:
        pass
    async with downloads(context, server.origin) as source:
        with pytest.raises(SourceUnreachable):
            async with source.fetch(f"{server.origin}/x"):
                raise AssertionError("opened")


async def test_a_file_coded_all_the_same_is_decoded_and_its_length_forgotten(
    context: ssl.SSLContext,
) -> None:
    packed = gzip.compress(b"plain text")
    headers = ("Content-Encoding: gzip", "Accept-Ranges: bytes")
    steps = each(says(packed, headers=headers), says(packed[3:], status=206, headers=headers))
    async with wild(steps) as server, downloads(context, server.origin) as source:
        async with source.fetch(f"{server.origin}/x") as file:
            assert (file.content_length, file.accept_ranges) == (None, False)
            assert b"".join([chunk async for chunk in file.chunks()]) == b"plain text"
        with pytest.raises(SourceUnreachable):
            async with source.fetch(f"{server.origin}/x", start=3):
                raise AssertionError("opened")


async def test_a_large_file_passes_in_large_pieces_and_little_memory(
    context: ssl.SSLContext,
) -> None:
    size, piece = 200_000_000, b"x" * 1_000_000

    async def large(talk: Conversation) -> None:
        await talk.answer(b"", headers=(f"Content-Length: {size}",))
        for _ in range(size // len(piece)):
            await talk.send(piece)

    async with wild(each(large)) as server, downloads(context, server.origin) as source:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        count = total = longest = 0
        async with source.fetch(f"{server.origin}/x") as file:
            async for chunk in file.chunks():
                count, total, longest = count + 1, total + len(chunk), max(longest, len(chunk))
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert total == size
    assert longest <= 1_500_000
    assert grown < 40_000  # KB
