"""Models, versions, trainings, deployments and what else the account has."""

import base64
from typing import Any

import pytest

from gateway.simulator.shelf import LORA_VERSION, TRAINER
from tests.simulator.conftest import Api

NEW = {"owner": "acme", "name": "hot-dog", "visibility": "private", "hardware": "cpu"}


async def trainer_version(api: Api) -> str:
    version: str = (await api.get(f"/models/{TRAINER}")).json()["latest_version"]["id"]
    return version


async def train(api: Api, destination: str = "acme/fine-tune") -> Any:
    path = f"/models/{TRAINER}/versions/{await trainer_version(api)}/trainings"
    given = {"input_images": "https://example.com/my-input-images.zip"}
    return await api.post(path, json={"destination": destination, "input": given})


async def test_a_training_pushes_a_version_that_runs(api: Api) -> None:
    answer = await train(api)
    assert answer.status_code == 201
    fresh = answer.json()
    assert fresh["urls"]["get"].endswith(f"/v1/predictions/{fresh['id']}")
    api.clock.advance(60)
    done = (await api.get(f"/trainings/{fresh['id']}")).json()
    assert done["status"] == "succeeded"
    assert done["urls"]["get"].endswith(f"/v1/trainings/{fresh['id']}")
    name, _, version = done["output"]["version"].partition(":")
    assert name == "acme/fine-tune"
    assert len((await api.plain(done["output"]["weights"])).content) == 1_000_000
    latest = (await api.get("/models/acme/fine-tune")).json()["latest_version"]
    assert latest["id"] == version
    run = await api.create(version, {"prompt": "TOK on a horse"})
    assert (run["model"], run["version"]) == ("acme/fine-tune", version)
    assert (await api.get(f"/predictions/{fresh['id']}")).json() == done
    assert [item["id"] for item in (await api.get("/trainings")).json()["results"]] == [done["id"]]
    assert (await api.get(f"/trainings/{run['id']}")).status_code == 404


async def test_a_training_needs_a_destination_of_the_account(api: Api) -> None:
    for destination in ("acme/nothing", "somebody-else/secret", "replicate/hello-world"):
        answer = await train(api, destination)
        assert answer.status_code == 404
        assert answer.json() == {
            "detail": "The specified training destination does not exist",
            "status": 404,
        }
    path = f"/models/{TRAINER}/versions/{'0' * 64}/trainings"
    body = {"destination": "acme/fine-tune", "input": {}}
    assert (await api.post(path, json=body)).status_code == 404


@pytest.mark.parametrize("resource", ["trainings", "predictions"])
async def test_a_training_is_canceled_by_either_name(api: Api, resource: str) -> None:
    fresh = (await train(api)).json()
    answer = await api.post(f"/{resource}/{fresh['id']}/cancel")
    assert (answer.status_code, answer.json()["status"]) == (200, "canceled")


async def test_a_deployment_runs_its_version_and_says_so(api: Api) -> None:
    path = "/deployments/acme/flux-fast/predictions"
    answer = await api.post(path, json={"input": {"prompt": "x"}})
    assert answer.status_code == 201
    assert answer.json()["deployment"] == "acme/flux-fast"
    assert answer.json()["model"] == "lucataco/flux-schnell-lora"
    answer = await api.request("DELETE", "/deployments/acme/flux-fast")
    assert answer.status_code == 400
    api.clock.advance(901)
    assert (await api.request("DELETE", "/deployments/acme/flux-fast")).status_code == 204


async def test_deployments_are_made_changed_listed_and_deleted(api: Api) -> None:
    body = {
        "name": "mine",
        "model": "lucataco/flux-schnell-lora",
        "version": LORA_VERSION,
        "hardware": "gpu-t4",
        "min_instances": 0,
        "max_instances": 3,
    }
    made = await api.post("/deployments", json=body)
    assert made.status_code == 200
    release = made.json()["current_release"]
    assert (release["number"], release["created_by"]["username"]) == (1, "acme")
    assert (await api.post("/deployments", json=body)).status_code == 409
    assert (await api.post("/deployments", json={**body, "max_instances": 21})).status_code == 422
    patch = {"min_instances": 2}
    changed = (await api.request("PATCH", "/deployments/acme/mine", json=patch)).json()
    assert changed["current_release"]["number"] == 2
    assert changed["current_release"]["configuration"]["min_instances"] == 2
    assert (await api.get("/deployments/acme/mine")).json() == changed
    names = [item["name"] for item in (await api.get("/deployments")).json()["results"]]
    assert names == ["mine", "restyle", "flux-fast"]
    assert (await api.request("DELETE", "/deployments/acme/mine")).status_code == 204
    assert (await api.get("/deployments/acme/mine")).status_code == 404


