"""What the gateway has to know of a prediction or training, read from upstream's document.

Upstream's documents vary: fresh ones lack members, old ones have others, ``logs`` can be null. Only
``id`` and ``status`` are insisted on; every other odd member reads as absent.
"""

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from typing import Final

from gateway.domain.foreign_json import load_foreign
from gateway.domain.json_text import InvalidJson, item_spans, member_spans

_TIME: Final = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d):(\d\d)(?:\.(\d{1,12}))?"
    r"(?:[Zz]|([+-])(\d\d):?(\d\d))?",
    re.ASCII,
)


class NotAPrediction(InvalidJson):
    """The document is JSON, but has no ``id`` or no ``status``."""


@dataclass(frozen=True, slots=True)
class PredictionFacts:
    """Times are seconds since 1970 (UTC)."""

    id: str
    status: str
    model: str | None
    version: str | None
    source: str | None
    created_at: float | None
    created_at_text: str | None
    started_at: float | None
    completed_at: float | None
    has_output: bool
    """``output`` is there and not null."""
    output_count: int
    """Items of a list, 1 for any other output, 0 without one."""
    data_removed: bool
    stream_url: str | None
    """Upstream's; whoever has it can read the stream."""
    error: str | None
    metrics: Mapping[str, float]
    """The finite numbers among ``metrics``."""
    logs_length: int


@dataclass(frozen=True, slots=True)
class ListPage:
    """A page of an upstream list: its links, and its items byte for byte."""

    next: str | None
    previous: str | None
    items: tuple[bytes, ...]


def facts(body: bytes) -> PredictionFacts:
    """Reads upstream's document. Raises ``InvalidJson`` or ``NotAPrediction``."""
    return facts_of(load_foreign(body))


def facts_of(document: object) -> PredictionFacts:
    """Reads a decoded document. Raises ``NotAPrediction``."""
    if not isinstance(document, dict):
        raise NotAPrediction("The document is not a prediction: not an object")
    prediction_id, status = _text(document, "id"), _text(document, "status")
    if not prediction_id or not status:
        missing = "status" if prediction_id else "id"
        raise NotAPrediction(f"The document is not a prediction: it has no {missing}")
    output = document.get("output")
    urls = document.get("urls")
    metrics = document.get("metrics")
    return PredictionFacts(
        id=prediction_id,
        status=status,
        model=_text(document, "model"),
        version=_text(document, "version"),
        source=_text(document, "source"),
        created_at=_time(document, "created_at"),
        created_at_text=_text(document, "created_at"),
        started_at=_time(document, "started_at"),
        completed_at=_time(document, "completed_at"),
        has_output=output is not None,
        output_count=len(output) if isinstance(output, list) else int(output is not None),
        data_removed=document.get("data_removed") is True,
        stream_url=_text(urls, "stream") if isinstance(urls, dict) else None,
        error=_error(document.get("error")),
        metrics=dict(_numbers(metrics)) if isinstance(metrics, dict) else {},
        logs_length=len(_text(document, "logs") or ""),
    )


def list_page(body: bytes) -> ListPage:
    """Reads a page ``{"next", "previous", "results"}``. Raises ``InvalidJson``."""
    document = load_foreign(body)
    if not isinstance(document, dict) or not isinstance(document.get("results"), list):
        raise InvalidJson("The document is not a list: it has no results")
    items: tuple[bytes, ...] = ()
    for member in member_spans(body):
        if member.name == "results":
            spans = item_spans(body, member.start, member.end)
            items = tuple(body[start:end] for start, end in spans)
    return ListPage(_text(document, "next"), _text(document, "previous"), items)


def parse_time(text: str) -> float | None:
    """Seconds since 1970 of an ISO 8601 time with up to nanoseconds and ``Z`` or an offset.

    Without either it is taken as UTC, as upstream means it. ``None`` for anything else.
    """
    match = _TIME.fullmatch(text)
    if match is None:
        return None
    *fields, fraction, sign, hours, minutes = match.groups()
    year, month, day, hour, minute, second = map(int, fields)
    zone: timezone = UTC
    try:
        if sign:
            offset = timedelta(hours=int(hours), minutes=int(minutes))
            zone = timezone(-offset if sign == "-" else offset)
        # A leap second has no number of its own: it reads as the second before.
        moment = datetime(year, month, day, hour, minute, min(second, 59), tzinfo=zone)
        return moment.timestamp() + (float(f"0.{fraction}") if fraction else 0.0)
    except (ValueError, OverflowError):
        return None


def _text(document: Mapping[str, object], name: str) -> str | None:
    value = document.get(name)
    return value if isinstance(value, str) else None


def _time(document: Mapping[str, object], name: str) -> float | None:
    text = _text(document, name)
    return None if text is None else parse_time(text)


def _error(value: object) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return repr(value)[:1000]


def _numbers(metrics: Mapping[str, object]) -> Iterator[tuple[str, float]]:
    for name, value in metrics.items():
        if isinstance(value, int | float) and not isinstance(value, bool):
            try:
                number = float(value)
            except OverflowError:
                continue
            if math.isfinite(number):
                yield name, number
