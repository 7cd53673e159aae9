"""What users see about themselves, and what erasing leaves."""

from typing import Any

import httpx
import pytest

from tests.support.creating import API, FLUX, create, created, read
from tests.support.running import Running, running

PLANS = """
[server]
contact = "Ann, room 7"
[plans.default]
concurrent_predictions = 5
quotas = [
  { metric = "predictions", limit = 3, per = "day" },
  { metric = "images", limit = 10, per = "month", scope = "team" },
]
[teams.art]
share = true
quotas = [{ metric = "cost_usd", limit = 1.5, per = "month" }]
[prices."black-forest-labs/*"]
per_image = 0.003
"""


def flux(client: httpx.Client, **given: Any) -> str:
    answer = client.post(FLUX, json={"input": {"prompt": "a fox", **given}})
    assert answer.status_code == 201, answer.text
    made: str = answer.json()["id"]
    return made


def limits(client: httpx.Client) -> dict[str, dict[str, Any]]:
    answer = client.get("/me/v1/limits")
    assert answer.status_code == 200, answer.text
    return {f"{limit['metric']}/{limit['per']}": limit for limit in answer.json()["limits"]}


def settle(gateway: Running, client: httpx.Client, count: int) -> list[dict[str, Any]]:
    def done() -> list[dict[str, Any]] | None:
        rows = client.get("/me/v1/predictions").json()["results"]
        assert len(rows) == count
        return rows if all(row["completed_at"] for row in rows) else None

    return gateway.settle(done)


def test_usage_and_limits_follow_a_prediction_from_its_estimate_to_its_truth() -> None:
    with (
        running(PLANS) as gateway,
        gateway.client(gateway.add_user("ann", team="art")) as ann,
        gateway.client(gateway.add_user("bea", team="art")) as bea,
    ):
        made = flux(ann, num_outputs=3)
        before = limits(ann)
        assert before["predictions/day"]["remaining"] == 2
        assert before["predictions/day"]["scope"] == "user"
        assert before["images/month"]["reserved"] == 3
        assert before["cost_usd/month"]["reserved"] == pytest.approx(0.009)
        assert before["cost_usd/month"]["estimated"] is True
        assert before["cost_usd/month"]["resets_at"] == "2025-07-01T00:00:00.000Z"
        assert limits(bea)["cost_usd/month"]["reserved"] == pytest.approx(0.009)
        assert limits(bea)["predictions/day"]["remaining"] == 3
        whole = ann.get("/me/v1/limits").json()
        assert (whole["running"], whole["concurrent_predictions"]) == (1, 5)
        assert whole["contact"] == "Ann, room 7"
        report = ann.get("/me/v1/usage").json()
        assert report["total"]["predictions"] == report["total"]["running"] == 1
        # What runs has no known cost yet, and that is not nothing.
        assert report["total"]["estimated_cost_usd"] is None

        [row] = settle(gateway, ann, 1)
        assert (row["id"], row["images"], row["estimated_cost_usd"]) == (made, 3, 0.009)
        after = limits(ann)
        assert after["images/month"]["used"] == 3
        assert after["images/month"]["reserved"] == 0
        assert limits(bea)["cost_usd/month"]["used"] == pytest.approx(0.009)
        report = ann.get("/me/v1/usage", params={"by": "model,day", "since": "1d"}).json()
        [line] = report["lines"]
        assert line["model"] == "black-forest-labs/flux-schnell"
        assert line["day"] == "2025-06-15"
        assert line["images"] == 3
        assert line["estimated_cost_usd"] == 0.009
        assert bea.get("/me/v1/usage").json()["lines"] == []


def test_a_cost_that_nobody_knows_is_null_and_never_zero() -> None:
    with running(PLANS) as gateway, gateway.client(gateway.add_user("ann")) as ann:
        created(ann, "echo", value=1)
        flux(ann)
        settle(gateway, ann, 2)
        report = ann.get("/me/v1/usage").json()
        costs = {line["model"]: line["estimated_cost_usd"] for line in report["lines"]}
        assert costs == {"black-forest-labs/flux-schnell": 0.003, "simulated/echo": None}
        assert report["total"]["estimated_cost_usd"] == 0.003
        assert report["total"]["unpriced"] == 1


def test_asking_about_oneself_is_never_refused_by_a_quota() -> None:
    toml = '[plans.default]\nquotas = [{ metric = "requests", limit = 4, per = "minute" }]'
    with running(toml) as gateway, gateway.client(gateway.add_user("ann")) as ann:
        for _ in range(8):
            assert ann.get("/me/v1/limits").status_code == 200
        assert ann.get(f"{API}/models").status_code == 429
        assert limits(ann)["requests/minute"]["remaining"] == 0
        assert ann.get("/me/v1/usage").status_code == 200


