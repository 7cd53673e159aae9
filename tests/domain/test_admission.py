from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.admission import (
    Admitted,
    Demand,
    QuotaRefused,
    TooManyRunning,
    applicable,
    decide,
    tightest,
)
from gateway.domain.plans import Metric, Per, QuotaRule
from gateway.domain.quota import Standing, window

NOW = 1_800_000_000.25
COUNTED = [metric for metric in Metric if metric is not Metric.REQUESTS]


def standing(
    metric: Metric = Metric.PREDICTIONS,
    limit: int = 10,
    used: int = 0,
    reserved: int = 0,
    per: Per = Per.DAY,
) -> Standing:
    return Standing(QuotaRule(metric, limit, per), "user:1", window(per, NOW), used, reserved)


def demand_of(metric: Metric, amount: int) -> Demand:
    field = {
        Metric.PREDICTIONS: "predictions",
        Metric.PREDICT_SECONDS: "predict_us",
        Metric.IMAGES: "images",
        Metric.TOKENS: "tokens",
        Metric.COST_USD: "cost_nano",
    }[metric]
    return replace(Demand(predictions=0), **{field: amount})


STANDINGS = st.lists(
    st.builds(
        standing,
        metric=st.sampled_from(COUNTED),
        limit=st.integers(0, 50),
        used=st.integers(0, 60),
        reserved=st.integers(0, 30),
        per=st.sampled_from(Per),
    ),
    max_size=5,
)
DEMANDS = st.builds(
    Demand,
    predictions=st.just(1),
    predict_us=st.integers(0, 60),
    images=st.integers(0, 60),
    tokens=st.integers(0, 60),
    cost_nano=st.none() | st.integers(0, 60),
)


@given(STANDINGS, DEMANDS, st.integers(0, 5), st.none() | st.integers(0, 5))
def test_nothing_overruns_and_nothing_that_fits_is_refused(
    standings: list[Standing], demand: Demand, running: int, limit: int | None
) -> None:
    def room(one: Standing) -> bool:
        needed = demand.of(one.rule.metric) or 0
        if one.rule.limit == 0:
            return needed == 0 and one.used + one.reserved == 0
        return one.used + one.reserved + min(needed, one.rule.limit) <= one.rule.limit

    fits = all(room(one) for one in standings) and (limit is None or running < limit)
    assert isinstance(decide(standings, running, limit, demand, NOW), Admitted) == fits


@given(
    st.sampled_from(COUNTED),
    st.integers(1, 40),
    st.lists(st.integers(1, 60), min_size=1, max_size=60),
)
def test_a_row_of_creates_never_reserves_more_than_the_limit_unless_a_single_one_does(
    metric: Metric, limit: int, amounts: list[int]
) -> None:
    reserved, admitted = 0, 0
    for amount in amounts:
        now = standing(metric, limit, reserved=reserved)
        if isinstance(decide([now], 0, None, demand_of(metric, amount), NOW), Admitted):
            reserved += amount
            admitted += 1
    assert admitted >= 1
    assert reserved <= limit or admitted == 1


@given(st.integers(0, 20), st.integers(1, 40))
def test_with_n_left_exactly_n_creates_succeed(left: int, arrivals: int) -> None:
    taken = 7
    admitted = 0
    for _ in range(arrivals):
        now = standing(limit=taken + left, used=taken, reserved=admitted)
        admitted += isinstance(decide([now], 0, None, Demand(), NOW), Admitted)
    assert admitted == min(left, arrivals)


def test_a_limit_of_zero_lets_nothing_through() -> None:
    assert isinstance(decide([standing(limit=0)], 0, None, Demand(), NOW), QuotaRefused)


def test_one_that_needs_more_than_the_whole_limit_fits_an_untouched_budget_only() -> None:
    demand = demand_of(Metric.IMAGES, 500)
    assert isinstance(decide([standing(Metric.IMAGES)], 0, None, demand, NOW), Admitted)
    refused = decide([standing(Metric.IMAGES, used=1)], 0, None, demand, NOW)
    assert isinstance(refused, QuotaRefused)
    assert refused.needed == 500


def test_windows_of_an_hour_or_longer_refuse_with_402_and_shorter_ones_with_429() -> None:
    for per in Per:
        refused = decide([standing(used=10, per=per)], 0, None, Demand(), NOW)
        assert isinstance(refused, QuotaRefused)
        if per in (Per.SECOND, Per.MINUTE):
            assert refused.status == 429
            assert refused.retry_after is not None
            assert 1 <= refused.retry_after <= 60
        else:
            assert (refused.status, refused.retry_after) == (402, None)


def test_of_several_rules_in_the_way_the_one_that_lasts_longest_is_named() -> None:
    full = [standing(used=10, per=per) for per in (Per.MINUTE, Per.MONTH, Per.DAY)]
    refused = decide(full, 9, 1, Demand(), NOW)
    assert isinstance(refused, QuotaRefused)
    assert refused.standing.rule.per is Per.MONTH


def test_concurrency_is_refused_at_the_limit_and_not_below() -> None:
    assert isinstance(decide([], 1, 2, Demand(), NOW), Admitted)
    assert decide([], 2, 2, Demand(), NOW) == TooManyRunning(2, 2)
    assert isinstance(decide([], 1000, None, Demand(), NOW), Admitted)


def test_an_unknown_cost_counts_nothing_and_is_said_to_be_unknown() -> None:
    budget = standing(Metric.COST_USD, limit=5, used=5)
    assert decide([budget], 0, None, Demand(cost_nano=None), NOW) == Admitted((budget.rule,))
    assert isinstance(decide([budget], 0, None, Demand(cost_nano=1), NOW), QuotaRefused)


def test_a_request_is_weighed_only_by_those_who_ask_for_it() -> None:
    full = standing(Metric.REQUESTS, used=10, per=Per.SECOND)
    assert isinstance(decide([full], 0, None, Demand(), NOW), Admitted)
    read = Demand(predictions=0, requests=1)
    assert isinstance(decide([full], 0, None, read, NOW), QuotaRefused)
    assert isinstance(decide([standing(used=10)], 0, None, read, NOW), Admitted)


def test_rules_for_other_models_do_not_apply() -> None:
    everything = (QuotaRule(Metric.IMAGES, 1, Per.DAY), "user:1")
    some = (QuotaRule(Metric.IMAGES, 1, Per.DAY, ("a/*",)), "user:1")
    assert applicable([everything, some], "a/b") == (everything, some)
    assert applicable([everything, some], "c/d") == (everything,)
    assert applicable([everything, some], "c/d", "a/deployment") == (everything, some)


def test_the_tightest_standing_has_the_least_of_its_limit_left() -> None:
    loose, tight = standing(limit=1000, used=900), standing(limit=10, used=5, reserved=4)
    nearly = standing(limit=100, used=95)
    assert tightest([loose, tight, nearly]) == nearly
    assert tightest([]) is None
    assert tightest([loose, standing(limit=0)]) == standing(limit=0)


def test_of_equally_tight_standings_the_longest_window_counts() -> None:
    day, month = standing(per=Per.DAY), standing(per=Per.MONTH)
    assert tightest([day, month]) == tightest([month, day]) == month
