"""Frameworks that call Replicate for their users: LiteLLM and LangChain."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.clients.conftest import Run, installed
from tests.support.closed_network import ClosedNetwork, why_not
from tests.support.process import Processes

pytestmark = pytest.mark.xdist_group("other clients")

HERE = Path(__file__).parent
SAID = "You said 'rivers':"


def test_langchain_predicts_and_streams(run: Run, base: str, key: str) -> None:
    folder = HERE / "langchain"
    said = run(
        str(installed(folder / ".venv", "bin/python")),
        "job.py",
        cwd=folder,
        env={"REPLICATE_BASE_URL": base, "REPLICATE_API_TOKEN": key},
    )
    found = json.loads(said)
    assert found["official"].startswith(SAID)
    assert found["pinned"].startswith(SAID)
    assert "".join(found["streamed"]).startswith(SAID)
    assert found["stopped"] == "You "


@pytest.mark.skipif(
    why_not() is not None and os.environ.get("CI", "").lower() != "true",
    reason=f"LiteLLM would call api.replicate.com itself: {why_not()}",
)
def test_litellm_takes_no_base_url_and_works_once_its_address_is_put_right(
    gateway: Processes, network: ClosedNetwork, base: str, key: str
) -> None:
    folder = HERE / "litellm"
    python = installed(folder / ".venv", "bin/python")
    network.attempts()
    before = len(gateway.received(operation="models.predictions.create"))
    process = subprocess.Popen(
        network.inside(str(python), "job.py"),
        cwd=folder,
        env={
            "PATH": os.environ["PATH"],
            "BASE_URL": f"{base}/v1",
            "KEY": key,
            # Without it LiteLLM fetches a list of prices from GitHub when it is imported.
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",
            "LITELLM_LOG": "CRITICAL",
        },
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdin is not None
        assert process.stdout is not None
        first = process.stdout.readline()
        tried = network.attempts()
        # `api_base` is not heard: it goes for the official host with the user's key.
        assert "Connection refused" in json.loads(first)["as_it_is"]
        assert set(tried) == {"name api.replicate.com", "tcp 192.0.2.1 443"}
        assert len(gateway.received(operation="models.predictions.create")) == before
        said, errors = process.communicate("\n", timeout=90)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 0, errors
    found: dict[str, Any] = json.loads(said)
    assert network.attempts() == []
    assert found["whole"].startswith("You said ")
    assert "".join(found["streamed"]).startswith("You said ")
    assert found["asynchronous"].startswith("You said ")
    assert "valid authentication token" in found["refused"]
