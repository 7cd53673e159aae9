"""The room against the simulated service: creates, files, streams, and the account's limits."""

import asyncio
import json
import ssl

from gateway.clock import SystemClock
from gateway.domain.origins import parse_origin_pattern
from gateway.simulator import Simulator, SimulatorConfig
from gateway.upstream.download import Downloads
from gateway.upstream.errors import AllowanceExhausted
from gateway.upstream.line import Urgency
from gateway.upstream.operations import OPERATIONS
from gateway.upstream.streams import Streams
from tests.upstream.conftest import Connect

CREATE = OPERATIONS["models.predictions.create"]
GET = OPERATIONS["predictions.get"]
IMAGE = "/v1/models/black-forest-labs/flux-schnell/predictions"
TEXT = "/v1/models/meta/meta-llama-3-8b-instruct/predictions"
JSON = ("content-type", "application/json")
PROMPT = b'{"input": {"prompt": "a cat"}}'
TOKEN = "r8_secret"


async def test_a_prediction_its_stream_and_its_file(
    connect: Connect, context: ssl.SSLContext
) -> None:
    config = SimulatorConfig(token=TOKEN, speed=50, inline_outputs=False)
    async with Simulator(config, SystemClock()) as simulated:
        async with connect(simulated.api_url) as upstream:
            image = await upstream.call(
                CREATE, IMAGE, body=PROMPT, headers=[JSON, ("prefer", "wait=10")]
            )
            assert image.status == 201
            url = json.loads(image.body)["output"][0]
            text = await upstream.call(CREATE, TEXT, body=PROMPT, headers=[JSON])
            stream_url = json.loads(text.body)["urls"]["stream"]
        async with Downloads(
            [parse_origin_pattern(simulated.delivery_origin)],
            connect_timeout_s=2,
            read_timeout_s=2,
            context=context,
        ) as downloads:
            async with downloads.fetch(url) as file:
                whole = b"".join([chunk async for chunk in file.chunks()])
                assert len(whole) == file.content_length
            async with downloads.fetch(url, start=10, etag=file.etag) as rest:
                assert rest.status == 206
                assert b"".join([chunk async for chunk in rest.chunks()]) == whole[10:]
        async with (
            Streams(
                [parse_origin_pattern(simulated.stream_origin)],
                connect_timeout_s=2,
                context=context,
            ) as streams,
            streams.open_stream(stream_url) as stream,
        ):
            events = b"".join([chunk async for chunk in stream.chunks()])
        assert b"event: done" in events


async def test_low_credit_is_learned_from_429s_and_nobody_is_told_wrongly(
    connect: Connect,
) -> None:
    config = SimulatorConfig(token=TOKEN, speed=50, low_credit=True)
    async with Simulator(config, SystemClock()) as simulated:
        async with connect(simulated.api_url, creates_per_minute=600, max_queue_s=2.5) as upstream:

            async def create(user: str) -> int:
                try:
                    answer = await upstream.call(
                        CREATE, IMAGE, body=PROMPT, headers=[JSON], urgency=Urgency.ACT, user=user
                    )
                except AllowanceExhausted as full:
                    return -full.retry_after
                return answer.status

            results = await asyncio.gather(*(create(f"u{n}") for n in range(8)))
        created = [one for one in results if one > 0]
        assert 2 <= len(created) <= 4  # one a second
        assert set(created) == {201}
        throttled = sum(entry.status == 429 for entry in simulated.log.entries())
        assert throttled <= 16
