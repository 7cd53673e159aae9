"""The official Python client, straight against the simulator, from another thread."""

import asyncio
import io
import threading
from collections.abc import Iterator

import pytest
from PIL import Image
from replicate.client import Client
from replicate.exceptions import ModelError, ReplicateError

from gateway.clock import SystemClock
from gateway.simulator import Fault, FaultKind, Simulator, SimulatorConfig
from gateway.simulator.shelf import LORA_VERSION


@pytest.fixture(scope="module")
def threaded() -> Iterator[Simulator]:
    """A simulator in a loop and a thread of its own, fifty times as fast as life."""
    ready, ended = threading.Event(), threading.Event()
    running: list[Simulator] = []

    async def run() -> None:
        async with Simulator(SimulatorConfig(speed=50.0), SystemClock()) as simulator:
            running.append(simulator)
            ready.set()
            await asyncio.to_thread(ended.wait)

    thread = threading.Thread(target=lambda: asyncio.run(run()))
    thread.start()
    assert ready.wait(10)
    yield running[0]
    ended.set()
    thread.join(10)


@pytest.fixture
def client(threaded: Simulator, monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    monkeypatch.setenv("REPLICATE_POLL_INTERVAL", "0.02")
    made = Client(api_token=threaded.token, base_url=threaded.api_url)
    yield made
    made._client.close()


def test_run_returns_files_that_can_be_read(client: Client) -> None:
    (output,) = client.run("black-forest-labs/flux-schnell", input={"prompt": "x"})
    assert Image.open(io.BytesIO(output.read())).size == (1024, 1024)


def test_run_by_version_reads_the_version_too(client: Client) -> None:
    ref = f"lucataco/flux-schnell-lora:{LORA_VERSION}"
    assert len(list(client.run(ref, input={"prompt": "x", "num_outputs": 2}))) == 2


def test_a_failed_run_raises_its_error(client: Client) -> None:
    with pytest.raises(ModelError, match="boom"):
        client.run("simulated/failing", input={"message": "boom"})


def test_an_invalid_input_is_told(client: Client) -> None:
    with pytest.raises(ReplicateError, match="prompt is required"):
        client.run("black-forest-labs/flux-schnell", input={})


def test_streams_of_text_arrive(client: Client) -> None:
    events = list(client.stream("meta/meta-llama-3-8b-instruct", input={"prompt": "hi"}))
    assert "".join(str(event) for event in events).startswith("You said 'hi':")


def test_a_local_file_is_uploaded_and_fetched_by_the_model(
    client: Client, threaded: Simulator
) -> None:
    picture = io.BytesIO()
    Image.new("RGB", (64, 64), "red").save(picture, "PNG")
    before = len(client.files.list())
    output = client.run("simulated/image-to-image", input={"image": picture}, wait=False)
    assert str(next(iter(output))).startswith(threaded.delivery_origin)
    assert len(client.files.list()) == before + 1
    file = client.files.list()[0]
    assert client.files.get(file.id).etag == file.etag
    assert client.files.delete(file.id)


def test_resources_are_read(client: Client) -> None:
    assert client.accounts.current().username == "acme"
    model = client.models.get("black-forest-labs/flux-schnell")
    assert model.latest_version is not None
    assert [version.id for version in model.versions.list()] == [model.latest_version.id]
    assert client.models.search("hello").results[0].name == "hello-world"
    assert client.collections.get("language-models").models is not None
    assert client.hardware.list()[0].sku == "cpu"
    release = client.deployments.get("acme/flux-fast").current_release
    assert release is not None
    assert release.number == 1
    assert client.webhooks.default.secret().key.startswith("whsec_")


def test_a_deployment_is_run_and_a_prediction_canceled(client: Client) -> None:
    deployment = client.deployments.get("acme/flux-fast")
    assert deployment.predictions.create(input={"prompt": "x"}).status == "starting"
    waiting = client.models.predictions.create("simulated/queue", input={})
    waiting.cancel()
    assert client.predictions.get(waiting.id).status == "canceled"
    assert waiting.id in [found.id for found in client.predictions.list()]


def test_a_training_runs_to_its_end(client: Client) -> None:
    model = client.models.get("ostris/flux-dev-lora-trainer")
    assert model.latest_version is not None
    training = client.trainings.create(
        model=model,
        version=model.latest_version,
        input={"input_images": "https://example.com/a.zip"},
        destination="acme/fine-tune",
    )
    for _ in range(500):
        training.reload()
        if training.status == "succeeded":
            break
        threading.Event().wait(0.01)
    assert training.output is not None
    assert training.output["version"].startswith("acme/fine-tune:")


def test_log_and_faults_work_from_this_thread(client: Client, threaded: Simulator) -> None:
    threaded.log.clear()
    threaded.faults.add(Fault(FaultKind.BARE_ERROR, "account.get", status=503))
    assert client.accounts.current().username == "acme"  # this client repeats a GET after 503
    assert [entry.status for entry in threaded.log.entries(operation="account.get")] == [503, 200]
    assert threaded.log.entries()[0].authorization == f"Bearer {threaded.token}"
