"""Counters: the same on both engines."""

from functools import partial

import pytest

from gateway.domain.admission import Demand
from gateway.domain.plans import Metric, Per, QuotaRule, Scope
from gateway.domain.usage import Usage
from gateway.ledger import Ledger, creates, predictions, quotas
from gateway.ledger.create_rows import Reservation
from tests.support.ledgers import (
    NOW,
    database_fixture,
    deciding,
    ledger_fixture,
    prediction,
    reservation,
    rule,
    settlement,
)

FIXTURES = (database_fixture, ledger_fixture)
DAY = 86_400

EVERY_METRIC = [rule(metric, 10**12, Per.DAY) for metric in Metric if metric is not Metric.REQUESTS]


async def reserve(ledger: Ledger, asked: Reservation, *rules: QuotaRule) -> None:
    own = [(one, _subject(one, asked)) for one in rules]
    outcome = await ledger.write(
        lambda conn: creates.reserve(conn, asked, own, None, deciding(asked.demand, None, asked.at))
    )
    assert isinstance(outcome, creates.Reserved)


def _subject(one: QuotaRule, asked: Reservation) -> str:
    return f"team:{asked.team}" if one.scope is Scope.TEAM else f"user:{asked.user_id}"


async def stand(
    ledger: Ledger, one: QuotaRule, subject: str = "user:u1", at: float = NOW
) -> tuple[int, int]:
    (standing,) = await ledger.read(lambda conn: quotas.standings(conn, [(one, subject)], at))
    return standing.used, standing.reserved


async def test_the_truth_replaces_the_estimate_in_every_metric(ledger: Ledger) -> None:
    demand = Demand(1, 10_000_000, 2, 1000, 70)
    await reserve(ledger, reservation("c1", demand=demand), *EVERY_METRIC)
    assert [await stand(ledger, one) for one in EVERY_METRIC] == [
        (0, 1),
        (0, 10_000_000),
        (0, 2),
        (0, 1000),
        (0, 70),
    ]
    await ledger.write(lambda conn: creates.record(conn, "c1", prediction("p1"), [], NOW))
    end = settlement(usage=Usage(1_500_000, 1, 3, 4), cost_nano=9)
    assert await ledger.write(lambda conn: predictions.settle(conn, "p1", end))
    assert [await stand(ledger, one) for one in EVERY_METRIC] == [
        (1, 0),
        (1_500_000, 0),
        (1, 0),
        (7, 0),
        (9, 0),
    ]


@pytest.mark.parametrize("status", ["failed", "canceled", "aborted"])
async def test_what_failed_or_was_canceled_stays_counted(ledger: Ledger, status: str) -> None:
    await reserve(ledger, reservation("c1"), rule())
    await ledger.write(lambda conn: creates.record(conn, "c1", prediction("p1"), [], NOW))
    end = settlement(status, usage=Usage(), cost_nano=None)
    await ledger.write(lambda conn: predictions.settle(conn, "p1", end))
    assert await stand(ledger, rule()) == (1, 0)
    assert await stand(ledger, rule(Metric.PREDICT_SECONDS)) == (0, 0)


async def test_a_rule_that_is_new_is_right_at_once(ledger: Ledger) -> None:
    """Its counter is filled from what happened in its window, settled, running and on the way."""
    for number in range(3):
        await reserve(ledger, reservation(f"c{number}"))
    await ledger.write(lambda conn: creates.record(conn, "c0", prediction("p0"), [], NOW))
    await ledger.write(lambda conn: creates.record(conn, "c1", prediction("p1"), [], NOW))
    await ledger.write(lambda conn: predictions.settle(conn, "p0", settlement()))
    await reserve(ledger, reservation("gone"))
    await ledger.write(lambda conn: creates.release(conn, "gone", NOW))
    for one in (rule(), rule(per=Per.MONTH), rule(models=("owner/*",))):
        assert await stand(ledger, one) == (1, 2)
        await reserve(ledger, reservation(f"with {one.per} {one.models}"), one)
        before = await stand(ledger, one)
        assert before[0] == 1
        await ledger.write(
            partial(creates.release, create_id=f"with {one.per} {one.models}", now=NOW)
        )
        assert await stand(ledger, one) == (1, 2)


async def test_a_counter_misses_nothing_whatever_rule_made_it(ledger: Ledger) -> None:
    await reserve(ledger, reservation("c1", team="red"), rule(), rule(scope=Scope.TEAM))
    # Reserved under no rule at all, counted all the same.
    await reserve(ledger, reservation("c2", team="red"))
    await reserve(ledger, reservation("c3", user="u2", team="red"))
    assert await stand(ledger, rule()) == (0, 2)
    assert await stand(ledger, rule(), "team:red") == (0, 3)
    await ledger.write(lambda conn: creates.refuse(conn, "c3", NOW, 422))
    assert await stand(ledger, rule(), "team:red") == (0, 2)


async def test_a_rule_on_models_counts_only_those(ledger: Ledger) -> None:
    only = rule(models=("owner/*",))
    await reserve(ledger, reservation("c1", model="owner/name"), only)
    await reserve(ledger, reservation("c2", model="someone/else"), only)
    assert await stand(ledger, only) == (0, 1)
    assert await stand(ledger, rule()) == (0, 2)
    other_case = rule(models=("OWNER/*",))
    assert await stand(ledger, other_case) == (0, 1)


