"""Erasing what predictions hold, on their owner's demand or when their time is over."""

from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import Connection, bindparam, delete, select

from gateway.ledger.looks import PUT_DOCUMENT
from gateway.ledger.prediction_rows import get_locked
from gateway.ledger.tables import (
    creates,
    documents,
    files,
    outbox,
    prediction_files,
    predictions,
    stream_events,
    streams,
)


@dataclass(frozen=True, slots=True)
class Erased:
    """What is left to do: these files belong to nobody any more, and their bytes can go."""

    urls: tuple[str, ...]


_REMOVE = (
    predictions.update()
    .where(predictions.c.id == bindparam("key"))
    .values(
        removed_at=bindparam("now"),
        substitutions=None,
        webhook=None,
        webhook_events=None,
        announced=None,
    )
)
_NO_DOCUMENT = documents.delete().where(documents.c.prediction_id == bindparam("key"))
_NO_WEBHOOKS = outbox.delete().where(outbox.c.prediction_id == bindparam("key"))
_NO_EVENTS = stream_events.delete().where(stream_events.c.prediction_id == bindparam("key"))
_NO_STREAM = streams.delete().where(streams.c.prediction_id == bindparam("key"))
_NO_ANSWER = (
    creates.update()
    .where(creates.c.prediction_id == bindparam("key"))
    .values(answer_body=None, substitutions=None, webhook=None, webhook_events=None)
)
_mine = prediction_files.alias("mine")
_other = prediction_files.alias("other")
_ORPHANED = (
    select(_mine.c.url)
    .join(files, files.c.url == _mine.c.url)
    .where(
        _mine.c.prediction_id == bindparam("key"),
        files.c.state != "gone",
        ~select(_other.c.url)
        .join(predictions, predictions.c.id == _other.c.prediction_id)
        .where(
            _other.c.url == _mine.c.url,
            _other.c.prediction_id != _mine.c.prediction_id,
            predictions.c.removed_at.is_(None),
        )
        .exists(),
    )
    .order_by(_mine.c.url)
)
_GONE = (
    files.update()
    .where(files.c.url == bindparam("key"))
    .values(state="gone", next_attempt_at=None, claimed_until=None, last_error=None)
)
_EXPIRED = (
    select(predictions.c.id)
    .where(predictions.c.removed_at.is_(None), predictions.c.settled_at < bindparam("before"))
    .order_by(predictions.c.settled_at)
    .limit(bindparam("most"))
)
_REMOVED = (
    select(predictions.c.id, predictions.c.removed_at)
    .where(predictions.c.removed_at >= bindparam("since"))
    .order_by(predictions.c.removed_at, predictions.c.id)
    .limit(bindparam("most"))
)
_FORGOTTEN = (
    select(predictions.c.id)
    .where(
        predictions.c.removed_at < bindparam("removed_before"),
        predictions.c.charged_at < bindparam("charged_before"),
        predictions.c.settled_at.is_not(None),
    )
    .order_by(predictions.c.removed_at)
    .limit(bindparam("most"))
)
_OWNED = select(prediction_files.c.url).where(prediction_files.c.url == files.c.url).exists()


def erase(
    conn: Connection,
    prediction_id: str,
    now: float,
    document: bytes | None = None,
    *,
    keep_files: bool = False,
) -> Erased | None:
    """Erase a prediction's document, files, webhooks and stream; charges and totals stay.

    `document` is what remains to be shown in its place. None if there is no such prediction.
    Erasing twice is harmless. Rows go here; the bytes of the files returned, after the commit.
    `keep_files` leaves the files: their own time is not over yet.
    """
    row = get_locked(conn, prediction_id)
    if row is None:
        return None
    conn.execute(_REMOVE, {"key": prediction_id, "now": row.removed_at or now})
    if document is None:
        conn.execute(_NO_DOCUMENT, {"key": prediction_id})
    else:
        conn.execute(PUT_DOCUMENT.on(conn), {"prediction_id": prediction_id, "body": document})
    for statement in (_NO_WEBHOOKS, _NO_EVENTS, _NO_STREAM, _NO_ANSWER):
        conn.execute(statement, {"key": prediction_id})
    if keep_files:
        return Erased(())
    urls = tuple(found[0] for found in conn.execute(_ORPHANED, {"key": prediction_id}))
    mark_gone(conn, urls)
    return Erased(urls)


def mark_gone(conn: Connection, urls: Iterable[str]) -> None:
    """Note that files are gone for good."""
    rows = [{"key": url} for url in sorted(urls)]
    if rows:
        conn.execute(_GONE, rows)


def expired(conn: Connection, settled_before: float, limit: int) -> list[str]:
    """List finished predictions whose time is over, oldest first."""
    return [row[0] for row in conn.execute(_EXPIRED, {"before": settled_before, "most": limit})]


def removed_since(conn: Connection, since: float, limit: int) -> list[tuple[str, float]]:
    """List what was erased from then on, and when: the copies of it must go everywhere."""
    found = conn.execute(_REMOVED, {"since": since, "most": limit})
    return [(row[0], row[1]) for row in found]


def forget(conn: Connection, removed_before: float, charged_before: float, limit: int) -> int:
    """Delete the rows of what was erased long ago and that no quota's window holds; how many.

    Daily totals stay.
    """
    values = {"removed_before": removed_before, "charged_before": charged_before, "most": limit}
    ids = [row[0] for row in conn.execute(_FORGOTTEN, values)]
    if ids:
        conn.execute(delete(prediction_files).where(prediction_files.c.prediction_id.in_(ids)))
        conn.execute(delete(documents).where(documents.c.prediction_id.in_(ids)))
        conn.execute(delete(predictions).where(predictions.c.id.in_(ids)))
        conn.execute(delete(files).where(files.c.state == "gone", ~_OWNED))
    return len(ids)
