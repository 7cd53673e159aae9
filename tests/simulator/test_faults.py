"""Faults on purpose."""

import asyncio
import time

import httpx
import pytest

from gateway.simulator import Fault, FaultKind
from tests.simulator.conftest import Api

ECHO = "/models/simulated/echo/predictions"
BODY = {"input": {"value": 1}}


async def test_reset_before_leaves_nothing_behind(api: Api) -> None:
    api.simulator.faults.add(Fault(FaultKind.RESET_BEFORE, "models.predictions.create"))
    with pytest.raises(httpx.ReadError):
        await api.post(ECHO, json=BODY)
    assert api.simulator.prediction_ids() == []
    assert (await api.post(ECHO, json=BODY)).status_code == 201


@pytest.mark.parametrize("kind", [FaultKind.RESET_AFTER, FaultKind.ERROR_AFTER])
async def test_a_create_whose_answer_is_lost_has_happened(api: Api, kind: FaultKind) -> None:
    api.simulator.faults.add(Fault(kind, "*.create"))
    try:
        assert (await api.post(ECHO, json=BODY)).status_code == 502
    except httpx.ReadError:
        assert kind is FaultKind.RESET_AFTER
    assert len(api.simulator.prediction_ids()) == 1


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        (FaultKind.TRUNCATE, httpx.RemoteProtocolError),
        (FaultKind.RESET_MIDWAY, httpx.ReadError),
    ],
)
async def test_bodies_break_off_midway(
    api: Api, kind: FaultKind, error: type[httpx.HTTPError]
) -> None:
    done = await api.finished("simulated/large-file", {"size_bytes": 1_000_000})
    api.simulator.faults.add(Fault(kind, "delivery.get", times=2))
    api.simulator.faults.add(Fault(kind, "account.get"))
    for url in (done["output"], done["output"], f"{api.simulator.api_url}/v1/account"):
        with pytest.raises(error):
            await api.get(url)
    cut = api.simulator.log.entries(origin="delivery")[0]
    assert 400_000 <= cut.sent_bytes <= 600_000
    assert len((await api.plain(done["output"])).content) == 1_000_000


async def test_a_cut_comes_after_as_many_bytes_as_wanted(api: Api) -> None:
    done = await api.finished("simulated/large-file", {"size_bytes": 1_000_000})
    api.simulator.faults.add(Fault(FaultKind.TRUNCATE, "delivery.get", after_bytes=12_345))
    got = bytearray()

    async def read() -> None:
        async with api.client.stream("GET", done["output"]) as answer:
            assert answer.headers["content-length"] == "1000000"
            async for piece in answer.aiter_bytes():
                got.extend(piece)

    with pytest.raises(httpx.RemoteProtocolError):
        await read()
    assert len(got) == 12_345


async def test_a_wrong_length_and_a_missing_one(api: Api) -> None:
    done = await api.finished("simulated/large-file", {"size_bytes": 1_000})
    api.simulator.faults.add(Fault(FaultKind.WRONG_LENGTH, "delivery.get"))
    answer = await api.plain(done["output"])
    assert (answer.headers["content-length"], len(answer.content)) == ("984", 984)
    api.simulator.faults.add(Fault(FaultKind.NO_LENGTH, "delivery.get"))
    answer = await api.plain(done["output"])
    assert "content-length" not in answer.headers
    assert len(answer.content) == 1_000


@pytest.mark.parametrize(
    ("kind", "status", "content_type"),
    [
        (FaultKind.SERVER_ERROR, 500, "application/problem+json"),
        (FaultKind.BARE_ERROR, 502, "text/html"),
        (FaultKind.THROTTLE, 429, "application/problem+json"),
        (FaultKind.GARBAGE, 200, "text/html"),
        (FaultKind.TOKEN_REFUSED, 401, "application/problem+json"),
        (FaultKind.NO_CREDIT, 402, "application/problem+json"),
        (FaultKind.NOT_FOUND, 404, "application/problem+json"),
    ],
)
async def test_answers_instead_of_the_work(
    api: Api, kind: FaultKind, status: int, content_type: str
) -> None:
    api.simulator.faults.add(Fault(kind))
    answer = await api.post(ECHO, json=BODY)
    assert (answer.status_code, answer.headers["content-type"]) == (status, content_type)
    assert api.simulator.prediction_ids() == []
    assert (await api.post(ECHO, json=BODY)).status_code == 201
    assert api.simulator.faults.hits(kind) == 1


