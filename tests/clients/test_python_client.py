"""The official Python client, unmodified, told nothing but another base URL and a key."""

from collections.abc import Iterator
from io import BytesIO
from typing import Any

import httpx
import pytest
from PIL import Image
from replicate.client import Client
from replicate.exceptions import ModelError, ReplicateError
from replicate.helpers import FileOutput

from tests.clients.examples import FLUX, FLUX_INPUT, LORA, LORA_INPUT, LORA_VERSION

pytestmark = [
    pytest.mark.usefixtures("closed"),
    pytest.mark.xdist_group("official clients"),
]

HELLO_VERSION = "5c7d5dc6dd8bf75c1acaa8565735e7986bc5b66206b55cca93cb72c9bf15ccaa"


@pytest.fixture(autouse=True)
def poll_quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REPLICATE_POLL_INTERVAL", "0.1")


@pytest.fixture
def client(base: str, key: str) -> Iterator[Client]:
    client = Client(api_token=key, base_url=base)
    yield client
    client._client.close()


def picture(url: str) -> str | None:
    """Fetch a picture without any key; return its format."""
    answer = httpx.get(url, trust_env=False)
    with Image.open(BytesIO(answer.raise_for_status().content)) as image:
        image.load()
        return image.format


def test_run_blocking_gives_the_picture(client: Client) -> None:
    output = client.run(FLUX, input=FLUX_INPUT)
    assert isinstance(output, list)
    assert isinstance(output[0], FileOutput)
    with Image.open(BytesIO(output[0].read())) as image:
        image.load()
        assert image.format == "JPEG"


def test_run_polling_gives_the_mirrored_address(client: Client, base: str) -> None:
    (url,) = client.run(FLUX, input=FLUX_INPUT, wait=False)
    assert str(url).startswith(f"{base}/delivery/127.0.0.1:")
    assert picture(str(url)) == "JPEG"


def test_run_of_a_version_blocking(client: Client) -> None:
    (output,) = client.run(f"{LORA}:{LORA_VERSION}", input=LORA_INPUT)
    with Image.open(BytesIO(output.read())) as image:
        assert image.format == "WEBP"


def test_run_of_a_version_polling(client: Client) -> None:
    (url,) = client.run(f"{LORA}:{LORA_VERSION}", input=LORA_INPUT, wait=False)
    assert picture(str(url)) == "WEBP"


def test_a_text_model_answers_its_words(client: Client) -> None:
    words = client.run("replicate/hello-world:" + HELLO_VERSION, input={"text": "Alice"})
    assert words == "hello Alice"


def test_a_model_that_fails_raises_the_clients_own_error(client: Client) -> None:
    with pytest.raises(ModelError, match="out of paint"):
        client.run("simulated/failing", input={"message": "out of paint", "seconds": 0.1})


def test_create_get_and_wait(client: Client, base: str) -> None:
    made = client.predictions.create(version=LORA_VERSION, input=LORA_INPUT)
    assert made.completed_at is None
    assert made.urls is not None
    assert made.urls["get"] == f"{base}/v1/predictions/{made.id}"
    assert made.urls["cancel"] == f"{base}/v1/predictions/{made.id}/cancel"
    assert made.input == LORA_INPUT
    made.wait()
    assert made.status == "succeeded"
    assert made.metrics is not None
    assert client.predictions.get(made.id).output == made.output
    assert made.output is not None
    assert picture(made.output[0]) == "WEBP"


def test_models_and_deployments_predict_too(client: Client) -> None:
    by_model = client.models.predictions.create(model=FLUX, input=FLUX_INPUT)
    by_model.wait()
    assert (by_model.model, by_model.status) == (FLUX, "succeeded")
    deployment = client.deployments.get("acme/flux-fast")
    by_deployment = deployment.predictions.create(input={"prompt": "a fox"})
    by_deployment.wait()
    assert by_deployment.status == "succeeded"


def test_cancel(client: Client) -> None:
    made = client.models.predictions.create(model="simulated/slow", input={"seconds": 100})
    made.cancel()
    assert client.predictions.get(made.id).status == "canceled"
    assert client.predictions.cancel(made.id).status == "canceled"


def test_list_pages_through_ones_own(base: str, prolific: tuple[str, set[str]]) -> None:
    key, made = prolific
    client = Client(api_token=key, base_url=base)
    first = client.predictions.list()
    assert len(first.results) == 100
    assert first.next is not None
    assert first.next.startswith(f"{base}/v1/predictions?")
    second = client.predictions.list(first.next)
    assert {item.id for page in (first, second) for item in page.results} == made
    assert second.next is None
    client._client.close()


def test_pages_of_models_are_followed_through_the_gateway(client: Client) -> None:
    first = client.models.list()
    assert first.results
    assert client.models.get(FLUX).latest_version is not None


def test_a_wrong_key_is_the_clients_own_error(base: str) -> None:
    stranger = Client(api_token="hk-nobody", base_url=base)
    with pytest.raises(ReplicateError, match="valid authentication token") as caught:
        stranger.predictions.list()
    assert caught.value.status == 401
    stranger._client.close()


def test_upstreams_refusal_reads_as_upstream_wrote_it(client: Client) -> None:
    with pytest.raises(ReplicateError, match="prompt is required") as caught:
        client.models.predictions.create(model=FLUX, input={})
    assert caught.value.status == 422


async def test_async_run_blocking_and_polling(client: Client) -> None:
    blocked: Any = await client.async_run(FLUX, input=FLUX_INPUT)
    with Image.open(BytesIO(await blocked[0].aread())) as image:
        assert image.format == "JPEG"
    urls: Any = await client.async_run(f"{LORA}:{LORA_VERSION}", input=LORA_INPUT, wait=False)
    assert picture(str(urls[0])) == "WEBP"
    await client._async_client.aclose()


async def test_async_create_get_list_wait_and_cancel(client: Client) -> None:
    made = await client.predictions.async_create(version=LORA_VERSION, input=LORA_INPUT)
    await made.async_wait()
    assert made.status == "succeeded"
    assert (await client.predictions.async_get(made.id)).output == made.output
    page = await client.predictions.async_list()
    assert made.id in [prediction.id for prediction in page.results]
    slow = await client.models.predictions.async_create(
        model="simulated/slow", input={"seconds": 100}
    )
    await slow.async_cancel()
    assert (await client.predictions.async_get(slow.id)).status == "canceled"
    await client._async_client.aclose()
