import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.upstream.bucket import Correction, burst, corrected, full, take

NOW = 1_750_000_000.0


def test_a_burst_goes_at_once_and_the_rest_at_the_rate() -> None:
    bucket = full(600, NOW)
    bucket, grant = take(bucket, 600, 100, NOW)
    assert grant.granted == 30
    assert 0 < grant.retry_at - NOW < 0.11
    bucket, grant = take(bucket, 600, 100, NOW + 1)
    assert grant.granted == 9


@given(
    st.floats(1, 6000),
    st.lists(st.tuples(st.floats(0, 20), st.integers(1, 400)), min_size=1, max_size=60),
)
def test_no_minute_sees_more_than_the_configured_number(
    per_minute: float, asks: list[tuple[float, int]]
) -> None:
    bucket, now, taken = full(per_minute, NOW), NOW, []
    for pause, want in asks:
        now += pause
        bucket, grant = take(bucket, per_minute, want, now)
        taken.append((now, grant.granted))
    for start, _ in taken:
        within = sum(count for at, count in taken if start <= at < start + 59.9)
        # Below one a second a burst of one is the least there is.
        assert within <= max(per_minute, burst(per_minute)) + 1


@given(st.floats(1, 6000))
def test_who_comes_back_when_told_gets_one(per_minute: float) -> None:
    bucket, _ = take(full(per_minute, NOW), per_minute, 10_000, NOW)
    bucket, grant = take(bucket, per_minute, 1, NOW)
    assert grant.granted == 0
    bucket, grant = take(bucket, per_minute, 1, grant.retry_at)
    assert grant.granted == 1


def test_upstream_counting_less_is_believed_and_counting_more_is_not() -> None:
    bucket = corrected(full(600, NOW), 600, Correction(remaining=4), NOW)
    bucket, grant = take(bucket, 600, 100, NOW)
    assert grant.granted == 4
    bucket = corrected(bucket, 600, Correction(remaining=500), NOW)
    _, grant = take(bucket, 600, 100, NOW)
    assert grant.granted == 0


def test_a_429_stops_its_kind_for_as_long_as_upstream_says_then_lets_one_try() -> None:
    bucket = corrected(full(600, NOW), 600, Correction(throttled_s=7), NOW)
    bucket, grant = take(bucket, 600, 5, NOW + 6.9)
    assert (grant.granted, grant.retry_at) == (0, NOW + 7)
    bucket, grant = take(bucket, 600, 5, NOW + 7)
    assert grant.granted == 1


def test_many_429s_of_one_moment_lower_the_rate_once_and_more_of_them_down_to_six_a_minute() -> (
    None
):
    bucket = full(600, NOW)
    for _ in range(30):
        bucket = corrected(bucket, 600, Correction(throttled_s=2), NOW + 0.1)
    assert bucket.per_minute == 300
    now = NOW
    for _ in range(20):
        now += 10
        bucket = corrected(bucket, 600, Correction(throttled_s=5), now)
    assert bucket.per_minute == 6
    _, grant = take(bucket, 600, 5, now + 5)
    assert grant.granted == 1


def test_a_rate_learned_from_429s_recovers_when_they_stop() -> None:
    bucket = corrected(full(600, NOW), 600, Correction(throttled_s=1), NOW)
    _, grant = take(bucket, 600, 0, NOW + 30)
    assert grant.per_minute == 300
    _, grant = take(bucket, 600, 0, NOW + 60)
    assert grant.per_minute == 600


def test_a_clock_that_steps_back_gives_and_takes_nothing() -> None:
    bucket, _ = take(full(600, NOW), 600, 30, NOW)
    bucket, grant = take(bucket, 600, 1, NOW - 100)
    assert grant.granted == 0
    assert grant.retry_at < NOW - 99


@pytest.mark.parametrize("seconds", [10_000.0, 1e12])
def test_no_429_stops_everything_for_longer_than_an_hour(seconds: float) -> None:
    bucket = corrected(full(600, NOW), 600, Correction(throttled_s=seconds), NOW)
    _, grant = take(bucket, 600, 1, NOW)
    assert grant.retry_at == NOW + 3600
