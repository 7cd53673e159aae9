"""Calendar windows in UTC, exact quantities, and how much of a quota is left."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import ROUND_HALF_UP, Context, Decimal

from gateway.domain.plans import Metric, Per, QuotaRule, team_subject

MAX_UNITS = 2**62
"""No quantity exceeds this: the sum of two still fits a 64-bit column."""

_PER_PIECE = {Metric.PREDICT_SECONDS: 10**6, Metric.COST_USD: 10**9}
_LENGTHS = {Per.SECOND: 1, Per.MINUTE: 60, Per.HOUR: 3600, Per.DAY: 86_400}
_WEEK = 7 * 86_400
_FIRST_MONDAY = 4 * 86_400  # 1970 began on a Thursday
_EXACT = Context(prec=60, rounding=ROUND_HALF_UP)

SHORT = frozenset({Per.SECOND, Per.MINUTE})
"""Windows worth waiting for: refused with 429 and ``Retry-After``; longer ones with 402."""


@dataclass(frozen=True, slots=True)
class Window:
    """The instants from `start` (included) to `end` (not included), in seconds since 1970."""

    start: float
    end: float


@dataclass(frozen=True, slots=True)
class Counter:
    """What a window holds: `used` for good, and `reserved` by what is still running."""

    used: int = 0
    reserved: int = 0


def window(per: Per, at: float) -> Window:
    """Return the calendar window in UTC that contains this instant. Weeks begin on Monday."""
    second = math.floor(at)
    if per is Per.MONTH:
        day = datetime.fromtimestamp(second, UTC)
        start = datetime(day.year, day.month, 1, tzinfo=UTC)
        following = (day.year + 1, 1) if day.month == 12 else (day.year, day.month + 1)
        return Window(start.timestamp(), datetime(*following, 1, tzinfo=UTC).timestamp())
    if per is Per.WEEK:
        begin = (second - _FIRST_MONDAY) // _WEEK * _WEEK + _FIRST_MONDAY
        return Window(float(begin), float(begin + _WEEK))
    length = _LENGTHS[per]
    begin = second // length * length
    return Window(float(begin), float(begin + length))


def to_units(metric: Metric, value: Decimal | float) -> int:
    """Turn an amount as people write it (2.5 seconds, 0.003 dollars) into whole units.

    Half a unit rounds up. Raises ValueError for negative, endless or absurd amounts, and for parts
    of things that come in pieces.
    """
    amount = value if isinstance(value, Decimal) else Decimal(repr(value))
    if not amount.is_finite() or amount < 0:
        raise ValueError("an amount is a number from 0 up")
    if amount > MAX_UNITS:
        raise ValueError("an amount this large cannot be counted")
    scaled = _EXACT.multiply(amount, _PER_PIECE.get(metric, 1))
    units = int(scaled.to_integral_value(context=_EXACT))
    if units > MAX_UNITS:
        raise ValueError("an amount this large cannot be counted")
    if metric not in _PER_PIECE and units != amount:
        raise ValueError(f"{metric} come in whole numbers")
    return units


def plain(metric: Metric, units: int) -> Decimal:
    """Return units as the number that people use: pieces, seconds or dollars, exactly."""
    return _EXACT.divide(Decimal(units), _PER_PIECE.get(metric, 1)).normalize(_EXACT)


def from_units(metric: Metric, units: int) -> str:
    """Return units as text for people: "1,204 images", "12.5 s", "$1.20", "$0.003"."""
    if metric is Metric.COST_USD:
        dollars, nanos = divmod(abs(units), 10**9)
        fraction = f"{nanos:09d}".rstrip("0").ljust(2, "0")
        return f"{'-' if units < 0 else ''}${dollars:,}.{fraction}"
    if metric is Metric.PREDICT_SECONDS:
        seconds, micros = divmod(abs(units), 10**6)
        fraction = f".{micros:06d}".rstrip("0").rstrip(".")
        return f"{'-' if units < 0 else ''}{seconds:,}{fraction} s"
    return f"{units:,} {metric.value[:-1] if abs(units) == 1 else metric.value}"


def instant(at: float) -> str:
    """Return an instant as people read it: "2026-03-01 00:00 UTC", with seconds if needed."""
    moment = datetime.fromtimestamp(math.ceil(at), UTC)
    return moment.strftime("%Y-%m-%d %H:%M:%S UTC" if moment.second else "%Y-%m-%d %H:%M UTC")


@dataclass(frozen=True, slots=True)
class Standing:
    """What is known of one rule now: whose counter it reads, of which window, and what is in it."""

    rule: QuotaRule
    subject: str
    window: Window
    used: int
    reserved: int = 0

    @property
    def taken(self) -> int:
        """Used and reserved together."""
        return self.used + self.reserved

    @property
    def remaining(self) -> int:
        """What is left, never below 0."""
        return max(0, self.rule.limit - self.taken)

    @property
    def shared(self) -> bool:
        """Whether the budget is a team's."""
        return self.subject.startswith(team_subject(""))

    def describe(self) -> str:
        """Name the rule in a few words: "100 predictions per day for owner/*"."""
        models = f" for {', '.join(self.rule.models)}" if self.rule.models else ""
        amount = from_units(self.rule.metric, self.rule.limit)
        amount += _OF.get(self.rule.metric, "")
        return f"{amount} per {self.rule.per}{models}"


_OF = {
    Metric.PREDICT_SECONDS: " of prediction time",
    Metric.COST_USD: " of estimated cost",
}
"""What an amount is of, where its unit does not say so."""


def seconds_until(end: float, now: float) -> int:
    """Return whole seconds to wait from `now` until `end`: rounded up, at least 1."""
    return max(1, math.ceil(end - now))


_IN_HEADERS: dict[Metric, Callable[[int], int]] = {
    Metric.PREDICT_SECONDS: lambda units: units // 10**6,
    Metric.COST_USD: lambda units: units // 10**7,
}


def ratelimit_headers(standing: Standing, now: float) -> tuple[tuple[str, str], ...]:
    """Return the ``ratelimit-*`` headers that tell a program about this standing.

    They hold whole numbers: pieces, seconds of prediction time, or US cents, rounded down;
    ``ratelimit-reset`` is the number of seconds until the window ends, rounded up.
    """
    whole = _IN_HEADERS.get(standing.rule.metric, int)
    return (
        ("ratelimit-limit", str(whole(standing.rule.limit))),
        ("ratelimit-remaining", str(whole(standing.remaining))),
        ("ratelimit-reset", str(seconds_until(standing.window.end, now))),
    )
