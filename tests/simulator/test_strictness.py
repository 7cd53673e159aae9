"""What is refused, and with which words."""

from typing import Any

import pytest

from gateway.simulator.shelf import LORA_VERSION
from tests.simulator.conftest import Api

FLUX = "/models/black-forest-labs/flux-schnell/predictions"


@pytest.mark.parametrize("credentials", ["", "Bearer wrong", "Basic {token}", "{token}"])
async def test_a_wrong_token_is_answered_401(api: Api, credentials: str) -> None:
    headers = {"Authorization": credentials.format(token=api.simulator.token)}
    answer = await api.client.get(f"{api.simulator.api_url}/v1/account", headers=headers)
    assert answer.status_code == 401
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json() == {
        "title": "Unauthenticated",
        "detail": "You did not pass a valid authentication token",
        "status": 401,
    }


async def test_both_schemes_of_credentials_are_known(api: Api) -> None:
    for scheme in ("Bearer", "Token", "bearer"):
        headers = {"Authorization": f"{scheme} {api.simulator.token}"}
        assert (await api.get("/account", headers=headers)).status_code == 200


async def test_unknown_members_of_a_create_are_refused(api: Api) -> None:
    for body in (
        {"input": {"prompt": "x"}, "user": "me"},
        {"input": {"prompt": "x"}, "version": "black-forest-labs/flux-schnell"},
    ):
        answer = await api.post(FLUX, json=body)
        assert answer.status_code == 422
        assert "is not allowed" in answer.json()["detail"]
    assert api.simulator.prediction_ids() == []


async def test_the_known_members_are_taken_and_the_webhook_is_noted(api: Api) -> None:
    body = {
        "input": {"prompt": "x"},
        "stream": True,
        "webhook": "https://example.com/hook",
        "webhook_events_filter": ["start", "completed"],
        "webhook_completed": "https://example.com/old",
    }
    answer = await api.post(FLUX, json=body)
    assert answer.status_code == 201
    document = answer.json()
    assert document["webhook"] == "https://example.com/hook"
    assert document["webhook_events_filter"] == ["start", "completed"]
    assert document["webhook_completed"] == "https://example.com/old"
    assert api.simulator.webhooks() == {document["id"]: "https://example.com/hook"}


@pytest.mark.parametrize(
    ("given", "kind", "field", "line"),
    [
        ({}, "required", "input.prompt", "- input: prompt is required\n"),
        (
            {"prompt": 3},
            "invalid_type",
            "input.prompt",
            "- input.prompt: Invalid type. Expected: string, given: integer\n",
        ),
        (
            {"prompt": "x", "num_outputs": 5},
            "number_lte",
            "input.num_outputs",
            "- input.num_outputs: Must be less than or equal to 4\n",
        ),
        (
            {"prompt": "x", "num_outputs": "2"},
            "invalid_type",
            "input.num_outputs",
            "- input.num_outputs: Invalid type. Expected: integer, given: string\n",
        ),
        (
            {"prompt": "x", "go_fast": 1},
            "invalid_type",
            "input.go_fast",
            "- input.go_fast: Invalid type. Expected: boolean, given: integer\n",
        ),
        (
            {"prompt": "x", "output_format": "tiff"},
            "enum",
            "input.output_format",
            "- input.output_format: output_format must be one of the following: "
            '"webp", "jpg", "png"\n',
        ),
    ],
)
async def test_an_input_that_does_not_fit_is_told_field_by_field(
    api: Api, given: dict[str, Any], kind: str, field: str, line: str
) -> None:
    answer = await api.post(FLUX, json={"input": given})
    assert answer.status_code == 422
    body = answer.json()
    assert body["title"] == "Input validation failed"
    assert body["detail"] == line
    (told,) = body["invalid_fields"]
    assert (told["type"], told["field"]) == (kind, field)


async def test_names_that_a_model_does_not_know_are_let_pass(api: Api) -> None:
    answer = await api.post(FLUX, json={"input": {"prompt": "x", "unheard_of": 1}})
    assert answer.json()["input"]["unheard_of"] == 1


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"3"])
async def test_a_body_that_is_no_object_is_answered_400(api: Api, body: bytes) -> None:
    assert (await api.post(FLUX, content=body)).status_code == 400


