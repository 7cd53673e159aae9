"""Rules on models go by the name that was asked for, and cannot be walked around."""

from collections.abc import Iterator

import httpx
import pytest

from tests.support.creating import API, HELLO_VERSION, LORA_VERSION, predictions_of
from tests.support.running import Running, running

PLANS = """
[server]
contact = "the gateway's team"
[plans.flux]
models_allow = ["black-forest-labs/*", "lucataco/flux-schnell-lora"]
[plans.no-meta]
models_deny = ["meta/*", "simulated/hidden-*"]
[plans.hello]
models_allow = ["replicate/*"]
[plans.flux-deployment]
models_allow = ["acme/flux-fast"]
[plans.lora-only]
models_allow = ["lucataco/*"]
[plans.lora-not]
models_deny = ["LUCATACO/flux-schnell-lora"]
[plans.both]
models_allow = ["meta/*", "replicate/*"]
models_deny = ["meta/meta-llama-3-*"]
"""

INPUT = {"prompt": "a fox"}
FLUX = "black-forest-labs/flux-schnell"
LORA = "lucataco/flux-schnell-lora"
LLAMA = "meta/meta-llama-3-8b-instruct"
HELLO = "replicate/hello-world"
DEPLOYMENT = f"{API}/deployments/acme/flux-fast/predictions"


@pytest.fixture
def gateway() -> Iterator[Running]:
    with running(PLANS) as gateway:
        yield gateway


@pytest.fixture
def people(gateway: Running) -> Iterator["People"]:
    people = People(gateway)
    yield people
    people.close()


class People:
    """A client for each plan."""

    def __init__(self, gateway: Running) -> None:
        self._gateway = gateway
        self._clients: dict[str, httpx.Client] = {}

    def __getitem__(self, plan: str) -> httpx.Client:
        if plan not in self._clients:
            key = self._gateway.add_user(plan, plan=None if plan == "default" else plan)
            self._clients[plan] = self._gateway.client(key)
        return self._clients[plan]

    def close(self) -> None:
        for client in self._clients.values():
            client.close()


def by_model(client: httpx.Client, model: str) -> int:
    return client.post(predictions_of(model), json={"input": INPUT}).status_code


def by_version(client: httpx.Client, version: str, **given: object) -> httpx.Response:
    body = {"version": version, "input": given or INPUT}
    return client.post(f"{API}/predictions", json=body)


def test_names_are_matched_by_globs_whatever_their_case(people: People) -> None:
    assert by_model(people["flux"], FLUX) == 201
    assert by_model(people["flux"], "Black-Forest-Labs/FLUX-Schnell") == 201
    assert by_model(people["flux"], LLAMA) == 403
    assert by_model(people["no-meta"], LLAMA) == 403
    assert by_model(people["no-meta"], "META/Meta-Llama-3-8B-Instruct") == 403
    assert by_model(people["no-meta"], "simulated/hidden-version") == 403
    assert by_model(people["no-meta"], FLUX) == 201
    assert by_model(people["both"], LLAMA) == 403
    assert by_model(people["default"], LLAMA) == 201


def test_the_refusal_names_the_model_and_whom_to_ask(people: People, gateway: Running) -> None:
    before = gateway.sim.log.count(origin="api")
    refused = people["flux"].post(predictions_of(LLAMA), json={"input": INPUT})
    assert refused.status_code == 403
    assert LLAMA in refused.json()["detail"]
    assert "the gateway's team" in refused.json()["detail"]
    assert refused.headers["content-type"] == "application/problem+json"
    assert refused.headers["x-should-retry"] == "false"
    assert gateway.sim.log.count(origin="api") == before


def test_a_name_in_the_version_field_is_held_to_the_rules(people: People) -> None:
    assert by_version(people["no-meta"], LLAMA).status_code == 403
    assert by_version(people["no-meta"], FLUX).status_code == 201


def test_a_version_with_a_name_must_be_that_models_own(people: People) -> None:
    assert by_version(people["flux"], f"{LORA}:{LORA_VERSION}").status_code == 201
    assert by_version(people["hello"], f"{LORA}:{LORA_VERSION}").status_code == 403
    # An allowed name in front of somebody else's version.
    disguised = by_version(people["hello"], f"{HELLO}:{LORA_VERSION}")
    assert disguised.status_code == 422
    assert by_version(people["lora-not"], f"{HELLO}:{LORA_VERSION}").status_code == 422
    assert by_version(people["lora-not"], f"{LORA}:{LORA_VERSION}").status_code == 403


def test_a_bare_version_is_found_among_the_models_that_are_allowed_by_name(
    people: People,
) -> None:
    assert by_version(people["flux"], LORA_VERSION).status_code == 201
    # Since then it is known whose it is.
    assert by_version(people["lora-only"], LORA_VERSION).status_code == 201
    assert by_version(people["lora-not"], LORA_VERSION).status_code == 403
    assert by_version(people["hello"], LORA_VERSION).status_code == 403


def test_an_unknown_bare_version_is_refused_until_its_page_was_read(
    people: People, gateway: Running
) -> None:
    client = people["lora-only"]
    refused = by_version(client, LORA_VERSION)
    assert refused.status_code == 403
    assert "call models.versions.get(owner, name, id) once, then repeat" in refused.json()["detail"]
    assert by_version(people["lora-not"], LORA_VERSION).status_code == 403
    assert gateway.sim.log.count(operation="predictions.create") == 0
    page = client.get(f"{API}/models/{LORA}/versions/{LORA_VERSION}")
    assert page.status_code == 200
    assert by_version(client, LORA_VERSION).status_code == 201
    assert by_version(people["lora-not"], LORA_VERSION).status_code == 403


def test_a_model_page_teaches_its_latest_version_and_a_list_all(people: People) -> None:
    client = people["hello"]
    assert by_version(client, HELLO_VERSION, text="Alice").status_code == 403
    assert client.get(f"{API}/models/{HELLO}").status_code == 200
    assert by_version(client, HELLO_VERSION, text="Alice").status_code == 201
    assert by_version(people["lora-only"], LORA_VERSION).status_code == 403
    assert client.get(f"{API}/models/{LORA}/versions").status_code == 200
    assert by_version(people["lora-only"], LORA_VERSION).status_code == 201


def test_without_rules_any_version_goes_through(people: People) -> None:
    assert by_version(people["default"], LORA_VERSION).status_code == 201
    unknown = by_version(people["default"], "0" * 64)
    assert (unknown.status_code, unknown.json()["title"]) == (
        422,
        "Invalid version or not permitted",
    )


def test_a_deployment_goes_by_its_own_name_and_by_its_model(people: People) -> None:
    allowed = {"flux-deployment": 201, "lora-only": 201, "hello": 403, "lora-not": 403}
    for plan, status in allowed.items():
        answer = people[plan].post(DEPLOYMENT, json={"input": INPUT})
        assert answer.status_code == status, plan
