"""The official JavaScript client, unmodified, told nothing but another base URL and a key."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.clients.conftest import Run, installed
from tests.clients.examples import FLUX, FLUX_INPUT, LORA, LORA_INPUT, LORA_VERSION
from tests.support.tools import program

pytestmark = [pytest.mark.node, pytest.mark.xdist_group("official clients")]

FOLDER = Path(__file__).parent / "js"
Job = Callable[..., dict[str, Any]]
JPEG = [0xFF, 0xD8, 0xFF]


@pytest.fixture
def job(run: Run, base: str, key: str) -> Job:
    """Runs one of the jobs in run.mjs and returns what it found out."""
    installed(FOLDER / "node_modules", "replicate")
    examples = {
        "flux": FLUX,
        "fluxInput": FLUX_INPUT,
        "lora": f"{LORA}:{LORA_VERSION}",
        "loraInput": LORA_INPUT,
    }

    def run_job(name: str, used: str = key) -> dict[str, Any]:
        env = {"BASE_URL": f"{base}/v1", "KEY": used, "EXAMPLES": json.dumps(examples)}
        said = run(str(program("node")), "run.mjs", name, cwd=FOLDER, env=env)
        found: dict[str, Any] = json.loads(said)
        return found

    return run_job


def test_run_blocking_gives_the_picture_as_a_file(job: Job) -> None:
    found = job("block")
    assert not found["isString"]
    assert found["head"][:3] == JPEG


def test_run_polling_gives_the_mirrored_address(job: Job, base: str) -> None:
    found = job("poll")
    assert found["url"].startswith(f"{base}/delivery/127.0.0.1:")
    assert found["type"] == "image/webp"
    assert bytes(found["head"][8:12]) == b"WEBP"
    assert found["statuses"][-1] == "succeeded"


def test_run_polling_of_an_official_model(job: Job) -> None:
    assert job("pollModel")["head"][:3] == JPEG


def test_paginate_walks_through_ones_own_predictions(
    job: Job, prolific: tuple[str, set[str]]
) -> None:
    other_key, made = prolific
    found = job("paginate", other_key)
    assert set(found["seen"]) == made
    assert len(found["seen"]) == len(made)
    assert found["pages"] == 2


def test_paginate_follows_upstreams_pages_through_the_gateway(job: Job) -> None:
    assert FLUX in job("paginateModels")["names"]


def test_cancel(job: Job) -> None:
    assert job("cancel") == {"status": "canceled"}


def test_a_model_that_fails_raises_the_clients_own_error(job: Job) -> None:
    assert "out of paint" in job("fails")["message"]


def test_a_wrong_key_is_the_clients_own_error(job: Job) -> None:
    assert job("refused") == {"status": 401}
