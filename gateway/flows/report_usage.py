"""Who used what: the ledger's sums in the form in which programs and people read them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from functools import partial

from gateway.domain.instants import date_of, iso
from gateway.domain.plans import Metric
from gateway.domain.quota import plain
from gateway.ledger import Ledger, usage
from gateway.ledger.usage import By, UsageLine

Value = str | int | float | None

DEFAULT_SPAN_S = 30 * 86_400.0
"""What a report covers unless it is told otherwise: the last thirty days."""

AXES: tuple[By, ...] = ("user", "team", "model", "day", "status")
"""What a report can be broken down by."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is asked: by what, from `since` to before `until`, of whom, of which model.

    Raises ValueError for a time that ends before it begins.
    """

    by: tuple[By, ...]
    since: float
    until: float
    user: str | None = None
    user_id: str | None = None
    team: str | None = None
    model: str | None = None

    def __post_init__(self) -> None:
        if self.since >= self.until:
            begin, end = iso(self.since), iso(self.until)
            raise ValueError(f"it begins at {begin}, which is not before its end at {end}")


@dataclass(frozen=True, slots=True)
class Report:
    """The lines that were asked for, and their sum."""

    question: Question
    lines: tuple[UsageLine, ...]
    total: UsageLine


class ReportUsage:
    """Answers questions about usage."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    async def __call__(self, question: Question) -> Report:
        """Add up what was created in this time."""
        found = await self._ledger.read(
            partial(
                usage.report,
                by=question.by,
                since=question.since,
                until=question.until,
                user=question.user,
                user_id=question.user_id,
                team=question.team,
                model=None if question.model is None else question.model.lower(),
            )
        )
        return Report(question, tuple(found), total_of(found))


def total_of(lines: Iterable[UsageLine]) -> UsageLine:
    """Add lines up, whatever they are by."""
    lines = list(lines)
    sums = {
        field.name: sum(getattr(line, field.name) for line in lines)
        for field in fields(UsageLine)
        if field.name not in (*AXES, "user_id")
    }
    return UsageLine(user=None, user_id=None, team=None, model=None, day=None, status=None, **sums)


def cost_of(line: UsageLine) -> int | None:
    """Return the estimated cost in nanodollars of what has a price; None if nothing has.

    Of what is still running nothing is known yet.
    """
    priced = line.predictions - line.running - line.unpriced
    return None if line.predictions and not priced else line.cost_nano


def line_record(line: UsageLine, by: Sequence[By]) -> dict[str, Value]:
    """Write one line: what it is by, then the amounts. An unknown cost is null, never 0."""
    axes: dict[str, Value] = {
        "user": line.user,
        "user_id": line.user_id,
        "team": line.team,
        "model": line.model,
        "day": None if line.day is None else date_of(line.day),
        "status": line.status,
    }
    wanted = {*by, "user_id"} if "user" in by else set(by)
    cost = cost_of(line)
    return {
        **{name: value for name, value in axes.items() if name in wanted},
        "predictions": line.predictions,
        "running": line.running,
        "failed": line.failed,
        "predict_seconds": number(Metric.PREDICT_SECONDS, line.predict_us),
        "images": line.images,
        "input_tokens": line.tokens_in,
        "output_tokens": line.tokens_out,
        "estimated_cost_usd": None if cost is None else number(Metric.COST_USD, cost),
        "unpriced": line.unpriced,
    }


def report_record(report: Report) -> dict[str, object]:
    """Write a whole report."""
    question = report.question
    return {
        "since": iso(question.since),
        "until": iso(question.until),
        "by": list(question.by),
        "lines": [line_record(line, question.by) for line in report.lines],
        "total": line_record(report.total, ()),
    }


def number(metric: Metric, units: int) -> int | float:
    """Return units as the number that people use, whole where it is."""
    value = plain(metric, units)
    return int(value) if value == value.to_integral_value() else float(value)
