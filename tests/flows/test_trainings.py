"""Trainings: everything that predictions have, under their own rules."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from gateway.ledger import predictions
from gateway.simulator.catalogue import version_id
from tests.support.running import Running, running

API = "/replicate/v1"
TRAINER = "ostris/flux-dev-lora-trainer"
VERSION = version_id(TRAINER)
TRAIN = f"{API}/models/{TRAINER}/versions/{VERSION}/trainings"
HOOK = "https://example.com/hook"
PLANS = """
[plans.trainer]
trainings = true
concurrent_predictions = 2
quotas = [{ metric = "predictions", limit = 3, per = "month" }]

[plans.narrow]
trainings = true
models_allow = ["black-forest-labs/*"]

[plans.fitting]
trainings = true
models_allow = ["ostris/*"]

[teams.art]
share = true
plan = "trainer"
"""


@pytest.fixture
def gateway() -> Iterator[Running]:
    with running(PLANS) as gateway:
        yield gateway


def body(**changes: Any) -> dict[str, Any]:
    given = {"input_images": "https://example.com/data.zip"}
    return {"destination": "acme/fine-tune", "input": given, **changes}


def started(client: httpx.Client, **changes: Any) -> dict[str, Any]:
    answer = client.post(TRAIN, json=body(**changes))
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


def ended(gateway: Running, client: httpx.Client, path: str) -> dict[str, Any]:
    def done() -> dict[str, Any] | None:
        found = dict(client.get(path).json())
        return found if found["status"] in ("succeeded", "failed", "canceled") else None

    return gateway.settle(done)


def test_a_training_runs_to_its_end_and_its_weights_can_be_read(gateway: Running) -> None:
    with gateway.client(gateway.add_user("ann", plan="trainer")) as client:
        training = started(client)
        own = f"{API}/trainings/{training['id']}"
        assert training["urls"]["get"].startswith(f"{gateway.url}{API}/")
        found = ended(gateway, client, own)
        assert found["status"] == "succeeded"
        weights = found["output"]["weights"]
        assert weights.startswith(f"{gateway.url}/replicate/delivery/")
        assert len(client.get(weights).content) == 1_000_000
        assert client.get(f"{API}/predictions/{training['id']}").json() == found
        # What has ended is answered from here, whatever upstream does.
        before = gateway.sim.log.count(operation="trainings.get")
        assert client.get(own).json() == found
        assert gateway.sim.log.count(operation="trainings.get") == before
        assert gateway.sim.log.count(operation="predictions.get") == 0


def test_nobody_needs_to_ask_for_it_to_be_charged(gateway: Running) -> None:
    with gateway.client(gateway.add_user("ann", plan="trainer")) as client:
        made = [started(client)["id"] for _ in range(2)]
        assert client.post(TRAIN, json=body()).status_code == 429
        gateway.settle(lambda: all(_settled(gateway, training) for training in made))
        started(client)
        refused = client.post(TRAIN, json=body())
        assert refused.status_code == 402
        assert "predictions" in refused.json()["detail"]


def _settled(gateway: Running, training_id: str) -> bool:
    row = gateway.ledger(lambda conn: predictions.get(conn, training_id))
    return row is not None and row.settled_at is not None


def test_one_that_upstream_refuses_is_given_back_with_upstreams_words(gateway: Running) -> None:
    with gateway.client(gateway.add_user("ann", plan="trainer")) as client:
        for _ in range(4):
            refused = client.post(TRAIN, json=body(destination="acme/nothing"))
            assert refused.status_code == 404
            assert refused.json()["detail"] == ("The specified training destination does not exist")
        started(client)
        unknown = client.post(f"{API}/models/{TRAINER}/versions/{'0' * 64}/trainings", json=body())
        assert unknown.status_code == 404


def test_trainings_need_the_plan_or_the_role(gateway: Running) -> None:
    with gateway.client(gateway.add_user("member")) as member:
        refused = member.post(TRAIN, json=body())
        assert refused.status_code == 403
        assert gateway.sim.log.count(operation="trainings.create") == 0
    with gateway.client(gateway.add_user("manager", role="manage")) as manager:
        started(manager)


def test_rules_on_models_go_by_the_base_model(gateway: Running) -> None:
    with gateway.client(gateway.add_user("ann", plan="narrow")) as client:
        assert client.post(TRAIN, json=body()).status_code == 403
        # Not even as a version of a model that is allowed.
        posing = f"{API}/models/black-forest-labs/flux-schnell/versions/{VERSION}/trainings"
        assert client.post(posing, json=body()).status_code == 422
        assert gateway.sim.log.count(operation="trainings.create") == 0
    with gateway.client(gateway.add_user("bea", plan="fitting")) as client:
        started(client)


def test_input_is_turned_and_webhooks_stay_here(gateway: Running) -> None:
    with gateway.client(gateway.add_user("ann", plan="trainer")) as client:
        file = client.post(f"{API}/files", files={"content": ("d.zip", b"zip")}).json()
        url = file["urls"]["get"]
        training = started(
            client,
            input={"input_images": url},
            webhook=HOOK,
            webhook_events_filter=["completed"],
        )
        assert training["input"]["input_images"] == url
        assert training["webhook"] == HOOK
        assert training["webhook_events_filter"] == ["completed"]
        (entry,) = gateway.sim.log.entries(operation="trainings.create")
        assert json.loads(entry.body) == {
            "destination": "acme/fine-tune",
            "input": {"input_images": f"{gateway.sim.api_url}/v1/files/{file['id']}"},
        }
        again = client.get(f"{API}/trainings/{training['id']}").json()
        assert again["input"] == {"input_images": url}


@pytest.mark.parametrize("noun", ["trainings", "predictions"])
def test_it_can_be_canceled_under_both_paths(gateway: Running, noun: str) -> None:
    with gateway.client(gateway.add_user("ann", plan="trainer")) as client:
        training = started(client)
        canceled = client.post(f"{API}/{noun}/{training['id']}/cancel")
        assert canceled.status_code == 200, canceled.text
        path = f"{API}/trainings/{training['id']}"
        assert ended(gateway, client, path)["status"] == "canceled"
        assert gateway.sim.log.count(operation="trainings.cancel") == 1


def test_lists_keep_trainings_and_predictions_apart(gateway: Running) -> None:
    with gateway.client(gateway.add_user("ann", plan="trainer")) as client:
        training = started(client)
        made = client.post(
            f"{API}/models/simulated/echo/predictions", json={"input": {"value": 1}}
        ).json()
        trainings = client.get(f"{API}/trainings").json()["results"]
        others = client.get(f"{API}/predictions").json()["results"]
        assert [item["id"] for item in trainings] == [training["id"]]
        assert [item["id"] for item in others] == [made["id"]]
        assert client.get(f"{API}/trainings/{made['id']}").status_code == 404
        assert client.post(f"{API}/trainings/{made['id']}/cancel").status_code == 404


def test_trainings_of_others_do_not_exist_and_a_sharing_team_only_reads(
    gateway: Running,
) -> None:
    with (
        gateway.client(gateway.add_user("ann", team="art")) as ann,
        gateway.client(gateway.add_user("amy", team="art")) as amy,
        gateway.client(gateway.add_user("bea", role="admin")) as bea,
    ):
        training = started(ann)
        for noun in ("trainings", "predictions"):
            path = f"{API}/{noun}/{training['id']}"
            assert amy.get(path).status_code == 200
            assert amy.post(f"{path}/cancel").status_code == 404
            assert bea.get(path).status_code == 404
            assert bea.post(f"{path}/cancel").status_code == 404
        assert amy.get(f"{API}/trainings").json()["results"] == []
        assert gateway.sim.log.count(operation="trainings.cancel") == 0
