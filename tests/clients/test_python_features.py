"""More of the official Python client: streams, files, trainings, models, deployments, webhooks."""

from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image
from replicate.client import Client
from replicate.exceptions import ReplicateError
from replicate.pagination import paginate
from replicate.stream import ServerSentEvent
from replicate.webhook import InvalidSignatureError, Webhooks

from tests.clients.examples import FLUX, FLUX_INPUT
from tests.support.process import Processes
from tests.support.receiving import Receiver

pytestmark = [
    pytest.mark.usefixtures("closed"),
    pytest.mark.xdist_group("client features"),
]

LLAMA = "meta/meta-llama-3-8b-instruct"
TRAINER = "ostris/flux-dev-lora-trainer"
ASKED = {"prompt": "Tell me about rivers", "max_tokens": 12}


@pytest.fixture(autouse=True)
def poll_quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REPLICATE_POLL_INTERVAL", "0.1")


@pytest.fixture
def client(base: str, key: str) -> Iterator[Client]:
    client = Client(api_token=key, base_url=base)
    yield client
    client._client.close()


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "a red square.png"
    Image.new("RGB", (32, 32), "red").save(path)
    return path


def latest(client: Client, model: str) -> str:
    version = client.models.get(model).latest_version
    assert version is not None
    return f"{model}:{version.id}"


@pytest.mark.parametrize("wait", [True, False])
def test_an_iterator_model_gives_its_words_one_by_one(client: Client, wait: bool) -> None:
    words = client.run(latest(client, LLAMA), input=ASKED, wait=wait)
    assert not isinstance(words, list)
    said = list(words)
    assert said[0] == "You said 'Tell':"
    assert len(said) == 12


def test_an_official_text_model_gives_its_words(client: Client) -> None:
    words: Any = client.run(LLAMA, input=ASKED)
    assert "".join(words).startswith("You said 'Tell':")


def test_stream_gives_the_words_as_events(client: Client) -> None:
    events = list(client.stream(LLAMA, input=ASKED))
    kinds = [event.event for event in events]
    assert kinds[-1] is ServerSentEvent.EventType.DONE
    assert kinds.count(ServerSentEvent.EventType.OUTPUT) == 12
    said = "".join(str(event) for event in events)
    newest = client.predictions.list().results[0]
    newest.wait()
    assert newest.output is not None
    assert said == "".join(newest.output)


def test_stream_of_a_prediction_that_is_over_gives_everything(client: Client) -> None:
    made = client.models.predictions.create(model=LLAMA, input=ASKED, stream=True)
    made.wait()
    assert made.output is not None
    assert "".join(str(event) for event in made.stream()) == "".join(made.output)


async def test_async_stream(client: Client) -> None:
    said = [str(event) async for event in await client.async_stream(LLAMA, input=ASKED)]
    assert "".join(said).startswith("You said 'Tell':")
    await client._async_client.aclose()


def test_stream_of_files_gives_addresses_that_work(client: Client, base: str) -> None:
    events = list(client.stream(FLUX, input=FLUX_INPUT))
    (output,) = [e for e in events if e.event is ServerSentEvent.EventType.OUTPUT]
    url = str(output.data)
    assert url.startswith(f"{base}/delivery/")
    with Image.open(BytesIO(httpx.get(url, trust_env=False).content)) as image:
        assert image.format == "JPEG"


def test_an_open_file_as_input_is_uploaded_and_reaches_the_model(
    client: Client, picture: Path, base: str
) -> None:
    with picture.open("rb") as file:
        made = client.models.predictions.create("simulated/image-to-image", input={"image": file})
    assert made.input is not None
    assert made.input["image"].startswith(f"{base}/v1/files/")
    made.wait()
    assert made.status == "succeeded", made.error
    assert made.logs is not None
    assert f"Read {picture.stat().st_size} bytes" in made.logs


