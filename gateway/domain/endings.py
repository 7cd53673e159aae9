"""Documents that upstream does not write: of what it lost, removed first, or was removed here."""

from collections.abc import Mapping

from gateway.domain.foreign_json import load_foreign
from gateway.domain.json_text import member_spans, set_members

LOST_ERROR = "Replicate no longer knows this prediction"
"""The `error` of a prediction that upstream answers 404 for, ten minutes long."""

LOST_AFTER_S = 600.0


def as_lost(body: bytes) -> bytes:
    """Return the last known document as the end of a prediction that upstream lost."""
    return set_members(body, {"status": "failed", "error": LOST_ERROR})


def with_last_data(body: bytes, last: bytes) -> bytes:
    """Return a terminal document whose data upstream has removed, with the data last seen of it.

    Without an output in the last snapshot there is nothing to put back, and it stays as it is.
    """
    known = load_foreign(last)
    if not isinstance(known, Mapping) or known.get("output") is None:
        return body
    kept = {
        member.name: last[member.start : member.end]
        for member in member_spans(last)
        if member.name in ("input", "output", "logs")
    }
    return set_members(body, {**kept, "data_removed": False})


def removed(body: bytes) -> bytes:
    """Return a document without its data, as upstream shows its own removed ones."""
    return set_members(body, {"input": {}, "output": None, "logs": "", "data_removed": True})
