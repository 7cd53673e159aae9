"""Lists of predictions, newest first, a page at a time."""

from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, or_, select, tuple_

from gateway.ledger.prediction_rows import COLUMNS, WITH_DOCUMENT, Row, row_of, with_document
from gateway.ledger.tables import predictions

MADE_HERE = "api"
"""The source of everything that is made through the gateway."""


@dataclass(frozen=True, slots=True)
class Cursor:
    """A place in the list: beside this prediction."""

    created_at: float
    id: str

    @classmethod
    def of(cls, row: Row) -> "Cursor":
        """The place of a row."""
        return cls(row.created_at, row.id)


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """Which predictions; None means any. Times are inclusive below, exclusive above."""

    user_id: str | None = None
    team: str | None = None
    kind: str | None = None
    model: str | None = None
    status: str | None = None
    source: str | None = None
    created_after: float | None = None
    created_before: float | None = None
    running: bool | None = None
    removed: bool | None = None


def page(
    conn: Connection,
    which: Filter,
    *,
    before: Cursor | None = None,
    after: Cursor | None = None,
    limit: int = 100,
) -> list[tuple[Row, bytes]]:
    """Return rows with documents, newest first: those older than `before`, or the nearest that are
    newer than `after`, or the newest.
    """
    statement = WITH_DOCUMENT
    for condition in _conditions(which):
        statement = statement.where(condition)
    at, name = _place(which)
    if after is not None:
        statement = statement.where(tuple_(at, name) > (after.created_at, after.id))
        statement = statement.order_by(at, name)
    else:
        statement = statement.order_by(at.desc(), name.desc())
        if before is not None:
            statement = statement.where(tuple_(at, name) < (before.created_at, before.id))
    found = [with_document(row) for row in conn.execute(statement.limit(limit))]
    return found[::-1] if after is not None else found


def rows(
    conn: Connection, which: Filter, *, before: Cursor | None = None, limit: int = 100
) -> list[Row]:
    """Return rows without documents, newest first."""
    statement = select(*COLUMNS)
    for condition in _conditions(which):
        statement = statement.where(condition)
    at, name = _place(which)
    statement = statement.order_by(at.desc(), name.desc())
    if before is not None:
        statement = statement.where(tuple_(at, name) < (before.created_at, before.id))
    return [row_of(row) for row in conn.execute(statement.limit(limit))]


def _place(which: Filter) -> tuple[ColumnElement[float], ColumnElement[str]]:
    """What a list is ordered by."""
    at: ColumnElement[float] = predictions.c.created_at
    if which.running:
        # Few are running: better sorted than looked for along the index of all that ever were.
        at = at + 0.0
    return at, predictions.c.id


def ids_of(conn: Connection, user_id: str, limit: int = 1000) -> list[str]:
    """List what a user made and has not been erased: for purging, until none is left."""
    found = conn.execute(
        select(predictions.c.id)
        .where(predictions.c.user_id == user_id, predictions.c.removed_at.is_(None))
        .limit(limit)
    )
    return [row[0] for row in found]


def _conditions(which: Filter) -> list[ColumnElement[bool]]:
    table = predictions.c
    conditions: list[ColumnElement[bool]] = []
    for column, value in (
        (table.user_id, which.user_id),
        (table.team, which.team),
        (table.kind, which.kind),
        (table.model, which.model),
        (table.status, which.status),
    ):
        if value is not None:
            conditions.append(column == value)
    if which.source == MADE_HERE:
        # A fresh document may not say its source yet; all that is made here is made by the API.
        conditions.append(or_(table.source == MADE_HERE, table.source.is_(None)))
    elif which.source is not None:
        conditions.append(table.source == which.source)
    if which.created_after is not None:
        conditions.append(table.created_at >= which.created_after)
    if which.created_before is not None:
        conditions.append(table.created_at < which.created_before)
    for column_, flag in ((table.settled_at, which.running), (table.removed_at, which.removed)):
        if flag is not None:
            wants_null = flag if column_ is table.settled_at else not flag
            conditions.append(column_.is_(None) if wants_null else column_.is_not(None))
    return conditions
