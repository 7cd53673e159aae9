import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import ClientDisconnect

from gateway.web.body import announced_length, read_body, stream_body
from gateway.web.problem_response import ProblemError
from tests.web.asgi import Receiver, make_scope


async def read(receive: Receiver, limit: int, *headers: tuple[str, str]) -> bytes:
    return await read_body(make_scope(method="POST", headers=headers), receive, limit)


@given(st.lists(st.binary(max_size=20), max_size=6))
async def test_a_body_is_read_whole_however_it_is_cut(pieces: list[bytes]) -> None:
    whole = b"".join(pieces)
    assert await read(Receiver(*pieces), len(whole)) == whole


@given(st.lists(st.binary(max_size=20), min_size=1, max_size=6).filter(any))
async def test_one_byte_too_many_is_413_however_the_body_is_cut(pieces: list[bytes]) -> None:
    with pytest.raises(ProblemError) as caught:
        await read(Receiver(*pieces), len(b"".join(pieces)) - 1)
    assert caught.value.problem.status == 413


async def test_a_body_that_announces_too_much_is_refused_before_a_byte_is_read() -> None:
    receive = Receiver(b"x" * 11)
    with pytest.raises(ProblemError) as caught:
        await read(receive, 10, ("content-length", "11"))
    assert caught.value.problem.status == 413
    assert receive.asked == 0


async def test_reading_of_an_unannounced_body_stops_at_the_limit() -> None:
    receive = Receiver(*[b"x" * 10] * 100)
    with pytest.raises(ProblemError):
        await read(receive, 25)
    assert receive.asked == 3


@pytest.mark.parametrize("encoding", ["gzip", "br", "gzip, gzip", "zstd", "x"])
async def test_a_compressed_body_is_refused(encoding: str) -> None:
    with pytest.raises(ProblemError) as caught:
        await read(Receiver(b"x"), 10, ("content-encoding", encoding))
    assert caught.value.problem.status == 415


@pytest.mark.parametrize("encoding", ["identity", "Identity", ""])
async def test_a_body_that_says_it_is_not_compressed_is_read(encoding: str) -> None:
    assert await read(Receiver(b"x"), 10, ("content-encoding", encoding)) == b"x"


async def test_a_client_that_leaves_in_the_middle_ends_the_reading() -> None:
    with pytest.raises(ClientDisconnect):
        await read(Receiver(b"{", leaves=True, unfinished=True), 10)


async def test_a_client_that_stops_sending_gets_408() -> None:
    async with asyncio.timeout(5):
        with pytest.raises(ProblemError) as caught:
            await read_body(make_scope(), Receiver(b"{", unfinished=True), 10, idle_s=0.01)
    assert caught.value.problem.status == 408
    assert ("Connection", "close") in caught.value.problem.headers


async def test_a_large_body_is_handed_on_as_it_arrives() -> None:
    pieces = [b"one", b"", b"two"]
    scope = make_scope(method="POST")
    got = [part async for part in stream_body(scope, Receiver(*pieces), 6)]
    assert got == [b"one", b"two"]


async def test_a_streamed_body_is_bounded_too() -> None:
    body = stream_body(make_scope(), Receiver(b"one", b"two"), 5)
    assert await anext(body) == b"one"
    with pytest.raises(ProblemError) as caught:
        await anext(body)
    assert caught.value.problem.status == 413


@pytest.mark.parametrize(
    ("value", "length"), [("12", 12), ("0", 0), ("-1", None), ("x", None), ("²", None)]
)
def test_the_announced_length_is_a_plain_number(value: str, length: int | None) -> None:
    assert announced_length(make_scope(headers=[("content-length", value)])) == length


def test_a_chunked_body_announces_no_length() -> None:
    assert announced_length(make_scope()) is None
