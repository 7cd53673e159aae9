"""The administration over HTTP: as described, for admins only, and every change on record."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.checks import CHECKS, load_all_checks
from schemathesis.core.result import Ok

from tests.support.creating import API, FLUX, create, created
from tests.support.running import Running, running

A = "/admin/v1"
TOML = """
[server]
contact = "Ann, room 7"
[plans.pro]
concurrent_predictions = 7
quotas = [{ metric = "cost_usd", limit = 20, per = "month" }]
[teams.art]
plan = "pro"
quotas = [{ metric = "images", limit = 500, per = "day" }]
webhook = "https://example.com/hook/secret-part"
webhook_secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
[prices."black-forest-labs/*"]
per_image = 0.003
"""


@pytest.fixture(scope="module")
def gateway() -> Iterator[Running]:
    with running(TOML) as gateway:
        yield gateway


@pytest.fixture(scope="module")
def admin(gateway: Running) -> Iterator[httpx.Client]:
    with gateway.client(gateway.add_user("root", role="admin")) as client:
        yield client


def pages(client: httpx.Client, path: str) -> list[Any]:
    found: list[Any] = []
    url: str | None = path
    while url is not None:
        answer = client.get(url)
        assert answer.status_code == 200, answer.text
        found += answer.json()["results"]
        url = answer.json()["next"]
    return found


def made_key(admin: httpx.Client, user: str) -> str:
    answer = admin.post(f"{A}/keys", json={"user": user, "label": "for a test"})
    assert answer.status_code == 201, answer.text
    key: str = answer.json()["key"]
    return key


def audit(admin: httpx.Client, action: str) -> list[Any]:
    return [entry for entry in pages(admin, f"{A}/audit?limit=7") if entry["action"] == action]


def test_only_admins_are_let_in(gateway: Running, admin: httpx.Client) -> None:
    addresses = list(admin.get(f"{A}/openapi.json").json()["paths"])
    assert len(addresses) > 20
    with gateway.client(gateway.add_user("boss", role="manage")) as boss:
        for path in addresses:
            place = path.replace("{", "").replace("}", "")
            assert httpx.get(f"{gateway.url}{place}").status_code in (401, 405)
            assert boss.get(place).status_code in (403, 405)
    assert admin.get(f"{A}/nothing").status_code == 404


def test_a_user_is_added_changed_and_removed_and_each_change_is_on_record(
    gateway: Running, admin: httpx.Client
) -> None:
    new = {"name": "cleo", "team": "art"}
    user = admin.post(f"{A}/users", json=new)
    assert user.status_code == 201, user.text
    assert admin.post(f"{A}/users", json=new).status_code == 409
    assert admin.post(f"{A}/users", json={"name": "x", "team": "none"}).status_code == 422
    with gateway.client(made_key(admin, "cleo")) as cleo:
        assert cleo.get("/me/v1/limits").json()["plan"] == "pro"
        patch = {
            "plan": "default",
            "overrides": {
                "concurrent_predictions": 1,
                "quotas": [{"metric": "predict_seconds", "limit": 2.5, "per": "day"}],
            },
        }
        assert admin.patch(f"{A}/users/cleo", json=patch).status_code == 200
        gateway.refresh_keys()
        seen = cleo.get("/me/v1/limits").json()
        assert (seen["plan"], seen["concurrent_predictions"]) == ("default", 1)
        limits = {limit["metric"]: limit for limit in seen["limits"]}
        assert limits["predict_seconds"]["limit"] == 2.5
        assert limits["images"]["scope"] == "team"
        # Left out is left as it is; null takes away.
        changed = admin.patch(f"{A}/users/cleo", json={"plan": None}).json()
        assert changed["plan"] is None
        assert changed["overrides"]["concurrent_predictions"] == 1
        standing = admin.get(f"{A}/users/cleo").json()["standing"]
        assert standing["plan"] == "pro"
        admin.patch(f"{A}/users/cleo", json={"disabled": True})
        gateway.refresh_keys()
        assert cleo.get("/me/v1/limits").status_code == 401
    assert admin.delete(f"{A}/users/cleo").json() == {"erased_predictions": 0}
    assert admin.get(f"{A}/users/cleo").status_code == 404
    for action in ("users.add", "users.set", "users.remove", "keys.create"):
        entry = next(entry for entry in audit(admin, action) if entry["subject"] == "cleo")
        assert entry["actor"] == "admin API: root"
        assert entry["source"] == "127.0.0.1"
        assert entry["at"].startswith("2025-06-15T")


def test_keys_are_listed_without_themselves_and_revoked(
    gateway: Running, admin: httpx.Client
) -> None:
    admin.post(f"{A}/users", json={"name": "dora"})
    key = made_key(admin, "dora")
    [row] = pages(admin, f"{A}/keys?user=dora&limit=1")
    assert key not in str(row)
    with gateway.client(key) as dora:
        assert dora.get("/me/v1/usage").status_code == 200
        assert admin.delete(f"{A}/keys/{row['id']}").status_code == 204
        gateway.refresh_keys()
        assert dora.get("/me/v1/usage").status_code == 401
    assert pages(admin, f"{A}/keys?user=dora")[0]["state"] == "revoked"
    assert admin.delete(f"{A}/keys/none").status_code == 404


def test_what_is_in_force_is_shown_without_secrets(admin: httpx.Client) -> None:
    assert [plan["name"] for plan in pages(admin, f"{A}/plans")] == ["default", "pro"]
    [team] = pages(admin, f"{A}/teams")
    assert (team["plan"], team["warned"]) == ("pro", True)
    assert "secret-part" not in str(team)
    prices = {price["pattern"]: price for price in pages(admin, f"{A}/prices?limit=1")}
    assert prices["black-forest-labs/*"]["per_image"] == 0.003
    # The shipped ones hold where the configuration says nothing.
    assert "black-forest-labs/flux-dev" not in prices
    assert prices["deepseek-ai/deepseek-r1"]["per_output_token"] == 0.00001


def test_usage_predictions_and_erasing(gateway: Running, admin: httpx.Client) -> None:
    with gateway.client(gateway.add_user("eve", team="art")) as eve:
        made = eve.post(FLUX, json={"input": {"prompt": "a fox"}}).json()["id"]
        url = gateway.finished(eve, made).json()["output"][0]
        created(eve, "echo", value=1)
        usage = admin.get(f"{A}/usage?by=user,model&user=eve").json()
        assert {line["model"] for line in usage["lines"]} >= {"simulated/echo"}
        assert usage["total"]["predictions"] == 2
        assert len(pages(admin, f"{A}/predictions?team=art&limit=1")) == 2
        detail = admin.get(f"{A}/predictions/{made}").json()
        assert detail["document"]["input"]["prompt"] == "a fox"
        assert eve.get(url).status_code == 200
        gateway.settle(lambda: admin.get(f"{A}/mirror").json()["files"].get("stored", 0) >= 1)
        assert admin.post(f"{A}/mirror/verify").json()["faults"] == []
        assert admin.delete(f"{A}/predictions/{made}").status_code == 204
        gateway.refresh_keys()
        assert eve.get(url).status_code == 410
        assert eve.get(f"{API}/predictions/{made}").json()["output"] is None
        assert admin.delete(f"{A}/predictions/nothing").status_code == 404
        erased = admin.delete(f"{A}/users/eve?purge=true").json()["erased_predictions"]
        assert erased == 1
        gateway.refresh_keys()
        assert create(eve, "echo", value=1).status_code == 401
    assert admin.get(f"{A}/usage?by=user").json()["total"]["predictions"] >= 2


def test_storage_is_measured_cleared_and_pruned(admin: httpx.Client) -> None:
    assert admin.get(f"{A}/cache").json()["max_bytes"] > 0
    assert admin.post(f"{A}/cache/clear").status_code == 200
    assert admin.post(f"{A}/prune").status_code == 200
    assert admin.get(f"{A}/webhooks?state=dead").json() == {"next": None, "results": []}
    assert admin.post(f"{A}/webhooks/retry").json() == {"retried": 0}
    assert admin.post(f"{A}/webhooks/none/retry").status_code == 404
    assert admin.get(f"{A}/orphans").json()["results"] == []
    assert admin.post(f"{A}/orphans/none", json={"prediction_id": "p"}).status_code == 404
    assert admin.delete(f"{A}/orphans/none").status_code == 404
    assert audit(admin, "cache.clear")


def test_what_serve_publishes_and_what_owners_erase_is_on_record(
    gateway: Running, admin: httpx.Client
) -> None:
    [published] = audit(admin, "config.publish")
    assert (published["actor"], published["subject"]) == ("serve", "configuration")
    assert published["detail"]["teams"] == ["art"]
    assert "secret-part" not in admin.get(f"{A}/audit").text
    with gateway.client(gateway.add_user("owner")) as owner:
        made = created(owner, "echo", value=1)
        assert owner.delete(f"/me/v1/predictions/{made}").status_code == 204
    [erased] = [entry for entry in audit(admin, "predictions.delete") if entry["subject"] == made]
    assert (erased["actor"], erased["source"]) == ("owner", "127.0.0.1")


@pytest.mark.slow
def test_the_running_gateway_keeps_to_its_own_description(
    gateway: Running, admin: httpx.Client
) -> None:
    load_all_checks()
    wanted = (
        "not_a_server_error",
        "status_code_conformance",
        "content_type_conformance",
        "response_headers_conformance",
        "response_schema_conformance",
        "negative_data_rejection",
        "unsupported_method",
        "ignored_auth",
    )
    checks = CHECKS.get_by_names(list(wanted))
    document = admin.get(f"{A}/openapi.json").json()
    schema = schemathesis.openapi.from_dict(document)
    schema.config.update(base_url=gateway.url)
    key = admin.headers["authorization"]
    tried = 0
    for result in schema.get_all_operations():
        assert isinstance(result, Ok)
        operation = result.ok()

        @settings(
            max_examples=12,
            deadline=None,
            derandomize=True,
            database=None,
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy())
        def conforms(case: Any) -> None:
            nonlocal tried
            tried += 1
            case.call_and_validate(headers={"Authorization": key}, checks=checks)

        conforms()
        # Whatever was tried: the admin is still there.
        assert admin.get(f"{A}/audit").status_code == 200, operation.label
    assert tried > 100
