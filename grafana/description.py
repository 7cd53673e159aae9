"""The words in which dashboards are described; :mod:`grafana.generate` makes Grafana's JSON of it.

Units are Grafana's names for them. Thresholds are (value, colour) above a base colour, green as a
rule.
"""

from dataclasses import dataclass
from typing import Literal

P = "replicate_gateway_"
WHO = 'user=~"$user",team=~"$team",model=~"$model"'
RATE = "[$__rate_interval]"

Kind = Literal["timeseries", "stat", "bars"]


@dataclass(frozen=True, slots=True)
class Query:
    """One line of a panel: a PromQL expression and its legend."""

    expr: str
    legend: str


@dataclass(frozen=True, slots=True)
class PanelOf:
    """One panel; `width` is of 24 columns, the height follows from the kind.

    `empty` is what it shows where no data is good news.
    """

    title: str
    description: str
    unit: str
    queries: tuple[Query, ...]
    kind: Kind = "timeseries"
    width: int = 12
    thresholds: tuple[tuple[float, str], ...] = ()
    stacked: bool = False
    highest: float | None = None
    base: str = "green"
    empty: str | None = None


@dataclass(frozen=True, slots=True)
class Board:
    """One dashboard; `variables` are labels that can be chosen."""

    uid: str
    title: str
    description: str
    variables: tuple[str, ...]
    rows: tuple[tuple[str, tuple[PanelOf, ...]], ...]


def panel(
    title: str,
    description: str,
    unit: str,
    *queries: tuple[str, str],
    kind: Kind = "timeseries",
    width: int = 12,
    thresholds: tuple[tuple[float, str], ...] = (),
    stacked: bool = False,
    highest: float | None = None,
    base: str = "green",
    empty: str | None = None,
) -> PanelOf:
    """Describe a panel by pairs of expression and legend."""
    lines = tuple(Query(expr, legend) for expr, legend in queries)
    return PanelOf(
        title, description, unit, lines, kind, width, thresholds, stacked, highest, base, empty
    )


def per_second(name: str, by: str, selector: str = "") -> str:
    """Return the summed rate of a counter."""
    return f"sum by ({by}) (rate({P}{name}_total{{{selector}}}{RATE}))"


def in_range(name: str, by: str) -> str:
    """Return how much a counter grew in the range that is shown, the ten largest.

    A series that was born within the range counts whole: increase() would not see its first value.
    """
    all_of = f"{P}{name}_total{{{WHO}}}"
    return (
        f"topk(10, sum by ({by}) (({all_of} unless {all_of} offset $__range) "
        f"or increase({all_of}[$__range])))"
    )


BAD_ABOVE_5_PERCENT = ((0.01, "yellow"), (0.05, "red"))
