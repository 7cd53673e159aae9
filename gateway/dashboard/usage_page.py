"""My usage: what is left of each quota, and what was spent on what."""

from dataclasses import dataclass

from gateway.dashboard import words
from gateway.dashboard.charts import Chart, chart
from gateway.dashboard.start_page import first_lines
from gateway.dashboard.visit import Page, Place, Reply, Visit
from gateway.domain.quota import Standing
from gateway.flows.report_limits import ReportLimits
from gateway.flows.report_usage import Question, Report, ReportUsage, cost_of
from gateway.ledger.usage import By, UsageLine

SPANS = (7, 30, 90)
_DAY_S = 86_400


@dataclass(frozen=True, slots=True)
class Quota:
    """One quota as it is shown; `percent` is how much of it is taken."""

    noun: str
    window: str
    used: str
    limit: str
    left: str
    reserved: str
    resets_in: str
    resets_at: float
    percent: int
    models: str
    shared: bool
    estimated: bool


@dataclass(frozen=True, slots=True)
class ModelLine:
    """What one model took; `share` is its part of all predictions in percent."""

    model: str
    predictions: str
    failed: str
    seconds: str
    images: str
    tokens: str
    cost: str
    share: int


class UsagePage:
    """Answers `/dashboard`."""

    def __init__(self, usage: ReportUsage, limits: ReportLimits) -> None:
        self._usage = usage
        self._limits = limits

    def places(self) -> tuple[Place, ...]:
        """Return the addresses."""
        return (Place("GET", "", self.show), Place("GET", "/usage", self.show))

    async def show(self, visit: Visit) -> Reply:
        """Show it."""
        days = _days(visit)
        limits = await self._limits(visit.identity)
        by_day = await self._ask(visit, "day", days)
        by_model = await self._ask(visit, "model", days)
        return Page(
            "usage.html",
            {
                "days": days,
                "spans": SPANS,
                "quotas": quotas(limits.standings, limits.at),
                "lines": first_lines(visit.origin),
                "running": limits.running,
                "most_running": limits.identity.plan.concurrent_predictions,
                "plan": limits.identity.plan.name,
                "total": by_day.total,
                "total_cost": cost_of(by_day.total),
                "charts": charts(by_day, visit.now, days),
                "rows": day_rows(by_day),
                "models": model_lines(by_model),
            },
        )

    async def _ask(self, visit: Visit, by: By, days: int) -> Report:
        return await self._usage(
            Question(
                by=(by,),
                since=start_of(visit.now, days),
                until=visit.now + 1,
                user_id=visit.identity.user_id,
            )
        )


def _days(visit: Visit) -> int:
    wanted = visit.query.get("days", "")
    return int(wanted) if wanted in {str(span) for span in SPANS} else 30


def start_of(now: float, days: int) -> float:
    """Return when the first of so many days began (UTC), today being the last."""
    return (now // _DAY_S - days + 1) * _DAY_S


def quotas(standings: tuple[Standing, ...], now: float) -> list[Quota]:
    """Return quotas as they are shown."""
    return [
        Quota(
            noun=words.noun(one),
            window=words.window(one),
            used=words.amount(one.rule.metric, one.used),
            limit=words.amount(one.rule.metric, one.rule.limit),
            left=words.amount(one.rule.metric, one.remaining),
            reserved=words.amount(one.rule.metric, one.reserved) if one.reserved else "",
            resets_in=words.span(max(1.0, one.window.end - now)),
            resets_at=one.window.end,
            percent=min(100, round(100 * one.taken / one.rule.limit)) if one.rule.limit else 100,
            models=", ".join(one.rule.models),
            shared=one.shared,
            estimated=one.rule.metric.value == "cost_usd",
        )
        for one in standings
    ]


def charts(report: Report, now: float, days: int) -> list[Chart]:
    """Draw predictions and spend, a bar a day."""
    by_day = {line.day: line for line in report.lines}
    today = int(now // _DAY_S)
    made, spent = [], []
    for day in range(today - days + 1, today + 1):
        line = by_day.get(day)
        number = 0 if line is None else line.predictions
        cost = 0 if line is None else line.cost_nano
        made.append((words.date(day), number, f"{number:,}"))
        spent.append((words.date(day), cost, f"≈{words.money(cost)}"))
    total = report.total
    return [
        chart("Predictions a day", made, f"{total.predictions:,} predictions in {days} days"),
        chart("Estimated spend a day", spent, f"{_spent(total)} in {days} days"),
    ]


def day_rows(report: Report) -> list[tuple[str, str, str, str]]:
    """Return the table behind the charts, the newest day first."""
    return [
        (
            words.date(line.day or 0),
            words.count(line.predictions),
            words.micro(line.predict_us),
            _cost(cost_of(line)),
        )
        for line in sorted(report.lines, key=lambda line: -(line.day or 0))
    ]


def model_lines(report: Report) -> list[ModelLine]:
    """Return models by how many predictions they made."""
    most = max((line.predictions for line in report.lines), default=0)
    return [
        ModelLine(
            model=line.model or "unknown",
            predictions=words.count(line.predictions),
            failed=words.count(line.failed),
            seconds=words.micro(line.predict_us),
            images=words.count(line.images),
            tokens=words.count(line.tokens_in + line.tokens_out),
            cost=_cost(cost_of(line)),
            share=round(100 * line.predictions / most) if most else 0,
        )
        for line in sorted(report.lines, key=lambda line: -line.predictions)
    ]


def _spent(total: UsageLine) -> str:
    """Write a sum: what has no known price is named beside it, never taken for nothing."""
    if not total.unpriced:
        return _cost(cost_of(total))
    return f"{_cost(cost_of(total))} (no known price: {words.count(total.unpriced)})"


def _cost(nano: int | None) -> str:
    return "unknown" if nano is None else f"≈{words.money(nano)}"
