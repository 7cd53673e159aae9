"""Quotas: exact however many ask, given back when nothing came of it, kept over restarts."""

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import httpx
import pytest

from gateway.ledger import predictions as rows
from gateway.simulator.faults import Fault, FaultKind
from tests.support.clock import ManualClock
from tests.support.creating import API, FLUX, create, created, read
from tests.support.running import Running, running


def plan(*quotas: str, more: str = "") -> str:
    rules = ", ".join(f"{{ {quota} }}" for quota in quotas)
    return f"[server]\ncontact = 'Ann, room 7'\n[plans.default]\nquotas = [{rules}]\n{more}\n"


def predictions(limit: int, per: str) -> str:
    return f'metric = "predictions", limit = {limit}, per = "{per}"'


@contextmanager
def user_of(toml: str) -> Iterator[tuple[Running, httpx.Client]]:
    with running(toml) as gateway, gateway.client(gateway.add_user("ann")) as client:
        yield gateway, client


def at_once(client: httpx.Client, times: int) -> Counter[int]:
    with ThreadPoolExecutor(times) as pool:
        answers = list(pool.map(lambda n: create(client, "echo", value=n), range(times)))
    return Counter(answer.status_code for answer in answers)


@pytest.mark.parametrize(
    ("per", "refusal"),
    [
        ("second", 429),
        ("minute", 429),
        ("hour", 402),
        ("day", 402),
        ("week", 402),
        ("month", 402),
    ],
)
def test_with_seven_left_exactly_seven_of_many_succeed(per: str, refusal: int) -> None:
    with user_of(plan(predictions(7, per))) as (gateway, client):
        assert at_once(client, 30) == {201: 7, refusal: 23}
        # Time passes while it restarts: a short window may be over then, and rightly so.
        if refusal == 402:
            gateway.restart()
        assert at_once(client, 5) == {refusal: 5}
        assert len(gateway.sim.prediction_ids()) == 7


def test_402_names_the_quota_its_end_and_whom_to_ask_and_nobody_retries_it() -> None:
    with user_of(plan(predictions(1, "day"))) as (_gateway, client):
        first = create(client, "echo", value=1)
        assert first.headers["ratelimit-limit"] == "1"
        assert first.headers["ratelimit-remaining"] == "0"
        assert 0 < int(first.headers["ratelimit-reset"]) <= 86400
        refused = create(client, "echo", value=2)
        assert refused.status_code == 402
        assert refused.headers["x-should-retry"] == "false"
        assert "retry-after" not in refused.headers
        assert refused.headers["ratelimit-limit"] == "1"
        assert refused.headers["ratelimit-remaining"] == "0"
        assert refused.headers["ratelimit-reset"] == first.headers["ratelimit-reset"]
        detail = refused.json()["detail"]
        for part in ("1 prediction", "day", "2025-06-16", "Ann, room 7"):
            assert part in detail, detail


def test_429_says_for_how_many_whole_seconds() -> None:
    with running(plan(predictions(2, "minute"))) as gateway:
        clock = gateway.clock
        assert isinstance(clock, ManualClock)
        with gateway.client(gateway.add_user("ann")) as client:
            assert at_once(client, 2) == {201: 2}
            refused = create(client, "echo", value=2)
            assert refused.status_code == 429
            seconds = int(refused.headers["retry-after"])
            assert 1 <= seconds <= 60
            assert refused.headers["ratelimit-limit"] == "2"
            assert refused.headers["ratelimit-remaining"] == "0"
            assert int(refused.headers["ratelimit-reset"]) == seconds
            clock.advance(seconds - 1)
            assert create(client, "echo", value=3).status_code == 429
            clock.advance(1)
            gateway.refresh_keys()
            assert create(client, "echo", value=4).status_code == 201


def test_what_upstream_refuses_is_given_back() -> None:
    with user_of(plan(predictions(1, "month"))) as (gateway, client):
        refusals = [client.post(FLUX, json={"input": {}})]
        gateway.sim.configure(out_of_credit=True)
        refusals.append(client.post(FLUX, json={"input": {"prompt": "a fox"}}))
        gateway.sim.configure(out_of_credit=False)
        gateway.sim.faults.add(Fault(FaultKind.SERVER_ERROR, "*.create", status=500))
        refusals.append(client.post(FLUX, json={"input": {"prompt": "a fox"}}))
        gateway.sim.faults.add(Fault(FaultKind.SERVER_ERROR, "*.create", status=503))
        refusals.append(client.post(FLUX, json={"input": {"prompt": "a fox"}}))
        refusals.append(create(client, "does-not-exist"))
        assert [answer.status_code for answer in refusals] == [422, 402, 500, 503, 404]
        for answer in refusals:
            assert answer.headers["ratelimit-remaining"] == "1"
        # Unlike the gateway's own, these are upstream's words.
        assert refusals[0].json()["invalid_fields"]
        assert "billing" in refusals[1].json()["detail"]
        assert create(client, "echo", value=1).status_code == 201
        assert create(client, "echo", value=2).status_code == 402


def test_what_upstream_never_heard_of_is_given_back() -> None:
    with user_of(plan(predictions(1, "month"))) as (gateway, client):
        assert client.get(f"{API}/account").status_code == 200
        created(client, "echo", value=0)
        with gateway.client(gateway.add_user("bea")) as client:
            gateway.loop.do(gateway.sim.stop_origin("api"))
            down = create(client, "echo", value=1)
            assert (down.status_code, down.json()["title"]) == (502, "Upstream unreachable")
            gateway.loop.do(gateway.sim.start_origin("api"))
            assert create(client, "echo", value=1).status_code == 201


