import asyncio
import gzip
from collections.abc import AsyncIterator

import pytest

from gateway.upstream.errors import AllowanceExhausted, UpstreamTokenRefused
from gateway.upstream.hooks import Hooks
from gateway.upstream.line import Urgency
from gateway.upstream.operations import OPERATIONS
from gateway.upstream.share import Kind
from tests.upstream.conftest import Connect
from tests.upstream.wild import Conversation, always, each, says, wild

CREATE = OPERATIONS["predictions.create"]
GET = OPERATIONS["predictions.get"]
LIST = OPERATIONS["predictions.list"]
SEARCH = OPERATIONS["models.search"]
UPLOAD = OPERATIONS["files.create"]
DOWNLOAD = OPERATIONS["files.download"]
README = OPERATIONS["models.readme.get"]
DELETE = OPERATIONS["files.delete"]
BODY = b'{"version": "v", "input": {}}'


async def test_query_and_body_go_out_byte_for_byte(connect: Connect) -> None:
    query = b"created_after=2025-01-01T00%3A00%3A00Z&cursor=cD0%3D%2B%2f%7E&a=b+c&e=&&x=%zz"
    query += b"&q='\"<>|{}^`\\"
    async with wild(always()) as server, connect(server.origin) as upstream:
        await upstream.call(LIST, "/v1/predictions", query=query)
        await upstream.call(
            CREATE,
            "/v1/predictions",
            body=b'{"a" : 1.0e5}\n',
            headers=[("Content-Type", "application/json; charset=utf-8"), ("prefer", "wait=5")],
        )
    first, second = server.requests
    assert first.line.split(" ")[1].encode() == b"/v1/predictions?" + query
    assert second.body == b'{"a" : 1.0e5}\n'
    assert second.header("content-type") == "application/json; charset=utf-8"
    assert second.header("prefer") == "wait=5"
    assert second.header("content-length") == "14"


async def test_the_gateways_own_token_goes_and_nothing_of_the_callers_connection(
    connect: Connect,
) -> None:
    async with wild(always()) as server, connect(server.origin) as upstream:
        await upstream.call(
            GET,
            "/v1/predictions/a",
            headers=[
                ("Authorization", "Bearer hk-user"),
                ("Cookie", "a=b"),
                ("Host", "evil.example"),
                ("Connection", "close"),
                ("Transfer-Encoding", "chunked"),
                ("Accept-Encoding", "br"),
                ("Content-Length", "77"),
                ("User-Agent", "replicate-python/1.0"),
            ],
        )
        seen = server.requests[0]
        assert seen.all("authorization") == ["Bearer r8_secret"]
        assert seen.all("host") == [f"127.0.0.1:{server.port}"]
        assert seen.all("accept-encoding") == ["gzip"]
        assert seen.all("user-agent") == ["replicate-python/1.0"]
        for name in ("cookie", "transfer-encoding", "content-length", "content-type"):
            assert seen.all(name) == []


async def test_cookies_of_one_answer_are_not_sent_with_the_next_request_nor_passed_on(
    connect: Connect,
) -> None:
    cookie = ("Set-Cookie: session=abc; Path=/",)
    async with wild(always(headers=cookie)) as server, connect(server.origin) as upstream:
        for _ in range(2):
            answer = await upstream.call(GET, "/v1/predictions/a")
            assert answer.header("set-cookie") is None
    assert all(seen.header("cookie") is None for seen in server.requests)


async def test_a_gzipped_answer_is_plain_here(connect: Connect) -> None:
    packed = gzip.compress(b'{"id": "a"}')
    headers = ("Content-Encoding: gzip", "X-One: 1", "x-one: 2")
    async with wild(always(packed, headers=headers)) as server, connect(server.origin) as upstream:
        answer = await upstream.call(GET, "/v1/predictions/a")
    assert answer.body == b'{"id": "a"}'
    assert answer.headers == [
        ("x-one", "1"),
        ("x-one", "2"),
        ("content-type", "application/json"),
    ]


