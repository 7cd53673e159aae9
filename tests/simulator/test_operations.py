"""The operations table and the answers, held against the official description.

The description is not part of the project: where it is not lying beside the checkout, these tests
are skipped.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from gateway.simulator.api import HANDLERS
from gateway.simulator.operations import OPERATIONS, find_operation
from gateway.simulator.shelf import TRAINER
from tests.simulator.conftest import Api

CHECKOUT = Path(__file__).parents[2]
DESCRIPTION = CHECKOUT / "../shared/reference/replicate-openapi.json"
TYPES: Mapping[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "array": (list,),
    "object": (dict,),
}


@pytest.fixture(scope="session")
def description() -> dict[str, Any]:
    if not DESCRIPTION.exists():
        pytest.skip("the official description is not here")
    found: dict[str, Any] = json.loads(DESCRIPTION.read_text())
    return found


def test_there_are_exactly_the_official_operations(description: dict[str, Any]) -> None:
    official = {
        (operation["operationId"], method.upper(), path.count("/"))
        for path, methods in description["paths"].items()
        for method, operation in methods.items()
    }
    ours = {
        (operation.name, operation.method, operation.template.count("/") - 1)
        for operation in OPERATIONS
    }
    assert ours == official
    assert len(OPERATIONS) == 37


def test_official_paths_lead_to_the_operation_of_that_name(description: dict[str, Any]) -> None:
    for path, methods in description["paths"].items():
        for method, operation in methods.items():
            found = find_operation(method.upper(), "/v1" + path.replace("{", "").replace("}", ""))
            assert found is not None
            assert found[0].name == operation["operationId"]


def test_every_operation_is_handled_and_named_once() -> None:
    names = [operation.name for operation in OPERATIONS]
    assert sorted(names) == sorted(set(names)) == sorted(HANDLERS)


def faults(
    value: Any, schema: Mapping[str, Any], root: Mapping[str, Any], where: str = ""
) -> list[str]:
    """Return where a value does not fit a schema of the description."""
    if "$ref" in schema:
        return faults(value, root["components"]["schemas"][schema["$ref"].split("/")[-1]], root)
    if value is None:
        return [] if schema.get("nullable") or "type" not in schema else [f"{where} is null"]
    kind = schema.get("type")
    if kind is not None and not isinstance(value, TYPES[kind]):
        return [f"{where} is not {kind}"]
    found = []
    if "enum" in schema and value not in schema["enum"]:
        found.append(f"{where} is none of {schema['enum']}")
    if isinstance(value, dict):
        found += [f"{where}.{name} is missing" for name in schema.get("required", [])
                  if name not in value]  # fmt: skip
        for name, inner in schema.get("properties", {}).items():
            if name in value:
                found += faults(value[name], inner, root, f"{where}.{name}")
    if isinstance(value, list) and "items" in schema:
        for index, item in enumerate(value):
            found += faults(item, schema["items"], root, f"{where}[{index}]")
    return found


async def test_answers_fit_the_official_schemas(api: Api, description: dict[str, Any]) -> None:
    flux = "/models/black-forest-labs/flux-schnell"
    done = await api.finished("black-forest-labs/flux-schnell", {"prompt": "x"})
    upload = (await api.post("/files", files={"content": ("a.bin", b"b")})).json()
    (hello,) = (await api.get("/models/replicate/hello-world/versions")).json()["results"]
    trainer = (await api.get(f"/models/{TRAINER}")).json()["latest_version"]["id"]
    training = await api.post(
        f"/models/{TRAINER}/versions/{trainer}/trainings",
        json={"destination": "acme/fine-tune", "input": {"input_images": "https://e.x/a.zip"}},
    )
    api.clock.advance(60)
    paths = {
        "account.get": "/account",
        "collections.list": "/collections",
        "collections.get": "/collections/text-to-image",
        "deployments.list": "/deployments",
        "deployments.get": "/deployments/acme/flux-fast",
        "files.list": "/files",
        "files.get": f"/files/{upload['id']}",
        "hardware.list": "/hardware",
        "models.list": "/models",
        "models.get": flux,
        "models.examples.list": f"{flux}/examples",
        "models.versions.list": "/models/replicate/hello-world/versions",
        "models.versions.get": f"/models/replicate/hello-world/versions/{hello['id']}",
        "predictions.list": "/predictions",
        "predictions.get": f"/predictions/{done['id']}",
        "search": "/search?query=flux",
        "trainings.list": "/trainings",
        "trainings.get": f"/trainings/{training.json()['id']}",
        "webhooks.default.secret.get": "/webhooks/default/secret",
    }
    schemas = {
        operation["operationId"]: operation["responses"]["200"]["content"]["application/json"]
        for methods in description["paths"].values()
        for operation in methods.values()
        if "application/json" in operation["responses"].get("200", {}).get("content", {})
    }
    for name, path in paths.items():
        answer = await api.get(path)
        assert answer.status_code == 200, (name, answer.text)
        assert faults(answer.json(), schemas[name]["schema"], description, name) == []
