"""More of the official JavaScript client, and the AI SDK: streams, files, trainings, webhooks."""

import base64
import json
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.clients.conftest import Run, installed
from tests.clients.examples import FLUX, LORA, LORA_VERSION
from tests.support.process import Processes
from tests.support.receiving import Receiver
from tests.support.tools import program

pytestmark = [pytest.mark.node, pytest.mark.xdist_group("client features")]

FOLDER = Path(__file__).parent / "js"
Job = Callable[..., dict[str, Any]]
JPEG = [0xFF, 0xD8, 0xFF]


@pytest.fixture
def job(run: Run, base: str, key: str) -> Job:
    """Runs one of the jobs in features.mjs with what it is given; returns what it found out."""
    installed(FOLDER / "node_modules", "replicate")

    def run_job(name: str, **given: object) -> dict[str, Any]:
        env = {"BASE_URL": f"{base}/v1", "KEY": key}
        told = json.dumps(given)
        said = run(str(program("node")), "features.mjs", name, cwd=FOLDER, env=env, given=told)
        found: dict[str, Any] = json.loads(said)
        return found

    return run_job


def test_stream_gives_the_words_as_events(job: Job) -> None:
    found = job("stream")
    assert found["kinds"] == ["output"] * 12 + ["done"]
    assert found["text"].startswith("You said 'Tell':")


def test_stream_of_files_gives_files_that_are_read_without_a_key(job: Job, base: str) -> None:
    found = job("streamOfFiles")
    assert "output" in found["kinds"]
    assert found["kinds"][-1] == "done"
    assert found["url"].startswith(f"{base}/delivery/")
    assert found["head"] == JPEG


def test_run_of_a_text_model_gives_its_words(job: Job) -> None:
    assert "".join(job("words")["words"]).startswith("You said 'Tell':")


def test_files_are_made_read_listed_used_and_deleted(job: Job, base: str) -> None:
    png = BytesIO()
    Image.new("RGB", (32, 32), "red").save(png, "PNG")
    found = job("files", png=base64.b64encode(png.getvalue()).decode())
    made = found["made"]
    assert made["urls"]["get"] == f"{base}/v1/files/{made['id']}"
    assert (made["size"], made["metadata"]) == (len(png.getvalue()), {"of": "a square"})
    assert found["read"]["checksums"] == made["checksums"]
    assert made["id"] in found["listed"]
    assert found["errors"] == [None, None]
    assert found["deleted"] is True


def test_one_models_output_is_the_nexts_input(job: Job, base: str) -> None:
    found = job("chain")
    assert found["first"].startswith(f"{base}/delivery/")
    assert found["second"].startswith(f"{base}/delivery/")


def test_a_training_runs_to_its_end_and_another_is_cancelled(job: Job, base: str) -> None:
    found = job("trainings")
    assert found["canceled"]["status"] == "canceled"
    assert {found["made"]["id"], found["other"]["id"]} <= set(found["listed"])
    assert found["done"]["status"] == "succeeded"
    assert found["read"]["output"]["version"].startswith("acme/fine-tune:")
    assert found["read"]["output"]["weights"].startswith(f"{base}/delivery/")


def test_models_collections_deployments_hardware_and_account_are_read(job: Job) -> None:
    found = job("catalogue")
    assert FLUX in found["searched"]
    assert found["latest"] in found["versions"]
    assert found["collected"] > 0
    assert found["hardware"] > 0
    assert (found["deployment"], found["predicted"]) == ("flux-fast", "succeeded")
    assert found["account"]


def test_webhooks_verify_with_the_secret_that_the_client_reads(
    job: Job, gateway: Processes, hook: Receiver
) -> None:
    made = job("hook", url=hook.url)
    assert (made["webhook"], made["filter"]) == (hook.url, ["completed"])
    delivery = gateway.wait_for(
        lambda: next((d for d in hook.deliveries if d.document["id"] == made["id"]), None)
    )
    assert delivery is not None
    found = job("verify", headers=delivery.headers, body=delivery.body.decode())
    assert found == {"right": True, "wrong": False}


@pytest.mark.parametrize("inline", [True, False])
def test_the_ai_sdk_makes_pictures(
    run: Run, gateway: Processes, base: str, key: str, inline: bool
) -> None:
    installed(FOLDER / "node_modules", "@ai-sdk/replicate")
    env = {"BASE_URL": f"{base}/v1", "KEY": key, "LORA": f"{LORA}:{LORA_VERSION}"}
    # Blocking creates answer with the pictures themselves, or with where they are.
    gateway.steer("PATCH", "/config", {"inline_outputs": inline})
    try:
        found = json.loads(run(str(program("node")), "ai-sdk.mjs", cwd=FOLDER, env=env))
    finally:
        gateway.steer("PATCH", "/config", {"inline_outputs": True})
    assert found["official"]["type"] == "image/jpeg"
    assert found["version"]["type"] == "image/png"
    assert min(found["official"]["size"], found["version"]["size"]) > 1000
    assert found["failure"]
    assert found["refusal"]["status"] == 422
    assert "num_inference_steps" in found["refusal"]["message"]
