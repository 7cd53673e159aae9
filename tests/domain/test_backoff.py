import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.backoff import Kind, next_look_after, webhook_delay
from gateway.flows.follow_predictions import IDLE_S

AGES = st.floats(0, 10**7, allow_nan=False)
KINDS: st.SearchStrategy[Kind] = st.sampled_from(["prediction", "training"])


@given(AGES, AGES, st.booleans(), KINDS)
def test_looks_never_become_more_frequent_with_age(
    one: float, other: float, watched: bool, kind: Kind
) -> None:
    young, old = sorted((one, other))
    assert next_look_after(young, watched, kind) <= next_look_after(old, watched, kind)


@given(AGES, KINDS)
def test_one_that_is_watched_is_looked_at_at_least_as_often(age: float, kind: Kind) -> None:
    assert next_look_after(age, True, kind) <= next_look_after(age, False, kind)


@given(AGES, KINDS)
def test_looks_that_somebody_waits_for_are_two_seconds_or_a_twentieth_of_the_age_apart(
    age: float, kind: Kind
) -> None:
    apart = next_look_after(age, True, kind) + IDLE_S
    assert apart <= max(2.0, 0.05 * (age + apart))


@given(AGES, st.booleans(), KINDS, st.floats(0, 60))
def test_no_look_comes_before_the_poll_interval(
    age: float, watched: bool, kind: Kind, shortest: float
) -> None:
    assert next_look_after(age, watched, kind, shortest) >= max(shortest, 0.5)


@pytest.mark.parametrize(
    ("age", "watched", "kind", "expected"),
    [
        (0, True, "prediction", 0.5),
        (0, False, "prediction", 1.0),
        (60, True, "prediction", 2.1),
        (60, False, "prediction", 6.0),
        (3600, True, "prediction", 5.0),
        (3600, False, "prediction", 60.0),
        (0, True, "training", 1.5),
        (0, False, "training", 15.0),
        (600, False, "training", 60.0),
        (86_400, False, "training", 300.0),
    ],
)
def test_the_table_of_delays(age: float, watched: bool, kind: Kind, expected: float) -> None:
    assert next_look_after(age, watched, kind) == pytest.approx(expected)


@given(st.integers(1, 10**6), st.floats(0, 1, exclude_max=True))
def test_a_webhooks_delay_grows_up_to_a_bound_and_is_never_exactly_that_of_others(
    attempt: int, random: float
) -> None:
    delay = webhook_delay(attempt, random)
    assert 3.75 <= delay <= 1.25 * 6 * 3600
    assert webhook_delay(attempt + 1, random) >= delay
    assert webhook_delay(attempt, 0.0) < webhook_delay(attempt, 0.9)


def test_the_first_retry_of_a_webhook_comes_after_about_five_seconds() -> None:
    assert webhook_delay(1, 0.5) == pytest.approx(5)
    assert webhook_delay(2, 0.5) == pytest.approx(15)
