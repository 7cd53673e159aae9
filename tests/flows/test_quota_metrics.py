"""Every metric of quotas: estimated, then charged by the truth, exactly once."""

from typing import Any

import httpx
import pytest

from gateway.domain.plans import Metric, Overrides, Per, QuotaRule
from gateway.ledger import users
from tests.support.clock import ManualClock
from tests.support.creating import API, FLUX, create, created, predictions_of
from tests.support.running import Running, running

LLAMA = "meta/meta-llama-3-8b-instruct"
PRICES = """
[prices."simulated/slow"]
per_second = 0.01
expected_seconds = 4
[prices."meta/*"]
per_input_token = 0.001
per_output_token = 0.002
expected_tokens = 50
[prices."black-forest-labs/*"]
per_image = 0.003
"""


def plan(*quotas: str, more: str = "") -> str:
    rules = ", ".join(f"{{ {quota} }}" for quota in quotas)
    return f"[plans.default]\nquotas = [{rules}]\n{more}\n{PRICES}"


def limits(client: httpx.Client) -> dict[str, dict[str, Any]]:
    found = client.get("/me/v1/limits").json()["limits"]
    return {f"{limit['metric']}/{limit['per']}": limit for limit in found}


def ended(gateway: Running, client: httpx.Client) -> None:
    gateway.settle(lambda: client.get("/me/v1/limits").json()["running"] == 0)


def test_seconds_are_reserved_by_the_price_tables_guess_and_charged_to_the_microsecond() -> None:
    with (
        running(plan('metric = "predict_seconds", limit = 20, per = "day"')) as gateway,
        gateway.client(gateway.add_user("ann")) as ann,
    ):
        made = created(ann, "slow", seconds=2.345678)
        assert limits(ann)["predict_seconds/day"]["reserved"] == 4
        document = gateway.finished(ann, made).json()
        ended(gateway, ann)
        after = limits(ann)["predict_seconds/day"]
        assert after["reserved"] == 0
        assert after["used"] == pytest.approx(document["metrics"]["predict_time"], abs=1e-6)
        # From now on the model's own history is what the next one is estimated by.
        created(ann, "slow", seconds=1)
        assert limits(ann)["predict_seconds/day"]["reserved"] == pytest.approx(after["used"])


def test_the_estimate_is_the_median_of_the_last_successes() -> None:
    with (
        running(plan('metric = "predict_seconds", limit = 1000, per = "day"')) as gateway,
        gateway.client(gateway.add_user("ann")) as ann,
    ):
        for seconds in (1.0, 7.0, 3.0):
            gateway.finished(ann, created(ann, "slow", seconds=seconds))
        ended(gateway, ann)
        created(ann, "slow", seconds=100)
        assert limits(ann)["predict_seconds/day"]["reserved"] == pytest.approx(3.0, abs=0.01)


def test_parallel_creates_cannot_run_through_a_nearly_empty_budget() -> None:
    # Room for five estimates of four seconds at a cent each.
    toml = plan('metric = "cost_usd", limit = 0.2, per = "month"')
    with running(toml) as gateway, gateway.client(gateway.add_user("ann")) as ann:
        statuses = [create(ann, "slow", seconds=1).status_code for _ in range(8)]
        assert statuses == [201] * 5 + [402] * 3
        ended(gateway, ann)
        # It cost less than was feared, so there is room again.
        assert limits(ann)["cost_usd/month"]["used"] == pytest.approx(0.05, abs=0.001)
        assert create(ann, "slow", seconds=1).status_code == 201


def test_tokens_are_counted_and_priced_by_what_the_answer_says() -> None:
    toml = plan(
        'metric = "tokens", limit = 1000, per = "day"',
        'metric = "cost_usd", limit = 5, per = "day"',
    )
    with running(toml) as gateway, gateway.client(gateway.add_user("ann")) as ann:
        answer = ann.post(predictions_of(LLAMA), json={"input": {"prompt": "a", "max_tokens": 20}})
        assert answer.headers["ratelimit-limit"] in ("500", "1000")
        assert limits(ann)["tokens/day"]["reserved"] == 50
        assert limits(ann)["cost_usd/day"]["reserved"] == pytest.approx(0.1)  # the dearer kind
        told = gateway.finished(ann, answer.json()["id"]).json()["metrics"]
        ended(gateway, ann)
        tokens = (told["input_token_count"], told["output_token_count"])
        assert limits(ann)["tokens/day"]["used"] == sum(tokens)
        cost = tokens[0] * 0.001 + tokens[1] * 0.002
        assert limits(ann)["cost_usd/day"]["used"] == pytest.approx(cost)