def test_one_models_output_is_the_nexts_input(client: Client) -> None:
    first: Any = client.run("simulated/single-picture", input={"prompt": "a fox"}, wait=False)
    second: Any = client.run("simulated/image-to-image", input={"image": str(first)}, wait=False)
    with Image.open(BytesIO(httpx.get(str(second[0]), trust_env=False).content)) as image:
        assert image.format == "PNG"


def test_files_are_made_read_listed_and_deleted(client: Client, picture: Path, base: str) -> None:
    made = client.files.create(picture, metadata={"of": "a square"})
    assert (made.name, made.size) == (picture.name, picture.stat().st_size)
    assert made.metadata == {"of": "a square"}
    assert made.urls["get"] == f"{base}/v1/files/{made.id}"
    assert client.files.get(made.id).checksums == made.checksums
    assert made.id in [file.id for file in client.files.list()]
    assert client.files.delete(made.id)
    with pytest.raises(ReplicateError) as caught:
        client.files.get(made.id)
    assert caught.value.status == 404


def test_a_training_runs_to_its_end_and_another_is_cancelled(client: Client, base: str) -> None:
    given = {"input_images": "https://example.com/pictures.zip", "steps": 10}
    version = latest(client, TRAINER)
    made = client.trainings.create(version=version, input=given, destination="acme/fine-tune")
    other = client.trainings.create(version=version, input=given, destination="acme/fine-tune")
    other.cancel()
    assert client.trainings.get(other.id).status == "canceled"
    assert {made.id, other.id} <= {training.id for training in client.trainings.list()}
    while made.status not in ("succeeded", "failed", "canceled"):
        made.reload()
    assert made.status == "succeeded"
    assert made.output is not None
    assert made.output["weights"].startswith(f"{base}/delivery/")
    assert made.output["version"].startswith("acme/fine-tune:")


def test_models_are_searched_listed_and_read(client: Client) -> None:
    assert FLUX in [found.id for found in client.models.search("fastest image generation")]
    listed = [model.id for page in paginate(client.models.list) for model in page]
    assert {FLUX, LLAMA} <= set(listed)
    model = client.models.get(FLUX)
    assert model.owner == "black-forest-labs"
    (version,) = model.versions.list()
    assert model.versions.get(version.id).openapi_schema["openapi"] == "3.0.2"


def test_collections_hardware_and_account_are_read(client: Client) -> None:
    assert "text-to-image" in [collection.slug for collection in client.collections.list()]
    assert FLUX in [model.id for model in client.collections.get("text-to-image")]
    assert "gpu-t4" in [hardware.sku for hardware in client.hardware.list()]
    assert client.accounts.current().username


def test_deployments_are_listed_read_and_predict(client: Client) -> None:
    assert "acme/flux-fast" in [found.id for found in client.deployments.list()]
    deployment = client.deployments.get("acme/flux-fast")
    made = deployment.predictions.create(input={"prompt": "a fox"})
    made.wait()
    assert made.status == "succeeded"


def test_paginate_walks_through_ones_own_predictions(
    base: str, prolific: tuple[str, set[str]]
) -> None:
    key, made = prolific
    client = Client(api_token=key, base_url=base)
    found = [item.id for page in paginate(client.predictions.list) for item in page]
    assert len(found) == len(made)
    assert set(found) == made
    client._client.close()


def test_webhooks_verify_with_the_secret_that_the_client_reads(
    client: Client, gateway: Processes, hook: Receiver
) -> None:
    made = client.models.predictions.create(
        "simulated/echo", input={"value": 1}, webhook=hook.url, webhook_events_filter=["completed"]
    )
    assert made.id
    delivery = gateway.wait_for(
        lambda: next((d for d in hook.deliveries if d.document["id"] == made.id), None)
    )
    assert delivery is not None
    assert delivery.document["status"] == "succeeded"
    secret = client.webhooks.default.secret()
    Webhooks.validate(headers=delivery.headers, body=delivery.body.decode(), secret=secret)
    with pytest.raises(InvalidSignatureError):
        Webhooks.validate(
            headers=delivery.headers, body=delivery.body.decode() + " ", secret=secret
        )