def test_what_makes_no_sense_is_refused_in_the_usual_shape() -> None:
    with running(PLANS) as gateway, gateway.client(gateway.add_user("ann")) as ann:
        for path, status in (
            ("/me/v1/usage?since=whenever", 400),
            ("/me/v1/usage?by=colour", 400),
            ("/me/v1/usage?nonsense=1", 400),
            ("/me/v1/predictions?cursor=none", 400),
            ("/me/v1/predictions?limit=0", 400),
            ("/me/v1/nothing", 404),
        ):
            answer = ann.get(path)
            assert answer.status_code == status, path
            assert answer.headers["content-type"] == "application/problem+json"
            assert isinstance(answer.json()["detail"], str)
        assert ann.post("/me/v1/usage").status_code == 405
        assert ann.request("OPTIONS", "/me/v1/usage").headers["allow"] == "GET, HEAD, OPTIONS"
        assert ann.head("/me/v1/usage").status_code == 200
        assert httpx.get(f"{gateway.url}/me/v1/usage").status_code == 401


def test_what_can_be_asked_is_described() -> None:
    with running() as gateway, gateway.client(gateway.add_user("ann")) as ann:
        described = ann.get("/me/v1/openapi.json").json()
        assert set(described["paths"]) >= {"/me/v1/usage", "/me/v1/limits", "/me/v1/predictions"}
        for path in ("usage", "limits", "predictions"):
            shape = described["paths"][f"/me/v1/{path}"]["get"]["responses"]["200"]
            name = shape["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
            needed = described["components"]["schemas"][name]["required"]
            assert set(needed) <= set(ann.get(f"/me/v1/{path}").json())


def test_predictions_are_listed_a_page_at_a_time() -> None:
    with running() as gateway, gateway.client(gateway.add_user("ann")) as ann:
        made = [created(ann, "echo", value=n) for n in range(5)]
        found: list[str] = []
        url: str | None = "/me/v1/predictions?limit=2&kind=prediction"
        while url is not None:
            page = ann.get(url).json()
            assert len(page["results"]) <= 2
            found += [row["id"] for row in page["results"]]
            url = page["next"]
        assert sorted(found) == sorted(made)
        assert len(found) == 5


def test_erasing_removes_document_files_and_copies_but_neither_charges_nor_totals() -> None:
    with (
        running(PLANS) as gateway,
        gateway.client(gateway.add_user("ann", team="art")) as ann,
        gateway.client(gateway.add_user("bea", team="art")) as bea,
    ):
        made = flux(ann, num_outputs=2)
        document = gateway.finished(ann, made).json()
        files = document["output"]
        assert [ann.get(url).status_code for url in files] == [200, 200]
        assert read(bea, made).json()["output"] == files  # shared, so bea's copy is in memory too

        assert bea.delete(f"/me/v1/predictions/{made}").status_code == 404
        assert ann.delete(f"/me/v1/predictions/{made}").status_code == 204
        assert ann.delete(f"/me/v1/predictions/{made}").status_code == 204
        gateway.refresh_keys()
        for client in (ann, bea):
            rest = read(client, made)
            assert rest.status_code == 200
            assert rest.headers["cache-control"] == "no-store"
            left = rest.json()
            assert (left["output"], left["input"], left["data_removed"]) == (None, {}, True)
            assert left["status"] == "succeeded"
        assert "a fox" not in ann.get(f"{API}/predictions").text
        assert [ann.get(url).status_code for url in files] == [410, 410]
        gateway.restart()
        assert read(ann, made).json()["output"] is None
        assert [ann.get(url).status_code for url in files] == [410, 410]
        assert limits(ann)["images/month"]["used"] == 2
        assert ann.get("/me/v1/usage").json()["total"]["images"] == 2
        stored = [path for path in (gateway.data_dir / "mirror").rglob("*") if path.is_file()]
        assert not [path for path in stored if path.stat().st_size > 10_000], stored


def test_what_is_erased_while_it_runs_is_charged_at_its_end_and_not_kept() -> None:
    with running(PLANS) as gateway, gateway.client(gateway.add_user("ann")) as ann:
        made = created(ann, "slow", seconds=5)
        assert ann.delete(f"/me/v1/predictions/{made}").status_code == 204
        assert read(ann, made).json()["data_removed"] is True
        [row] = settle(gateway, ann, 1)
        assert row["predict_seconds"] > 4
        rest = read(ann, made).json()
        assert (rest["input"], rest["output"]) == ({}, None)


def test_others_predictions_cannot_be_erased_or_seen() -> None:
    with (
        running() as gateway,
        gateway.client(gateway.add_user("ann")) as ann,
        gateway.client(gateway.add_user("bob")) as bob,
    ):
        made = created(ann, "echo", value=1)
        assert bob.delete(f"/me/v1/predictions/{made}").status_code == 404
        assert bob.get("/me/v1/predictions").json()["results"] == []
        gateway.finished(ann, made)
        assert create(bob, "echo", value=2).status_code == 201


@pytest.mark.parametrize(
    "span",
    [
        "since=9999-12-31T23:59:59-14:00",
        "until=0001-01-01T00:00:00%2B14:00",
        "since=2025-06-02&until=2025-06-01",
        "until=2001-01-01",
    ],
)
def test_a_report_of_no_time_is_refused(span: str) -> None:
    with running() as gateway, gateway.client(gateway.add_user("ann")) as ann:
        answer = ann.get(f"/me/v1/usage?{span}")
        assert (answer.status_code, answer.json()["title"]) == (400, "Invalid query")