def test_images_are_those_that_came_and_only_of_the_models_that_the_rule_names() -> None:
    toml = plan(
        'metric = "images", limit = 10, per = "day", models = ["black-forest-labs/*"]',
        'metric = "images", limit = 50, per = "day"',
    )
    with running(toml) as gateway, gateway.client(gateway.add_user("ann")) as ann:
        ann.post(FLUX, json={"input": {"prompt": "a fox", "num_outputs": 3}})
        created(ann, "single-picture", prompt="a fox")
        ended(gateway, ann)
        narrow, wide = ann.get("/me/v1/limits").json()["limits"]
        assert (narrow["used"], wide["used"]) == (3, 4)


def test_what_failed_costs_its_seconds_and_what_was_canceled_stays_counted() -> None:
    toml = plan(
        'metric = "predictions", limit = 2, per = "day"',
        'metric = "predict_seconds", limit = 100, per = "day"',
        more='[prices."simulated/failing"]\nper_second = 1\nper_prediction = 50\n',
    ).replace(PRICES, "")
    with running(toml) as gateway, gateway.client(gateway.add_user("ann")) as ann:
        failed = gateway.finished(ann, created(ann, "failing", seconds=2)).json()
        assert failed["status"] == "failed"
        slow = created(ann, "slow", seconds=50)
        ann.post(f"{API}/predictions/{slow}/cancel")
        ended(gateway, ann)
        assert limits(ann)["predictions/day"]["used"] == 2
        rows = {row["status"]: row for row in ann.get("/me/v1/predictions").json()["results"]}
        spent = rows["failed"]["predict_seconds"]
        assert spent == pytest.approx(failed["metrics"]["predict_time"], abs=1e-6)
        assert rows["failed"]["estimated_cost_usd"] == pytest.approx(spent)
        assert rows["canceled"]["estimated_cost_usd"] is None
        assert create(ann, "echo", value=1).status_code == 402


def test_a_teams_rule_counts_all_its_members_and_a_loner_has_the_budget_alone() -> None:
    toml = plan('metric = "images", limit = 4, per = "day", scope = "team"') + "[teams.art]\n"
    with (
        running(toml) as gateway,
        gateway.client(gateway.add_user("ann", team="art")) as ann,
        gateway.client(gateway.add_user("bea", team="art")) as bea,
        gateway.client(gateway.add_user("cat")) as cat,
    ):
        three = {"input": {"prompt": "a fox", "num_outputs": 3}}
        assert ann.post(FLUX, json=three).status_code == 201
        assert bea.post(FLUX, json=three).status_code == 402
        assert cat.post(FLUX, json=three).status_code == 201
        ended(gateway, ann)
        assert limits(bea)["images/day"]["used"] == 3
        assert limits(cat)["images/day"]["scope"] == "user"


def test_charges_belong_to_the_window_of_the_creation() -> None:
    with (
        running(plan('metric = "predict_seconds", limit = 100, per = "minute"')) as gateway,
        gateway.client(gateway.add_user("ann")) as ann,
    ):
        created(ann, "slow", seconds=50)
        clock = gateway.clock
        assert isinstance(clock, ManualClock)
        clock.advance(60 - clock.now() % 60)
        gateway.refresh_keys()
        assert limits(ann)["predict_seconds/minute"]["reserved"] == 0
        ended(gateway, ann)
        assert limits(ann)["predict_seconds/minute"]["used"] == 0
        assert ann.get("/me/v1/usage").json()["total"]["predict_seconds"] == pytest.approx(50, 0.01)


def test_overrides_and_plans_take_effect_within_a_second() -> None:
    toml = plan('metric = "predictions", limit = 1, per = "day"') + (
        '[plans.big]\nquotas = [{ metric = "predictions", limit = 3, per = "day" }]\n'
        '[teams.art]\nplan = "big"\n'
    )
    with running(toml) as gateway, gateway.client(gateway.add_user("ann", team="art")) as ann:
        assert limits(ann)["predictions/day"]["limit"] == 3
        [user] = gateway.ledger(users.list_users)
        rule = QuotaRule(Metric.PREDICTIONS, 2, Per.DAY)
        text = Overrides(rules=(rule,), concurrent_predictions=1).to_json()
        gateway.ledger(lambda conn: users.set_overrides(conn, user.id, text))
        gateway.refresh_keys()
        assert limits(ann)["predictions/day"]["limit"] == 2
        created(ann, "slow", seconds=100)
        assert create(ann, "echo", value=1).status_code == 429
        gateway.ledger(lambda conn: users.update_user(conn, user.id, plan="default"))
        gateway.ledger(lambda conn: users.set_overrides(conn, user.id, None))
        gateway.refresh_keys()
        assert limits(ann)["predictions/day"]["limit"] == 1
        assert create(ann, "echo", value=1).status_code == 402