async def test_proxies_of_the_environment_are_not_asked(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    async with wild(always()) as server, connect(server.origin) as upstream:
        assert (await upstream.call(GET, "/v1/predictions/a")).status == 200


async def test_a_search_is_a_query_with_a_text_body(connect: Connect) -> None:
    async with wild(always()) as server, connect(server.origin) as upstream:
        await upstream.call(
            SEARCH, "/v1/models", body=b'"cats"', headers=[("content-type", "text/plain")]
        )
    assert server.requests[0].line == "QUERY /v1/models HTTP/1.1"
    assert server.requests[0].body == b'"cats"'


@pytest.mark.parametrize(
    ("status", "body", "refused"),
    [
        (401, b'{"title":"Unauthenticated","status":401}', True),
        (401, b"", True),
        (403, b'{"detail":"The token you used is disabled"}', True),
        (403, b'{"title":"Authentication required","detail":"no"}', True),
        (403, b'{"detail":"You do not have permission to use this model"}', False),
        (404, b'{"detail":"not found","status":404}\n', False),
        (404, b"", False),
        (402, b'{"title":"Insufficient credit"}', False),
        (500, b'{"detail":"Internal"}', False),
    ],
)
async def test_only_a_refusal_of_the_token_is_the_gateways_own_trouble(
    connect: Connect, status: int, body: bytes, refused: bool
) -> None:
    told: list[int] = []
    hooks = Hooks(on_token_refused=told.append)
    async with (
        wild(always(body, status=status)) as server,
        connect(server.origin, hooks=hooks) as upstream,
    ):
        if refused:
            with pytest.raises(UpstreamTokenRefused) as caught:
                await upstream.call(CREATE, "/v1/predictions", body=BODY)
            assert not caught.value.sent
        else:
            answer = await upstream.call(CREATE, "/v1/predictions", body=BODY)
            assert (answer.status, answer.body) == (status, body)
    assert told == [status] * refused


async def test_answers_that_need_not_be_json_need_not_be_json(connect: Connect) -> None:
    async with (
        wild(each(says(b"# A model"), says(b"", status=204))) as server,
        connect(server.origin) as upstream,
    ):
        assert (await upstream.call(README, "/v1/models/a/b/readme")).body == b"# A model"
        assert (await upstream.call(DELETE, "/v1/files/a")).status == 204


async def test_a_large_answer_is_streamed_as_it_comes(connect: Connect) -> None:
    halfway = asyncio.Event()

    async def in_two(talk: Conversation) -> None:
        await talk.answer(b"a" * 10, headers=("Content-Length: 20",))
        await halfway.wait()
        await talk.send(b"b" * 10)

    async with wild(each(in_two)) as server, connect(server.origin) as upstream:
        async with upstream.open(DOWNLOAD, "/v1/files/a/download") as answer:
            assert answer.content_length == 20
            chunks = answer.chunks()
            assert await anext(chunks) == b"a" * 10
            halfway.set()
            assert b"".join([chunk async for chunk in chunks]) == b"b" * 10
        assert server.requests[0].header("accept-encoding") == "identity"


async def test_a_stream_that_is_left_early_gives_its_connection_up(connect: Connect) -> None:
    left = asyncio.Event()

    async def endless(talk: Conversation) -> None:
        await talk.answer(b"", headers=("Transfer-Encoding: chunked",))
        try:
            while True:
                await talk.send(b"4\r\naaaa\r\n")
                await asyncio.sleep(0.01)
        except ConnectionError:
            left.set()

    async with wild(each(endless)) as server, connect(server.origin) as upstream:
        async with upstream.open(DOWNLOAD, "/v1/files/a/download") as answer:
            assert await anext(answer.chunks()) == b"aaaa"
        async with asyncio.timeout(5):
            await left.wait()


async def test_an_upload_is_streamed_with_its_length_or_chunked(connect: Connect) -> None:
    async def parts() -> AsyncIterator[bytes]:
        yield b"ab"
        yield b"cd"

    async with wild(always(status=201)) as server, connect(server.origin) as upstream:
        await upstream.call(UPLOAD, "/v1/files", body=parts(), headers=[("content-length", "4")])
        await upstream.call(UPLOAD, "/v1/files", body=parts())
    assert [seen.body for seen in server.requests] == [b"abcd", b"abcd"]
    assert server.requests[0].all("content-length") == ["4"]
    assert server.requests[0].all("transfer-encoding") == []
    assert server.requests[1].all("transfer-encoding") == ["chunked"]


async def test_a_create_that_upstream_throttles_takes_its_turn_again(connect: Connect) -> None:
    seen: list[tuple[str, str]] = []
    left: list[tuple[str, int]] = []
    hooks = Hooks(
        on_request=lambda name, status, _: seen.append((name, status)),
        on_ratelimit=lambda kind, remaining: left.append((kind, remaining)),
    )
    throttled = says(
        b'{"detail":"Request was throttled.","status":429,"retry_after":0.2}',
        status=429,
        headers=("ratelimit-remaining: 0", "ratelimit-reset: 30"),
    )
    steps = each(throttled, says(status=201, headers=("ratelimit-remaining: 77",)))
    async with wild(steps) as server, connect(server.origin, hooks=hooks) as upstream:
        answer = await upstream.call(
            CREATE, "/v1/predictions", body=BODY, urgency=Urgency.ACT, user="a"
        )
    assert answer.status == 201
    assert [one.body for one in server.requests] == [BODY, BODY]
    assert seen == [("predictions.create", "429"), ("predictions.create", "201")]
    assert left == [("create", 0), ("create", 77)]


class Follower:
    """Says when it was sent, and counts how often it lost its turn."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def taken(self) -> list[tuple[str, str]]:
        self.told.append("taken")
        return [("prefer", f"wait={60 - len(self.told)}")]

    def lost(self) -> None:
        self.told.append("lost")


async def test_who_sends_hears_of_each_turn_and_has_the_last_word_on_the_wait(
    connect: Connect,
) -> None:
    steps = each(says(b'{"retry_after":0.1}', status=429), says(status=201))
    follower = Follower()
    async with wild(steps) as server, connect(server.origin) as upstream:
        await upstream.call(
            CREATE, "/v1/predictions", body=BODY, headers=[("prefer", "wait=60")], turn=follower
        )
    assert follower.told == ["taken", "lost", "taken"]
    assert [seen.all("prefer") for seen in server.requests] == [["wait=59"], ["wait=57"]]


@pytest.mark.parametrize("operation", [CREATE, GET])
async def test_who_is_throttled_for_longer_than_it_can_wait_is_told_honestly(
    connect: Connect, operation: object
) -> None:
    step = says(b'{"detail":"Request was throttled.","status":429,"retry_after":7}', status=429)
    chosen = CREATE if operation is CREATE else GET
    path = "/v1/predictions" if chosen is CREATE else "/v1/predictions/a"
    async with (
        wild(each(step, step)) as server,
        connect(server.origin, max_queue_s=0.3) as upstream,
    ):
        with pytest.raises(AllowanceExhausted) as caught:
            await upstream.call(chosen, path, body=BODY if chosen is CREATE else None)
        assert caught.value.retry_after == 7
        assert len(server.requests) == 1


async def test_a_throttled_upload_is_not_sent_again_because_its_body_is_gone(
    connect: Connect,
) -> None:
    async def parts() -> AsyncIterator[bytes]:
        yield b"ab"

    step = says(b'{"detail":"slow down","retry_after":1.2}', status=429)
    async with wild(each(step, step)) as server, connect(server.origin) as upstream:
        with pytest.raises(AllowanceExhausted) as caught:
            await upstream.call(UPLOAD, "/v1/files", body=parts())
        assert caught.value.retry_after == 2
        assert len(server.requests) == 1


async def test_reads_do_not_wait_for_creates(connect: Connect) -> None:
    async with (
        wild(always()) as server,
        connect(server.origin, creates_per_minute=1, max_queue_s=0.2) as upstream,
    ):
        await upstream.call(CREATE, "/v1/predictions", body=BODY)
        with pytest.raises(AllowanceExhausted):
            await upstream.call(CREATE, "/v1/predictions", body=BODY)
        assert (await upstream.call(GET, "/v1/predictions/a")).status == 200


def test_the_kinds_are_named_as_the_metrics_name_them() -> None:
    assert [str(kind) for kind in Kind] == ["create", "request"]