async def test_models_are_made_changed_and_deleted(api: Api) -> None:
    made = await api.post("/models", json=NEW)
    assert made.status_code == 201
    assert made.json()["latest_version"] is None
    assert (await api.post("/models", json=NEW)).status_code == 409
    assert (await api.post("/models", json={**NEW, "owner": "you"})).status_code == 403
    assert (await api.post("/models", json={"owner": "acme"})).status_code == 422
    patch = {"description": "Detect hot dogs", "readme": "# Hot dogs"}
    changed = await api.request("PATCH", "/models/acme/hot-dog", json=patch)
    assert changed.json()["description"] == "Detect hot dogs"
    readme = await api.get("/models/acme/hot-dog/readme")
    assert (readme.text, readme.headers["content-type"]) == (
        "# Hot dogs",
        "text/plain; charset=utf-8",
    )
    assert (await api.request("DELETE", "/models/acme/hot-dog")).status_code == 204
    assert (await api.get("/models/acme/hot-dog")).status_code == 404
    assert (await api.request("DELETE", "/models/replicate/hello-world")).status_code == 403
    assert (await api.request("DELETE", "/models/acme/private-pictures")).status_code == 400


async def test_versions_are_listed_read_and_deleted(api: Api) -> None:
    path = "/models/acme/private-pictures/versions"
    (version,) = (await api.get(path)).json()["results"]
    schema = version["openapi_schema"]["components"]["schemas"]["Input"]
    assert schema["required"] == ["prompt"]
    assert (await api.get(f"{path}/{version['id']}")).json() == version
    assert (await api.request("DELETE", f"{path}/{version['id']}")).status_code == 202
    assert (await api.get(f"{path}/{version['id']}")).status_code == 404
    body = {"version": version["id"], "input": {"prompt": "x"}}
    assert (await api.post("/predictions", json=body)).status_code == 422


async def test_private_models_of_others_do_not_exist(api: Api) -> None:
    assert (await api.get("/models/somebody-else/secret")).status_code == 404
    listed = (await api.get("/models")).json()["results"]
    assert {model["visibility"] for model in listed} == {"public"}
    assert (await api.get("/models/acme/private-pictures")).json()["visibility"] == "private"


async def test_models_are_sorted_as_asked(api: Api) -> None:
    path = "/models?sort_by=model_created_at&sort_direction="
    up = [model["name"] for model in (await api.get(path + "asc")).json()["results"]]
    down = [model["name"] for model in (await api.get(path + "desc")).json()["results"]]
    assert up == down[::-1]
    assert up[0] == "flux-schnell"
    assert (await api.get(path + "sideways")).status_code == 400


@pytest.mark.parametrize("text", ["flux schnell", '"flux schnell"'])
async def test_models_are_searched_with_the_query_method(api: Api, text: str) -> None:
    headers = {"Content-Type": "text/plain"}
    answer = await api.request("QUERY", "/models", content=text, headers=headers)
    names = [model["name"] for model in answer.json()["results"]]
    assert names == ["flux-schnell", "flux-schnell-lora"]


async def test_the_search_finds_models_collections_and_pages(api: Api) -> None:
    found = (await api.get("/search?query=image")).json()
    assert list(found) == ["query", "models", "collections", "pages"]
    assert found["models"][0]["metadata"]["score"] == 1.0
    assert found["collections"][0]["slug"] == "text-to-image"
    assert (await api.get("/search?query=flux&limit=1")).json()["models"][1:] == []
    missing = await api.get("/search")
    assert (missing.status_code, missing.json()) == (
        400,
        {"detail": 'Query parameter "query" is required'},
    )


async def test_account_hardware_collections_and_examples(api: Api) -> None:
    assert (await api.get("/account")).json()["username"] == "acme"
    assert {"name": "CPU", "sku": "cpu"} in (await api.get("/hardware")).json()
    assert len((await api.get("/collections")).json()["results"]) == 2
    collection = (await api.get("/collections/text-to-image")).json()
    assert [model["name"] for model in collection["models"]] == [
        "flux-schnell",
        "flux-schnell-lora",
    ]
    assert (await api.get("/collections/nothing")).status_code == 404
    examples = (await api.get("/models/replicate/hello-world/examples")).json()["results"]
    assert examples[0]["output"] == "hello Alice"


async def test_the_webhook_secret_has_the_shape_that_checkers_want(api: Api) -> None:
    key = (await api.get("/webhooks/default/secret")).json()["key"]
    prefix, text = key.split("_")
    assert prefix == "whsec"
    assert len(base64.b64decode(text, validate=True)) == 24