async def test_a_rule_on_models_does_not_stand_in_other_models_way(ledger: Ledger) -> None:
    none = rule(limit=0, models=("expensive/*",))
    await reserve(ledger, reservation("c1", model="owner/name"), none)
    asked = reservation("c2", model="expensive/one")
    outcome = await ledger.write(
        lambda conn: creates.reserve(conn, asked, [(none, "user:u1")], None, deciding())
    )
    assert isinstance(outcome, creates.Refused)
    assert await stand(ledger, none) == (0, 0)


async def test_a_model_that_only_the_answer_names_is_counted_from_then_on(ledger: Ledger) -> None:
    only = rule(models=("owner/name",))
    await reserve(ledger, reservation("c0"), only)  # so that the counter is there
    await reserve(ledger, reservation("c1", model=None), rule(), only)
    assert await stand(ledger, only) == (0, 1)
    assert await stand(ledger, rule()) == (0, 2)
    answered = prediction("p1", model="Owner/Name")
    await ledger.write(lambda conn: creates.record(conn, "c1", answered, [], NOW))
    assert await stand(ledger, only) == (0, 2)
    assert await stand(ledger, rule()) == (0, 2)
    row = await ledger.read(lambda conn: predictions.get(conn, "p1"))
    assert row is not None
    assert row.model == "owner/name"
    await ledger.write(lambda conn: predictions.settle(conn, "p1", settlement()))
    assert await stand(ledger, only) == (1, 1)


async def test_a_deployment_is_counted_under_both_its_names_but_once(ledger: Ledger) -> None:
    both = rule(models=("acme/deployed", "owner/name"))
    by_deployment = rule(models=("acme/deployed",))
    asked = reservation("c1", model="owner/name", deployment="acme/deployed")
    await reserve(ledger, asked, both, by_deployment)
    assert await stand(ledger, both) == (0, 1)
    assert await stand(ledger, by_deployment) == (0, 1)
    assert await stand(ledger, rule(models=("acme/*",))) == (0, 1)  # filled when asked


async def test_charges_belong_to_the_windows_of_the_reservation(ledger: Ledger) -> None:
    daily = rule()
    await reserve(ledger, reservation("c1", at=NOW), daily)
    await reserve(ledger, reservation("c2", at=NOW + DAY), daily)
    record_at = NOW + DAY + 60
    await ledger.write(
        lambda conn: creates.record(
            conn, "c1", prediction("p1", created_at=record_at), [], record_at
        )
    )
    await ledger.write(lambda conn: predictions.settle(conn, "p1", settlement(at=record_at)))
    assert await stand(ledger, daily, at=NOW) == (1, 0)
    assert await stand(ledger, daily, at=NOW + DAY) == (0, 1)
    assert await stand(ledger, rule(per=Per.MONTH), at=NOW) == (1, 1)


async def test_requests_are_added_up_by_window_and_never_counted_twice(ledger: Ledger) -> None:
    minute = rule(Metric.REQUESTS, 50, Per.MINUTE)
    stricter = rule(Metric.REQUESTS, 10, Per.MINUTE)  # another rule, the same counter
    hour = rule(Metric.REQUESTS, 500, Per.HOUR)
    rules = [(minute, "user:u1"), (stricter, "user:u1"), (hour, "user:u1"), (hour, "team:red")]
    counts = [(one, subject, 7) for one, subject in rules]
    first = await ledger.write(lambda conn: quotas.add_requests(conn, counts, NOW))
    assert [standing.used for standing in first] == [7, 7, 7, 7]
    later = await ledger.write(lambda conn: quotas.add_requests(conn, counts, NOW + 60))
    assert [standing.used for standing in later] == [7, 7, 14, 14]
    assert await ledger.write(lambda conn: quotas.add_requests(conn, [], NOW)) == []
    # Reservations leave them alone.
    await reserve(ledger, reservation("c1"), rule(Metric.REQUESTS, 0, Per.MINUTE))
    assert await stand(ledger, minute) == (7, 0)


async def test_only_windows_that_are_over_are_pruned(ledger: Ledger) -> None:
    await reserve(ledger, reservation("c1"), rule(per=Per.MINUTE), rule(per=Per.DAY))
    assert len(await ledger.read(lambda conn: quotas.counters_at(conn, NOW))) == 2
    assert await ledger.write(lambda conn: quotas.prune_counters(conn, NOW + 60)) == 1
    (left,) = await ledger.read(lambda conn: quotas.counters_at(conn, NOW))
    assert left.per is Per.DAY
    # Settling what a pruned window held is no fault.
    await ledger.write(lambda conn: creates.record(conn, "c1", prediction("p1"), [], NOW))
    assert await ledger.write(lambda conn: predictions.settle(conn, "p1", settlement()))
    assert await stand(ledger, rule(per=Per.DAY)) == (1, 0)


async def test_no_rules_have_no_standings(ledger: Ledger) -> None:
    await reserve(ledger, reservation("c1"), rule())
    assert await ledger.read(lambda conn: quotas.standings(conn, [], NOW)) == []
    everything = await ledger.read(lambda conn: quotas.counters_at(conn, NOW))
    assert [row.subject for row in everything] == ["user:u1"]