async def test_the_status_and_the_wait_can_be_chosen(api: Api) -> None:
    api.simulator.faults.add(Fault(FaultKind.SERVER_ERROR, status=503))
    api.simulator.faults.add(Fault(FaultKind.THROTTLE, retry_after=43))
    assert (await api.get("/account")).status_code == 503
    throttled = await api.get("/account")
    assert throttled.json()["retry_after"] == 43
    assert throttled.headers["retry-after"] == "43"


async def test_slow_is_as_slow_as_the_clock_says(api: Api) -> None:
    api.simulator.faults.add(Fault(FaultKind.SLOW, seconds=30.0))
    before = api.clock.now()
    answer = await api.passing(api.get("/account"), step=1.0)
    assert answer.status_code == 200
    assert api.clock.now() - before >= 30


async def test_a_hang_ends_when_the_client_gives_up(api: Api) -> None:
    api.simulator.faults.add(Fault(FaultKind.HANG))
    with pytest.raises(httpx.ReadTimeout):
        await api.get("/account", timeout=0.1)
    await api.until(lambda: api.simulator.log.entries()[0].status == 0)


async def test_a_stream_is_cut_after_some_events(api: Api) -> None:
    done = await api.finished("meta/meta-llama-3-8b-instruct", {"prompt": "x"})
    api.simulator.faults.add(Fault(FaultKind.STREAM_CUT, "streams.read", after_events=5))
    pieces: list[str] = []

    async def read() -> None:
        async with api.client.stream("GET", done["urls"]["stream"]) as answer:
            async for piece in answer.aiter_text():
                pieces.append(piece)  # noqa: PERF401 - kept when the stream breaks

    with pytest.raises(httpx.RemoteProtocolError):
        await read()
    assert "".join(pieces).count("event: output") == 5
    assert "event: done" in (await api.plain(done["urls"]["stream"])).text


async def test_faults_hit_only_what_they_match(api: Api) -> None:
    faults = api.simulator.faults
    for match in ("predictions.get", "/v1/predictions/*", "POST /v1/account", "delivery.*"):
        faults.add(Fault(FaultKind.SERVER_ERROR, match, times=None))
    faults.add(Fault(FaultKind.SERVER_ERROR, contains="secret word"))
    assert (await api.get("/account")).status_code == 200
    assert (await api.post(ECHO, json=BODY)).status_code == 201
    assert (await api.post(ECHO, json={"input": {"value": "a secret word"}})).status_code == 500
    assert (await api.get("/predictions/x")).status_code == 500
    assert (await api.plain(f"{api.simulator.delivery_origin}/x")).status_code == 500
    faults.clear()
    assert (await api.get("/predictions/x")).status_code == 404


async def test_the_first_ones_can_be_spared_and_times_counted(api: Api) -> None:
    api.simulator.faults.add(Fault(FaultKind.SERVER_ERROR, skip=2, times=3))
    statuses = [(await api.get("/account")).status_code for _ in range(7)]
    assert statuses == [200, 200, 500, 500, 500, 200, 200]
    assert api.simulator.faults.armed() == []


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="nonsense"):
        Fault("nonsense")


async def test_an_origin_that_is_down_refuses_and_comes_back_at_the_same_address(api: Api) -> None:
    done = await api.finished("simulated/single-picture", {"prompt": "x"})
    for name, url in (
        ("api", f"{api.simulator.api_url}/v1/account"),
        ("delivery", done["output"]),
        ("streams", f"{api.simulator.stream_origin}/x"),
    ):
        await api.simulator.stop_origin(name)
        assert api.simulator.running()[name] is False
        with pytest.raises(httpx.TransportError):
            await api.get(url)
        with pytest.raises(httpx.ConnectError):
            await api.get(url)
        await api.simulator.start_origin(name)
        assert (await api.get(url)).status_code in (200, 404)


async def test_taking_an_origin_down_breaks_what_is_under_way(api: Api) -> None:
    api.simulator.faults.add(Fault(FaultKind.SLOW, seconds=1e6))
    began = time.monotonic()

    async def stop() -> None:
        await api.until(lambda: api.simulator.log.count(path="/v1/account") == 1)
        await api.simulator.stop_origin("api")

    answer, _ = await asyncio.gather(api.get("/account"), stop(), return_exceptions=True)
    assert isinstance(answer, httpx.TransportError)
    assert time.monotonic() - began < 5
