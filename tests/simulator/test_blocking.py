"""Creates that wait for their output."""

import asyncio
import base64
import io
from collections.abc import Awaitable

import httpx
import pytest
from PIL import Image

from tests.simulator.conftest import Api

FLUX = "/models/black-forest-labs/flux-schnell/predictions"
SLOW = "/models/simulated/slow/predictions"


async def test_a_finished_one_reads_processing_with_its_output_inline(api: Api) -> None:
    body = {"input": {"prompt": "x", "output_format": "jpg", "num_outputs": 2}}
    answer = await api.passing(api.post(FLUX, json=body, headers={"Prefer": "wait"}))
    assert answer.status_code == 201
    assert answer.headers["preference-applied"] == "wait"
    document = answer.json()
    assert document["status"] == "processing"
    assert "metrics" not in document
    assert "completed_at" not in document
    for uri in document["output"]:
        head, _, text = uri.partition(",")
        assert head == "data:image/jpeg;base64"
        assert Image.open(io.BytesIO(base64.b64decode(text))).size == (1024, 1024)
    done = await api.read(document)
    assert done["status"] == "succeeded"
    assert (await api.plain(done["output"][0])).content == base64.b64decode(
        document["output"][0].partition(",")[2]
    )


async def test_addresses_instead_of_data_where_that_is_switched(api: Api) -> None:
    api.simulator.configure(inline_outputs=False)
    body = {"input": {"prompt": "x"}}
    answer = await api.passing(api.post(FLUX, json=body, headers={"Prefer": "wait=30"}))
    assert answer.headers["preference-applied"] == "wait=30"
    assert answer.json()["output"][0].startswith(api.simulator.delivery_origin)


async def test_one_that_takes_longer_is_answered_202_and_reads_starting(api: Api) -> None:
    body = {"input": {"seconds": 20}}
    answer = await api.passing(api.post(SLOW, json=body, headers={"Prefer": "wait=5"}))
    assert (answer.status_code, answer.json()["status"]) == (202, "starting")
    assert (await api.read(answer.json()))["status"] == "processing"


async def test_a_failure_is_answered_as_one(api: Api) -> None:
    body = {"input": {"message": "boom"}}
    path = "/models/simulated/failing/predictions"
    answer = await api.passing(api.post(path, json=body, headers={"Prefer": "wait"}))
    assert (answer.status_code, answer.json()["status"]) == (201, "failed")
    assert answer.json()["error"] == "boom"


async def test_a_cancel_from_elsewhere_ends_the_wait(api: Api) -> None:
    body = {"input": {"seconds": 1e6}}
    wait = api.post(SLOW, json=body, headers={"Prefer": "wait=60"})

    async def cancel() -> None:
        await api.until(lambda: len(api.simulator.prediction_ids()) == 1)
        await api.post(f"/predictions/{api.simulator.prediction_ids()[0]}/cancel")

    answer = await api.passing(_both(wait, cancel()), step=0.0)
    assert answer.json()["status"] == "canceled"


async def _both(first: Awaitable[httpx.Response], second: Awaitable[None]) -> httpx.Response:
    return (await asyncio.gather(first, second))[0]


@pytest.mark.parametrize("prefer", ["wait=0", "wait=61", "wait=x", "respond-async"])
async def test_a_preference_out_of_bounds_is_not_honoured(api: Api, prefer: str) -> None:
    answer = await api.post(FLUX, json={"input": {"prompt": "x"}}, headers={"Prefer": prefer})
    assert (answer.status_code, answer.json()["status"]) == (201, "starting")
    assert "preference-applied" not in answer.headers


async def test_a_client_that_hangs_up_does_not_stop_the_prediction(api: Api) -> None:
    with pytest.raises(httpx.ReadTimeout):
        await api.post(SLOW, json={"input": {}}, headers={"Prefer": "wait"}, timeout=0.2)
    await api.until(lambda: api.simulator.log.count(status=0) == 1)
    api.clock.advance(11)
    (known,) = api.simulator.documents()
    assert known["status"] == "succeeded"
