"""What official clients would stumble over, told in words they know, whatever their base URL."""

import json
import os
from pathlib import Path
from typing import Any

import httpx
import pytest
from replicate.client import Client

from tests.clients.conftest import Run, installed
from tests.support.process import Processes
from tests.support.tools import program

pytestmark = pytest.mark.xdist_group("official clients")

FOLDER = Path(__file__).parent
JS, PY2 = FOLDER / "js", FOLDER / "py2"
PY2_GET = """
import asyncio, json, os
from replicate import AsyncReplicate, Replicate
given = {"bearer_token": os.environ["KEY"], "base_url": os.environ["BASE_URL"]}
wanted = os.environ["PREDICTION"]
one = Replicate(**given).predictions.get(prediction_id=wanted)
async def get():
    return await AsyncReplicate(**given).predictions.get(prediction_id=wanted)
other = asyncio.run(get())
print(json.dumps([one.status, other.status]))
"""
PY2_IMPATIENT = """
import json, os
from replicate import Replicate
client = Replicate(
    bearer_token=os.environ["KEY"], base_url=os.environ["BASE_URL"], timeout=1.5, max_retries=2
)
made = client.models.predictions.create(
    model_owner="simulated", model_name="echo", input={"value": "impatient"}
)
print(json.dumps(made.id))
"""


@pytest.fixture(scope="module")
def aborted(gateway: Processes, key: str) -> str:
    """A prediction that was past its time before it ran."""
    with gateway.client(key) as client:
        made = client.post(
            "/replicate/v1/models/simulated/slow/predictions",
            json={"input": {"queue_seconds": 600}},
            headers={"Cancel-After": "5s"},
        )
        assert made.status_code == 201, made.text
        ended = gateway.finished(client, made.json()["id"]).json()
        # Whoever is no official client reads what upstream wrote.
        assert ended["status"] == "aborted"
        return str(ended["id"])


@pytest.mark.usefixtures("closed")
def test_python_1_reads_canceled(aborted: str, base: str, key: str) -> None:
    for address in (base, f"{base}/v1"):
        client = Client(api_token=key, base_url=address)
        assert client.predictions.get(aborted).status == "canceled"
        assert "canceled" in {item.status for item in client.predictions.list().results}
        client._client.close()


def test_python_2_reads_canceled(aborted: str, run: Run, base: str, key: str) -> None:
    python = installed(PY2, ".venv/bin/python")
    for address in (base, f"{base}/v1"):
        given = {"KEY": key, "BASE_URL": address, "PREDICTION": aborted}
        found = json.loads(run(str(python), "-c", PY2_GET, cwd=PY2, env=given))
        assert found == ["canceled", "canceled"]


def test_python_2_that_gives_up_waiting_and_retries_makes_one_prediction(
    gateway: Processes, run: Run, base: str, key: str
) -> None:
    python = installed(PY2, ".venv/bin/python")
    fault = {"kind": "slow", "match": "*.create", "seconds": 3.5, "contains": "impatient"}
    gateway.steer("POST", "/faults", fault)
    made = json.loads(
        run(str(python), "-c", PY2_IMPATIENT, cwd=PY2, env={"KEY": key, "BASE_URL": base})
    )
    of_this = [
        entry
        for entry in gateway.steer("GET", "/predictions")
        if entry["input"] == {"value": "impatient"}
    ]
    assert [entry["id"] for entry in of_this] == [made]


@pytest.mark.node
def test_javascript_reads_canceled_and_stops_waiting(
    aborted: str, run: Run, base: str, key: str
) -> None:
    installed(JS, "node_modules/replicate/package.json")
    for address in (base, f"{base}/v1"):
        given = {"PATH": os.environ["PATH"], "BASE_URL": address, "KEY": key, "PREDICTION": aborted}
        found: dict[str, Any] = json.loads(
            run(str(program("node")), "stream.mjs", "aborted", cwd=JS, env=given)
        )
        assert found == {"status": "canceled", "waited": "canceled"}


@pytest.mark.parametrize("scheme", ["Bearer", "Token", "token", "bearer"])
@pytest.mark.parametrize("prefix", ["/replicate/v1", "/replicate", "/replicate/v1/v1"])
def test_old_schemes_and_both_shapes_of_address_are_understood(
    gateway: Processes, key: str, aborted: str, scheme: str, prefix: str
) -> None:
    answer = httpx.get(
        f"{gateway.url}{prefix}/predictions/{aborted}",
        headers={"Authorization": f"{scheme} {key}"},
        trust_env=False,
    )
    assert answer.status_code == 200
    assert answer.json()["status"] == "aborted"
