import math
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.plans import Metric, Per, QuotaRule
from gateway.domain.quota import (
    MAX_UNITS,
    Standing,
    Window,
    from_units,
    instant,
    plain,
    ratelimit_headers,
    to_units,
    window,
)

INSTANTS = st.floats(0, 4e9, allow_nan=False) | st.integers(0, 4_000_000_000).map(float)
PERS = st.sampled_from(Per)


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def standing(metric: Metric, limit: int, used: int, reserved: int = 0) -> Standing:
    return Standing(QuotaRule(metric, limit, Per.DAY), "user:1", Window(0, 100), used, reserved)


@given(PERS, INSTANTS)
def test_a_window_contains_its_instant(per: Per, now: float) -> None:
    found = window(per, now)
    assert found.start <= now < found.end


@given(PERS, INSTANTS)
def test_windows_tile_time_without_gap_or_overlap(per: Per, now: float) -> None:
    found = window(per, now)
    assert window(per, found.start) == found
    assert window(per, math.nextafter(found.end, 0)) == found
    assert window(per, found.end).start == found.end
    if found.start > 0:
        assert window(per, math.nextafter(found.start, 0)).end == found.start


@pytest.mark.parametrize(
    ("per", "start", "end"),
    [
        (Per.SECOND, "2024-02-29T23:59:59", "2024-03-01T00:00:00"),
        (Per.MINUTE, "2024-02-29T23:59:00", "2024-03-01T00:00:00"),
        (Per.HOUR, "2024-02-29T23:00:00", "2024-03-01T00:00:00"),
        (Per.DAY, "2024-02-29T00:00:00", "2024-03-01T00:00:00"),
        (Per.WEEK, "2024-02-26T00:00:00", "2024-03-04T00:00:00"),
        (Per.MONTH, "2024-02-01T00:00:00", "2024-03-01T00:00:00"),
    ],
)
def test_windows_are_those_of_the_calendar_in_utc(per: Per, start: str, end: str) -> None:
    assert window(per, at("2024-02-29T23:59:59") + 0.5) == Window(at(start), at(end))


def test_december_is_followed_by_january() -> None:
    assert window(Per.MONTH, at("2025-12-31T12:00:00")).end == at("2026-01-01T00:00:00")


@given(st.sampled_from(Metric), st.integers(0, MAX_UNITS))
def test_units_survive_being_written_as_people_write_them(metric: Metric, units: int) -> None:
    assert to_units(metric, plain(metric, units)) == units


@pytest.mark.parametrize(
    ("metric", "value", "units"),
    [
        (Metric.PREDICT_SECONDS, 2.5, 2_500_000),
        (Metric.PREDICT_SECONDS, 0.1 + 0.2, 300_000),
        (Metric.PREDICT_SECONDS, Decimal("0.0000005"), 1),
        (Metric.PREDICT_SECONDS, Decimal("0.00000049"), 0),
        (Metric.COST_USD, 1.2, 1_200_000_000),
        (Metric.COST_USD, Decimal("0.000000001"), 1),
        (Metric.PREDICTIONS, 7, 7),
        (Metric.IMAGES, 7.0, 7),
    ],
)
def test_amounts_become_exact_units(metric: Metric, value: Decimal | float, units: int) -> None:
    assert to_units(metric, value) == units


@pytest.mark.parametrize("value", [-1, float("nan"), float("inf"), Decimal("1e30"), 2**63])
@pytest.mark.parametrize("metric", list(Metric))
def test_senseless_amounts_are_refused(metric: Metric, value: Decimal | float) -> None:
    with pytest.raises(ValueError, match="amount"):
        to_units(metric, value)


def test_half_a_prediction_is_refused() -> None:
    with pytest.raises(ValueError, match="whole"):
        to_units(Metric.PREDICTIONS, 0.5)


@pytest.mark.parametrize(
    ("metric", "units", "text"),
    [
        (Metric.COST_USD, 1_200_000_000, "$1.20"),
        (Metric.COST_USD, 3_000_000, "$0.003"),
        (Metric.COST_USD, 1, "$0.000000001"),
        (Metric.COST_USD, 0, "$0.00"),
        (Metric.COST_USD, 1_234_000_000_000, "$1,234.00"),
        (Metric.PREDICT_SECONDS, 12_500_000, "12.5 s"),
        (Metric.PREDICT_SECONDS, 10_000_000, "10 s"),
        (Metric.PREDICT_SECONDS, 0, "0 s"),
        (Metric.IMAGES, 1204, "1,204 images"),
        (Metric.IMAGES, 1, "1 image"),
        (Metric.PREDICTIONS, 0, "0 predictions"),
    ],
)
def test_quantities_read_as_people_write_them(metric: Metric, units: int, text: str) -> None:
    assert from_units(metric, units) == text


def test_what_remains_is_never_negative() -> None:
    assert standing(Metric.IMAGES, 10, 4, 3).remaining == 3
    assert standing(Metric.IMAGES, 10, 9, 3).remaining == 0


def test_instants_are_named_in_utc() -> None:
    assert instant(at("2026-03-01T00:00:00")) == "2026-03-01 00:00 UTC"
    assert instant(at("2026-03-01T00:00:05")) == "2026-03-01 00:00:05 UTC"


def test_a_rule_is_named_with_its_window_and_models() -> None:
    rule = QuotaRule(Metric.PREDICT_SECONDS, 10**7, Per.WEEK, ("meta/*",))
    named = Standing(rule, "team:t", Window(0, 1), 0)
    assert named.describe() == "10 s of prediction time per week for meta/*"
    assert named.shared


@pytest.mark.parametrize(
    ("metric", "limit", "used", "expected"),
    [
        (Metric.PREDICTIONS, 100, 40, ("100", "60", "10")),
        (Metric.PREDICT_SECONDS, 10_900_000, 1_000_000, ("10", "9", "10")),
        (Metric.COST_USD, 800_000_000, 15_000_000, ("80", "78", "10")),
    ],
)
def test_ratelimit_headers_are_whole_numbers_rounded_down(
    metric: Metric, limit: int, used: int, expected: tuple[str, str, str]
) -> None:
    headers = ratelimit_headers(standing(metric, limit, used), now=90.5)
    assert tuple(value for _, value in headers) == expected
    assert [name for name, _ in headers] == [
        "ratelimit-limit",
        "ratelimit-remaining",
        "ratelimit-reset",
    ]
