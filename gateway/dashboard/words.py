"""Numbers, money and time as people write them."""

import math
from datetime import UTC, datetime

from gateway.domain.plans import Metric, Per
from gateway.domain.quota import Standing

_NANO = 10**9


def count(number: int) -> str:
    """Write a whole number: "1,204"."""
    return f"{number:,}"


def money(nano: int | None) -> str:
    """Write nanodollars: "$41.20", "$0.003"; an unknown amount is a dash."""
    if nano is None:
        return "–"
    dollars = nano / _NANO
    if nano == 0 or dollars >= 0.1:
        return f"${dollars:,.2f}"
    if dollars < 0.000_001:
        return "<$0.000001"
    digits = min(6, 1 - math.floor(math.log10(dollars)))
    return "$" + f"{dollars:.{digits}f}".rstrip("0")


def span(seconds: float) -> str:
    """Write a duration: "4.1 s", "12 min", "3.5 h", "7 d"."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    if seconds < 36 * 3600:
        return f"{seconds / 3600:.1f} h".replace(".0 h", " h")
    return f"{math.ceil(seconds / 86_400)} d"


def micro(us: int | None) -> str:
    """Write microseconds of prediction time; nothing known is a dash."""
    return "–" if us is None else span(us / 10**6)


def ago(at: float | None, now: float) -> str:
    """Write how long ago something was; None was never."""
    if at is None:
        return "never"
    passed = now - at
    return (
        "just now" if passed < 5 else f"{span(passed) if passed >= 10 else f'{passed:.0f} s'} ago"
    )


def size(octets: int) -> str:
    """Write a number of bytes: "1.2 GB"."""
    amount = float(octets)
    for unit in ("B", "KB", "MB", "GB"):
        if amount < 1000:
            return (
                f"{amount:.0f} {unit}" if unit == "B" or amount >= 100 else f"{amount:.1f} {unit}"
            )
        amount /= 1000
    return f"{amount:.1f} TB"


def iso(at: float) -> str:
    """Write an instant for programs, in UTC."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def exact(at: float) -> str:
    """Write an instant for people, in UTC."""
    return datetime.fromtimestamp(at, UTC).strftime("%-d %b %Y %H:%M:%S UTC")


def date(day: int) -> str:
    """Write a day since 1970: "3 Nov"."""
    return datetime.fromtimestamp(day * 86_400, UTC).strftime("%-d %b")


def amount(metric: Metric, units: int) -> str:
    """Write an amount of what a quota counts, without its noun."""
    if metric is Metric.COST_USD:
        return money(units).removesuffix(".00") if units else "$0"
    if metric is Metric.PREDICT_SECONDS:
        seconds = units / 10**6
        return f"{seconds:,.0f} s" if seconds >= 10 or seconds == 0 else f"{seconds:.1f} s"
    return count(units)


_NOUNS = {
    Metric.REQUESTS: "Requests",
    Metric.PREDICTIONS: "Predictions",
    Metric.PREDICT_SECONDS: "Prediction time",
    Metric.IMAGES: "Images",
    Metric.TOKENS: "Tokens",
    Metric.COST_USD: "Spend",
}
_WINDOWS = {
    Per.SECOND: "this second",
    Per.MINUTE: "this minute",
    Per.HOUR: "this hour",
    Per.DAY: "today",
    Per.WEEK: "this week",
    Per.MONTH: "this month",
}


def noun(standing: Standing) -> str:
    """Name what a rule counts."""
    return _NOUNS[standing.rule.metric]


def window(standing: Standing) -> str:
    """Name a rule's window."""
    return _WINDOWS[standing.rule.per]
