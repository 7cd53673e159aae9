"""Admit a create, or say which rule stands in its way.

Whoever asks holds the lock on the counters: what is decided here is exact only as long as nobody
else changes them between the reading and the reservation.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction

from gateway.domain.models import rule_applies
from gateway.domain.plans import Metric, QuotaRule
from gateway.domain.quota import SHORT, Standing, seconds_until


@dataclass(frozen=True, slots=True)
class Demand:
    """What a request is expected to take, in whole units; an unknown cost is None, never 0.

    `requests` is 0 for a create because the request that carries it has been counted on its way
    in. Reads ask with ``Demand(predictions=0, requests=1)``.
    """

    predictions: int = 1
    predict_us: int = 0
    images: int = 0
    tokens: int = 0
    cost_nano: int | None = None
    requests: int = 0

    def of(self, metric: Metric) -> int | None:
        """Return the amount in one metric, None where it is unknown."""
        amounts: dict[Metric, int | None] = {
            Metric.REQUESTS: self.requests,
            Metric.PREDICTIONS: self.predictions,
            Metric.PREDICT_SECONDS: self.predict_us,
            Metric.IMAGES: self.images,
            Metric.TOKENS: self.tokens,
            Metric.COST_USD: self.cost_nano,
        }
        return amounts[metric]


@dataclass(frozen=True, slots=True)
class Admitted:
    """Go ahead. `unknown` are the rules that could not be weighed because the cost is unknown."""

    unknown: tuple[QuotaRule, ...] = ()


@dataclass(frozen=True, slots=True)
class QuotaRefused:
    """A quota stands in the way.

    402 if waiting for it would be foolish, else 429 and then `retry_after` seconds. `needed` is
    what this request would have taken of it.
    """

    standing: Standing
    status: int
    retry_after: int | None
    needed: int = 0


@dataclass(frozen=True, slots=True)
class TooManyRunning:
    """As many predictions are running as the plan allows at a time."""

    running: int
    limit: int


Decision = Admitted | QuotaRefused | TooManyRunning
Refusal = QuotaRefused | TooManyRunning


def applicable(
    rules: Iterable[tuple[QuotaRule, str]], *names: str
) -> tuple[tuple[QuotaRule, str], ...]:
    """Return the rules (with their subjects) that count a prediction of the model so named."""
    return tuple((rule, subject) for rule, subject in rules if rule_applies(rule, *names))


def fits(standing: Standing, needed: int) -> bool:
    """Return whether so much more has room.

    One that is expected to need more than the whole limit fits an untouched budget: estimates err,
    and nothing would ever be admitted otherwise. A limit of 0 lets nothing through.
    """
    limit = standing.rule.limit
    if limit == 0:
        return needed == 0 and standing.taken <= 0
    return standing.taken + min(needed, limit) <= limit


def decide(
    standings: Sequence[Standing], running: int, limit: int | None, demand: Demand, now: float
) -> Decision:
    """Weigh a demand against every standing and against the concurrency limit.

    Of several rules in the way, the one whose window ends last is reported: after the others have
    made room, it would refuse still.
    """
    unknown: list[QuotaRule] = []
    refused: tuple[Standing, int] | None = None
    for standing in standings:
        amount = demand.of(standing.rule.metric)
        if amount is None:
            unknown.append(standing.rule)
        needed = amount or 0
        if fits(standing, needed):
            continue
        if refused is None or standing.window.end > refused[0].window.end:
            refused = (standing, needed)
    if refused is not None:
        standing, needed = refused
        if standing.rule.per in SHORT:
            return QuotaRefused(standing, 429, seconds_until(standing.window.end, now), needed)
        return QuotaRefused(standing, 402, None, needed)
    if limit is not None and running + demand.predictions > limit:
        return TooManyRunning(running, limit)
    return Admitted(tuple(unknown))


def tightest(standings: Iterable[Standing]) -> Standing | None:
    """Return the standing with the least of its limit left; of equals, the longest window's."""
    return min(
        standings,
        key=lambda standing: (
            Fraction(standing.remaining, standing.rule.limit) if standing.rule.limit else 0,
            -standing.window.end,
        ),
        default=None,
    )
