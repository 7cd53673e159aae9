"""Predictions in short: what their rows say, without their documents; and creates in doubt."""

from dataclasses import dataclass
from functools import partial

from gateway.domain.cursors import Cursor
from gateway.domain.instants import iso
from gateway.domain.plans import Metric
from gateway.flows.paging import page_link
from gateway.flows.report_usage import number
from gateway.ledger import Ledger, predictions
from gateway.ledger.creates import CreateRow
from gateway.ledger.predictions import Filter, Row


@dataclass(frozen=True, slots=True)
class RowPage:
    """One page, and where the next one is."""

    rows: tuple[Row, ...]
    next: str | None


class ListRows:
    """Lists predictions in short, newest first."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    async def __call__(
        self, which: Filter, cursor: Cursor | None, limit: int, base: str, query: str
    ) -> RowPage:
        """Return one page; `base` and `query` are the address of this one."""
        place = None if cursor is None else predictions.Cursor(cursor.created_at, cursor.id)
        found = await self._ledger.read(
            partial(predictions.rows, which=which, before=place, limit=limit + 1)
        )
        page = found[:limit]
        following = None
        if len(found) > limit:
            following = page_link(base, query, Cursor(page[-1].created_at, page[-1].id))
        return RowPage(tuple(page), following)


def row_record(row: Row, origin: str) -> dict[str, object]:
    """Write one for programs; an unknown cost is null, never 0."""
    return {
        "id": row.id,
        "kind": row.kind,
        "status": row.status,
        "model": row.model,
        "version": row.version,
        "deployment": row.deployment,
        "user": row.user_name,
        "user_id": row.user_id,
        "team": row.team,
        "source": row.source,
        "created_at": iso(row.created_at),
        "started_at": _iso(row.started_at),
        "completed_at": _iso(row.completed_at),
        "removed_at": _iso(row.removed_at),
        "predict_seconds": _number(Metric.PREDICT_SECONDS, row.predict_us),
        "images": row.images,
        "input_tokens": row.tokens_in,
        "output_tokens": row.tokens_out,
        "estimated_cost_usd": _number(Metric.COST_USD, row.cost_nano),
        "url": f"{origin}/replicate/v1/{row.kind}s/{row.id}",
    }


ROW_FIELDS = (
    "id",
    "kind",
    "status",
    "model",
    "version",
    "deployment",
    "user",
    "user_id",
    "team",
    "source",
    "created_at",
    "started_at",
    "completed_at",
    "removed_at",
    "predict_seconds",
    "images",
    "input_tokens",
    "output_tokens",
    "estimated_cost_usd",
    "url",
)
"""The fields of `row_record`, for those who need them before the first row."""


def orphan_record(row: CreateRow) -> dict[str, object]:
    """Write a create whose answer was lost for programs."""
    return {
        "create_id": row.id,
        "sent_at": iso(row.at),
        "lost_at": _iso(row.doubted_at),
        "user": row.user_name,
        "user_id": row.user_id,
        "team": row.team,
        "kind": row.kind,
        "target": row.target,
        "model": row.model,
        "candidates": (row.candidates or "").split(),
        "assigned": row.prediction_id,
    }


def _iso(at: float | None) -> str | None:
    return None if at is None else iso(at)


def _number(metric: Metric, units: int | None) -> int | float | None:
    return None if units is None else number(metric, units)