@pytest.mark.parametrize("body", [{}, {"input": None}, {"input": []}, {"input": "x"}])
async def test_an_input_that_is_no_object_is_answered_422(api: Api, body: Any) -> None:
    assert (await api.post(FLUX, json=body)).status_code == 422


@pytest.mark.parametrize(
    "version",
    [
        "0" * 64,
        "lucataco/flux-schnell-lora",
        "nobody/nothing",
        f"nobody/nothing:{LORA_VERSION}",
        "somebody-else/secret",
        "rubbish",
        "",
    ],
)
async def test_a_version_that_may_not_be_run_is_answered_422(api: Api, version: str) -> None:
    answer = await api.post("/predictions", json={"version": version, "input": {"prompt": "x"}})
    assert answer.status_code == 422
    assert answer.json()["title"] == "Invalid version or not permitted"


@pytest.mark.parametrize(
    "version",
    [LORA_VERSION, f"lucataco/flux-schnell-lora:{LORA_VERSION}", "black-forest-labs/flux-schnell"],
)
async def test_the_three_ways_to_name_a_version_work(api: Api, version: str) -> None:
    answer = await api.post("/predictions", json={"version": version, "input": {"prompt": "x"}})
    assert answer.status_code == 201


@pytest.mark.parametrize(
    "path",
    [
        "/models/lucataco/flux-schnell-lora/predictions",
        "/models/nobody/nothing/predictions",
        "/deployments/acme/nothing/predictions",
        "/deployments/nobody/flux-fast/predictions",
    ],
)
async def test_creating_by_a_name_that_cannot_be_run_so_is_answered_404(
    api: Api, path: str
) -> None:
    assert (await api.post(path, json={"input": {"prompt": "x"}})).status_code == 404


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/nothing"), ("PUT", "/account"), ("GET", "/predictions/"), ("POST", "/search")],
)
async def test_what_the_api_does_not_have_is_answered_404(api: Api, method: str, path: str) -> None:
    assert (await api.request(method, path)).status_code == 404


@pytest.mark.parametrize("value", ["4", "4s", "x", "", "5 minutes", "1d"])
async def test_a_cancel_after_that_is_none_is_refused(api: Api, value: str) -> None:
    headers = {"Cancel-After": value}
    answer = await api.post(FLUX, json={"input": {"prompt": "x"}}, headers=headers)
    assert answer.status_code == 422


async def test_webhooks_go_to_https_only(api: Api) -> None:
    body = {"input": {"prompt": "x"}, "webhook": "http://example.com/hook"}
    assert (await api.post(FLUX, json=body)).status_code == 422
    body = {"input": {"prompt": "x"}, "webhook_events_filter": ["sometimes"]}
    assert (await api.post(FLUX, json=body)).status_code == 422


async def test_without_credit_every_create_is_answered_402(api: Api) -> None:
    api.simulator.configure(out_of_credit=True)
    answer = await api.post(FLUX, json={"input": {"prompt": "x"}})
    assert answer.status_code == 402
    assert answer.json()["title"] == "Insufficient credit"
    assert (await api.get("/account")).status_code == 200


async def test_answers_are_compressed_when_asked_and_set_cookies(api: Api) -> None:
    made = await api.post(FLUX, json={"input": {"prompt": "x" * 900}})
    assert made.headers["content-encoding"] == "gzip"
    assert "__cf_bm=" in made.headers["set-cookie"]
    plain = await api.get(
        f"/predictions/{made.json()['id']}", headers={"Accept-Encoding": "identity"}
    )
    assert "content-encoding" not in plain.headers
    assert b": " not in plain.content.split(b'"prompt"')[0]


async def test_a_new_prediction_can_be_invisible_for_a_while(api: Api) -> None:
    api.simulator.configure(visible_after_s=2.0)
    fresh = await api.create("simulated/echo", {"value": 1})
    assert (await api.get(f"/predictions/{fresh['id']}")).status_code == 404
    api.clock.advance(2)
    assert (await api.get(f"/predictions/{fresh['id']}")).status_code == 200
