"""Predictions and trainings, from the first snapshot to the end of their retention.

One door for what several modules hold: rows (`prediction_rows`), looks and snapshots (`looks`),
the end (`settling`), lists (`pages`), erasing (`erasing`), history (`usage`).
"""

from gateway.ledger.erasing import (
    Erased,
    erase,
    expired,
    forget,
    mark_gone,
    removed_since,
)
from gateway.ledger.looks import (
    Sighting,
    Snapshot,
    claim_look,
    claim_looks,
    confirm,
    due,
    look_at,
    next_due,
    note_missing,
    page_bounds,
    release_look,
    set_announced,
    store_snapshot,
)
from gateway.ledger.pages import Cursor, Filter, ids_of, page, rows
from gateway.ledger.prediction_rows import (
    Row,
    answered,
    document,
    get,
    get_many_with_documents,
    get_with_document,
    running_count,
)
from gateway.ledger.settling import Settlement, settle
from gateway.ledger.usage import recent_usage

__all__ = [
    "Cursor",
    "Erased",
    "Filter",
    "Row",
    "Settlement",
    "Sighting",
    "Snapshot",
    "answered",
    "claim_look",
    "claim_looks",
    "confirm",
    "document",
    "due",
    "erase",
    "expired",
    "forget",
    "get",
    "get_many_with_documents",
    "get_with_document",
    "ids_of",
    "look_at",
    "mark_gone",
    "next_due",
    "note_missing",
    "page",
    "page_bounds",
    "recent_usage",
    "release_look",
    "removed_since",
    "rows",
    "running_count",
    "set_announced",
    "settle",
    "store_snapshot",
]
