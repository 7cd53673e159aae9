"""Warnings about quotas: signed, to the team's address, once in each window."""

from typing import Any

from gateway.domain.webhooks import verify
from tests.support.clock import ManualClock
from tests.support.creating import API, create, created
from tests.support.receiving import Delivery, Receiver, receiver
from tests.support.running import Running, running

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
PRIVATE = {"GATEWAY_WEBHOOKS__ALLOW_PRIVATE_ADDRESSES": "true"}


def team(hook: Receiver, *, plan: str = "", rules: str = "") -> str:
    return (
        f"[plans.default]\nquotas = [{plan}]\n"
        f'[teams.art]\nwebhook = "{hook.url}"\nwebhook_secret = "{SECRET}"\nquotas = [{rules}]\n'
        '[prices."simulated/*"]\nper_second = 0.1\nexpected_seconds = 1\n'
    )


def told(gateway: Running, hook: Receiver, count: int) -> list[Any]:
    gateway.settle(lambda: len(hook.deliveries) >= count, most_s=60)
    gateway.refresh_keys()
    assert len(hook.deliveries) == count
    return [delivery.document["data"] for delivery in hook.deliveries]


def genuine(gateway: Running, delivery: Delivery) -> bool:
    head = delivery.headers
    return verify(
        SECRET,
        head["webhook-id"],
        head["webhook-timestamp"],
        head["webhook-signature"],
        delivery.body,
        gateway.clock.now(),
    )


def test_a_team_is_warned_at_eighty_and_at_a_hundred_per_cent_once_a_window() -> None:
    with receiver() as hook:
        rule = '{ metric = "predictions", limit = 5, per = "day" }'
        with (
            running(team(hook, rules=rule), env=PRIVATE) as gateway,
            gateway.client(gateway.add_user("ann", team="art")) as ann,
            gateway.client(gateway.add_user("bea", team="art")) as bea,
        ):
            for n in range(3):
                created(ann, "echo", value=n)
            gateway.refresh_keys()
            assert hook.deliveries == []
            created(bea, "echo", value=3)
            [first] = told(gateway, hook, 1)
            assert first["threshold_percent"] == 80
            assert first["whose"] == {"kind": "team", "name": "art"}
            assert (first["metric"], first["per"], first["limit"]) == ("predictions", "day", 5)
            assert first["resets_at"] == "2025-06-16T00:00:00.000Z"
            created(ann, "echo", value=4)
            assert [data["threshold_percent"] for data in told(gateway, hook, 2)] == [80, 100]
            assert create(ann, "echo", value=5).status_code == 402
            gateway.restart()
            assert create(ann, "echo", value=6).status_code == 402
            told(gateway, hook, 2)
            assert all(genuine(gateway, delivery) for delivery in hook.deliveries)
            clock = gateway.clock
            assert isinstance(clock, ManualClock)
            clock.advance(86_400)
            gateway.refresh_keys()
            for n in range(4):
                created(ann, "echo", value=n)
            assert len(told(gateway, hook, 3)) == 3


def test_the_truth_can_cross_a_line_that_the_estimate_did_not() -> None:
    with receiver() as hook:
        plan = '{ metric = "cost_usd", limit = 1, per = "month" }'
        with (
            running(team(hook, plan=plan), env=PRIVATE) as gateway,
            gateway.client(gateway.add_user("ann", team="art")) as ann,
        ):
            created(ann, "slow", seconds=8.5)
            gateway.refresh_keys()
            assert hook.deliveries == []
            [warning] = told(gateway, hook, 1)
            assert warning["whose"] == {"kind": "user", "name": "ann"}
            assert warning["threshold_percent"] == 80
            assert warning["estimated"] is True
            assert warning["used"] >= 0.8


def test_a_quota_that_refuses_is_told_though_a_part_of_it_is_left() -> None:
    with receiver() as hook:
        rule = '{ metric = "predict_seconds", limit = 12, per = "day" }'
        with (
            running(team(hook, rules=rule), env=PRIVATE) as gateway,
            gateway.client(gateway.add_user("ann", team="art")) as ann,
        ):
            gateway.finished(ann, created(ann, "slow", seconds=6))
            assert hook.deliveries == []
            created(ann, "slow", seconds=5.5)
            assert create(ann, "slow", seconds=6).status_code == 402
            told(gateway, hook, 2)


def test_requests_are_warned_of_and_short_windows_are_not() -> None:
    with receiver() as hook:
        rules = (
            '{ metric = "requests", limit = 5, per = "day" },'
            '{ metric = "requests", limit = 4, per = "minute" }'
        )
        with (
            running(team(hook, plan=rules), env=PRIVATE) as gateway,
            gateway.client(gateway.add_user("ann", team="art")) as ann,
        ):
            for _ in range(4):
                assert ann.get(f"{API}/models").status_code == 200
            [warning] = told(gateway, hook, 1)
            assert (warning["metric"], warning["per"]) == ("requests", "day")


def test_stored_answers_count_towards_the_warning_too() -> None:
    with receiver() as hook:
        rule = '{ metric = "requests", limit = 20, per = "day" }'
        with (
            running(team(hook, plan=rule), env=PRIVATE) as gateway,
            gateway.client(gateway.add_user("ann", team="art")) as ann,
        ):
            made = created(ann, "echo", value=1)
            gateway.finished(ann, made)
            for _ in range(20):
                # Answered from memory, without a look at the ledger, and spared by a rule per day.
                assert ann.get(f"{API}/predictions/{made}").status_code == 200
            data = told(gateway, hook, 2)
            assert {each["threshold_percent"] for each in data} == {80, 100}
            assert {each["whose"]["name"] for each in data} == {"ann"}


def test_a_window_that_is_over_is_told_of_what_ended_up_in_it_and_the_new_one_is_not() -> None:
    with receiver() as hook:
        rule = '{ metric = "predict_seconds", limit = 10, per = "hour" }'
        with (
            running(team(hook, rules=rule), env=PRIVATE) as gateway,
            gateway.client(gateway.add_user("ann", team="art")) as ann,
        ):
            clock = gateway.clock
            assert isinstance(clock, ManualClock)
            clock.advance(3600 - clock.now() % 3600 - 4)
            gateway.refresh_keys()
            created(ann, "slow", seconds=9)
            data = told(gateway, hook, 1)
            assert data[0]["threshold_percent"] == 80
            assert data[0]["used"] >= 9
            assert data[0]["resets_at"] < "2025-06-15T16:00:00.001Z"