def test_a_create_of_unknown_fate_stays_counted() -> None:
    with user_of(plan(predictions(1, "month"))) as (gateway, client):
        gateway.sim.faults.add(Fault(FaultKind.RESET_AFTER, "*.create"))
        lost = create(client, "echo", value=1)
        assert lost.status_code == 502
        assert lost.headers["x-should-retry"] == "false"
        assert create(client, "echo", value=2).status_code == 402
        assert len(gateway.sim.prediction_ids()) == 1


def test_failed_and_canceled_predictions_stay_counted() -> None:
    with user_of(plan(predictions(2, "month"))) as (gateway, client):
        gateway.finished(client, created(client, "failing", seconds=0.1))
        slow = created(client, "slow", seconds=100)
        client.post(f"{API}/predictions/{slow}/cancel")
        gateway.finished(client, slow)
        assert create(client, "echo", value=1).status_code == 402


def test_concurrent_predictions_are_exact_and_freed_by_the_end() -> None:
    with user_of(plan(more="concurrent_predictions = 3")) as (gateway, client):
        with ThreadPoolExecutor(20) as pool:
            answers = list(pool.map(lambda _: create(client, "slow", seconds=5), range(20)))
        made = [answer.json()["id"] for answer in answers if answer.status_code == 201]
        refused = [answer for answer in answers if answer.status_code == 429]
        assert (len(made), len(refused)) == (3, 17)
        assert int(refused[0].headers["retry-after"]) >= 1
        assert refused[0].headers["ratelimit-limit"] == "3"
        client.post(f"{API}/predictions/{made[0]}/cancel")
        gateway.finished(client, made[0])
        assert at_once(client, 5)[201] == 1
        gateway.finished(client, made[1])
        # The others ended without anybody asking for them.
        assert gateway.settle(lambda: create(client, "slow", seconds=5).status_code == 201)


def test_a_teams_budget_is_shared_and_a_plans_is_not() -> None:
    toml = plan(predictions(3, "day")) + (
        '[teams.art]\nquotas = [{ metric = "predictions", limit = 4, per = "day" }]\n'
    )
    with (
        running(toml) as gateway,
        gateway.client(gateway.add_user("ann", team="art")) as ann,
        gateway.client(gateway.add_user("bea", team="art")) as bea,
        gateway.client(gateway.add_user("cat")) as cat,
    ):
        assert at_once(ann, 5) == {201: 3, 402: 2}
        assert at_once(bea, 5) == {201: 1, 402: 4}
        assert "team" in create(bea, "echo", value=1).json()["detail"]
        assert at_once(cat, 5) == {201: 3, 402: 2}


def test_rules_for_some_models_leave_the_others_alone_and_the_tightest_is_told() -> None:
    rule = predictions(2, "day") + ', models = ["simulated/*"]'
    with user_of(plan(rule, predictions(100, "day"))) as (_gateway, client):
        flux = client.post(FLUX, json={"input": {"prompt": "a fox"}})
        assert flux.headers["ratelimit-limit"] == "100"
        assert flux.headers["ratelimit-remaining"] == "99"
        assert create(client, "echo", value=1).headers["ratelimit-limit"] == "2"
        assert at_once(client, 3) == {201: 1, 402: 2}
        assert client.post(FLUX, json={"input": {"prompt": "a fox"}}).status_code == 201


def test_requests_per_minute_refuse_reads_but_never_a_cancel() -> None:
    with user_of(plan('metric = "requests", limit = 5, per = "minute"')) as (_gateway, client):
        made = created(client, "slow", seconds=1000)
        statuses = [read(client, made).status_code for _ in range(8)]
        assert statuses == [200] * 4 + [429] * 4
        refused = read(client, made)
        assert int(refused.headers["retry-after"]) >= 1
        assert refused.headers["ratelimit-limit"] == "5"
        assert client.post(f"{API}/predictions/{made}/cancel").status_code == 200


def test_requests_per_day_spare_the_reading_of_ones_own() -> None:
    with user_of(plan('metric = "requests", limit = 3, per = "day"')) as (gateway, client):
        made = created(client, "slow", seconds=1000)
        assert client.get(f"{API}/models").status_code == 200
        assert client.get(f"{API}/models").status_code == 200
        assert client.get(f"{API}/models").status_code == 402
        assert create(client, "echo", value=1).status_code == 402
        assert read(client, made).status_code == 200
        assert client.get(f"{API}/predictions").status_code == 200
        gateway.refresh_keys()
        gateway.advance(1.0)
        gateway.restart()
        assert client.get(f"{API}/models").status_code == 402


def test_a_reload_puts_another_limit_in_force_over_what_was_used() -> None:
    with user_of(plan(predictions(2, "day"))) as (gateway, client):
        assert at_once(client, 3) == {201: 2, 402: 1}
        gateway.publish(plan(predictions(3, "week"), predictions(9, "day")))
        assert at_once(client, 3) == {201: 1, 402: 2}


def test_usage_is_settled_whether_or_not_anybody_asks() -> None:
    with user_of(plan('metric = "images", limit = 4, per = "day"')) as (gateway, client):
        made = client.post(FLUX, json={"input": {"prompt": "a fox", "num_outputs": 3}})
        assert made.headers["ratelimit-remaining"] == "1"
        two = {"input": {"prompt": "a fox", "num_outputs": 2}}
        assert client.post(FLUX, json=two).status_code == 402
        _settled(gateway, made.json()["id"])
        assert client.post(FLUX, json=two).status_code == 402
        # A model without a history is taken to make one picture.
        assert create(client, "single-picture", prompt="a fox").status_code == 201


def _settled(gateway: Running, prediction_id: str) -> None:
    def done() -> bool:
        row = gateway.ledger(lambda conn: rows.get(conn, prediction_id))
        return row is not None and row.settled_at is not None

    gateway.settle(done)