def test_every_creates_answer_tells_the_tightest_limit() -> None:
    toml = plan(
        'metric = "predictions", limit = 100, per = "day"',
        'metric = "images", limit = 10, per = "month"',
    )
    with running(toml) as gateway, gateway.client(gateway.add_user("ann")) as ann:
        answer = ann.post(FLUX, json={"input": {"prompt": "a fox", "num_outputs": 4}})
        assert answer.headers["ratelimit-limit"] == "10"
        assert answer.headers["ratelimit-remaining"] == "6"
        assert int(answer.headers["ratelimit-reset"]) > 86_400
        refused = ann.post(FLUX, json={"input": {}})
        assert refused.status_code == 422
        assert refused.headers["ratelimit-remaining"] == "6"
        assert gateway.url


def test_every_create_is_told_its_limit_whatever_the_answer() -> None:
    toml = (
        '[plans.default]\nmodels_deny = ["meta/*"]\nquotas = ['
        '{ metric = "predictions", limit = 100, per = "day" },'
        '{ metric = "requests", limit = 8, per = "day" },'
        '{ metric = "images", limit = 0, per = "month", models = ["meta/*"] }]\n'
    )
    with running(toml) as gateway, gateway.client(gateway.add_user("ann")) as ann:

        def left(answer: httpx.Response, status: int) -> str:
            assert answer.status_code == status, answer.text
            assert answer.headers["ratelimit-limit"] == "8"
            return answer.headers["ratelimit-remaining"]

        assert left(create(ann, "echo", value=1), 201) == "7"
        once = {"Idempotency-Key": "once"}
        assert left(create(ann, "echo", once, value=2), 201) == "6"
        assert left(create(ann, "echo", once, value=2), 201) == "5"
        assert left(create(ann, "echo", once, value=3), 409) == "4"
        assert left(ann.post(predictions_of("simulated/echo"), json={}), 400) == "3"
        assert left(ann.post(f"{API}/predictions", json={"input": {}}), 422) == "2"
        denied = ann.post(predictions_of("meta/some"), json={"input": {}})
        # For this model there is a tighter one.
        assert (denied.status_code, denied.headers["ratelimit-limit"]) == (403, "0")
        assert left(create(ann, "echo", value=4), 201) == "0"
        assert left(create(ann, "echo", value=5), 402) == "0"


def test_a_rule_on_requests_for_some_models_counts_only_what_names_them() -> None:
    toml = plan('metric = "requests", limit = 2, per = "minute", models = ["meta/*"]')
    with running(toml) as gateway, gateway.client(gateway.add_user("ann")) as ann:
        for _ in range(4):
            assert ann.get(f"{API}/models").status_code == 200
            assert create(ann, "echo", value=1).status_code == 201
        for wanted in (404, 404, 429):
            assert ann.get(f"{API}/models/meta/none").status_code == wanted
        [limit] = ann.get("/me/v1/limits").json()["limits"]
        assert (limit["used"], limit["models"]) == (2, ["meta/*"])


def test_what_was_lost_gives_its_estimate_back_and_has_an_unknown_cost() -> None:
    toml = plan(
        'metric = "predict_seconds", limit = 4, per = "month"',
        'metric = "cost_usd", limit = 1, per = "month"',
    )
    with running(toml) as gateway, gateway.client(gateway.add_user("ann")) as ann:
        made = created(ann, "slow", seconds=900)
        assert limits(ann)["predict_seconds/month"]["remaining"] == 0
        assert create(ann, "slow", seconds=1).status_code == 402
        gateway.sim.forget(made)
        clock = gateway.clock
        assert isinstance(clock, ManualClock)
        clock.advance(60)
        gateway.settle(
            lambda: limits(ann)["predict_seconds/month"]["reserved"] == 0, step_s=10, most_s=3000
        )
        assert limits(ann)["predict_seconds/month"]["used"] == 0
        total = ann.get("/me/v1/usage").json()["total"]
        assert (total["failed"], total["unpriced"], total["estimated_cost_usd"]) == (1, 1, None)
        assert create(ann, "slow", seconds=1).status_code == 201
