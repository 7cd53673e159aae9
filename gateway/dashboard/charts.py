"""Bars for charts that are drawn on the server: SVG without script, each with its numbers."""

from collections.abc import Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 600, 120


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar, in the chart's own units, and what it says; without text there is nothing."""

    x: str
    y: str
    width: str
    height: str
    label: str
    text: str


@dataclass(frozen=True, slots=True)
class Chart:
    """Bars over time, the text of the highest value, and the ends of the axis."""

    title: str
    bars: tuple[Bar, ...]
    most: str
    first: str
    last: str
    summary: str


def chart(title: str, points: Sequence[tuple[str, int, str]], summary: str) -> Chart:
    """Draw (label, value, text) points in their order."""
    most = max((value for _, value, _ in points), default=0)
    step = WIDTH / max(1, len(points))
    bars = []
    for place, (label, value, text) in enumerate(points):
        height = 0.0 if most == 0 or value == 0 else max(2.0, value / most * HEIGHT)
        bars.append(
            Bar(
                f"{place * step + step * 0.1:.1f}",
                f"{HEIGHT - height:.1f}",
                f"{step * 0.8:.1f}",
                f"{height:.1f}",
                label,
                text if value else "",
            )
        )
    highest = max(points, key=lambda point: point[1], default=("", 0, ""))
    return Chart(
        title,
        tuple(bars),
        highest[2] if most else "",
        points[0][0] if points else "",
        points[-1][0] if points else "",
        summary,
    )
