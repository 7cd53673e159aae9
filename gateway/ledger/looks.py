"""Following running predictions: who looks next, and what was seen."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, and_, bindparam, case, func, or_, select

from gateway.ledger import files as file_rows
from gateway.ledger import outbox
from gateway.ledger.outbox import Tell
from gateway.ledger.prediction_rows import COLUMNS, Row, row_of
from gateway.ledger.statements import insert_or_replace
from gateway.ledger.tables import documents, predictions


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """A prediction that has not ended, as upstream showed it at `at`. `rank` is its status's."""

    document: bytes
    status: str
    rank: int
    at: float
    next_look_at: float
    files: Sequence[str] = ()
    tell: Tell | None = None


@dataclass(frozen=True, slots=True)
class Sighting:
    """A running prediction that a list showed in the status that is known of it, at `at`."""

    id: str
    status: str
    at: float
    next_look_at: float


_RUNNING = predictions.c.settled_at.is_(None)
_UNCLAIMED = or_(predictions.c.look_until.is_(None), predictions.c.look_until <= bindparam("now"))
_CLAIM = (
    predictions.update()
    .where(
        predictions.c.id == bindparam("key"),
        _RUNNING,
        _UNCLAIMED,
        predictions.c.snapshot_at <= bindparam("not_newer_than"),
    )
    .values(look_until=bindparam("until"), look_by=bindparam("by"))
)
_RELEASE = (
    predictions.update()
    .where(predictions.c.id == bindparam("key"), predictions.c.look_by == bindparam("by"))
    .values(look_until=bindparam("until"))
)
_DUE = (
    select(*COLUMNS)
    .where(_RUNNING, predictions.c.next_look_at <= bindparam("now"), _UNCLAIMED)
    .order_by(predictions.c.next_look_at)
    .limit(bindparam("most"))
)
_CONFIRM = (
    predictions.update()
    .where(
        predictions.c.id == bindparam("key"),
        _RUNNING,
        predictions.c.status == bindparam("seen_status"),
    )
    .values(
        snapshot_at=case(
            (predictions.c.snapshot_at < bindparam("seen_at"), bindparam("seen_at")),
            else_=predictions.c.snapshot_at,
        ),
        next_look_at=bindparam("then"),
        look_until=None,
        first_missing_at=None,
    )
)
_NEXT_DUE = select(func.min(predictions.c.next_look_at)).where(_RUNNING)
_LOOK_AT = (
    predictions.update()
    .where(predictions.c.id == bindparam("key"), _RUNNING)
    .values(next_look_at=bindparam("then"))
)
_SNAPSHOT = (
    predictions.update()
    .where(
        predictions.c.id == bindparam("key"),
        _RUNNING,
        predictions.c.removed_at.is_(None),
        # Never backwards: an older answer can arrive after a younger one.
        or_(
            predictions.c.status_rank < bindparam("new_rank"),
            and_(
                predictions.c.status_rank == bindparam("new_rank"),
                predictions.c.snapshot_at <= bindparam("seen_at"),
            ),
        ),
    )
    .values(
        status=bindparam("new_status"),
        status_rank=bindparam("new_rank"),
        snapshot_at=bindparam("seen_at"),
        next_look_at=bindparam("then"),
        look_until=None,
        first_missing_at=None,
    )
)
_SEEN = (
    predictions.update()
    .where(predictions.c.id == bindparam("key"), _RUNNING)
    .values(next_look_at=bindparam("then"), look_until=None)
)
_MISSING = (
    predictions.update()
    .where(predictions.c.id == bindparam("key"), _RUNNING)
    .values(first_missing_at=func.coalesce(predictions.c.first_missing_at, bindparam("missed_at")))
)
_MISSING_SINCE = select(predictions.c.first_missing_at).where(predictions.c.id == bindparam("key"))
_ANNOUNCED = (
    predictions.update()
    .where(predictions.c.id == bindparam("key"))
    .values(announced=bindparam("said"))
)
# The row has been changed in this transaction already, so nobody else can change this meanwhile.
_ANNOUNCED_BEFORE = select(predictions.c.announced).where(predictions.c.id == bindparam("key"))
PUT_DOCUMENT = insert_or_replace(documents, "body")


def claim_look(
    conn: Connection,
    prediction_id: str,
    *,
    now: float,
    not_newer_than: float,
    until: float,
    by: str,
) -> bool:
    """Become the one who asks upstream, until then.

    False if somebody else is about to, if the snapshot is newer than that, or if it has ended.
    """
    values = {
        "key": prediction_id,
        "now": now,
        "not_newer_than": not_newer_than,
        "until": until,
        "by": by,
    }
    return conn.execute(_CLAIM, values).rowcount > 0


def claim_looks(
    conn: Connection, prediction_ids: Sequence[str], *, now: float, until: float, by: str
) -> frozenset[str]:
    """Become the one who asks upstream about several; return those that nobody else asks about."""
    return frozenset(
        one
        for one in sorted(prediction_ids)
        if claim_look(conn, one, now=now, not_newer_than=now, until=until, by=by)
    )


def confirm(conn: Connection, seen: Sequence[Sighting]) -> frozenset[str]:
    """Note that these are still what their snapshots say, and give the claims on them back.

    Returns those of which that is true; a snapshot of another status has come in meanwhile, or the
    end, for the others.
    """
    return frozenset(
        one.id
        for one in sorted(seen, key=lambda one: one.id)
        if conn.execute(
            _CONFIRM,
            {
                "key": one.id,
                "seen_status": one.status,
                "seen_at": one.at,
                "then": one.next_look_at,
            },
        ).rowcount
        > 0
    )


def page_bounds(conn: Connection, size: int, pages: int) -> list[float]:
    """Return when the last prediction on each of the first pages of a list of all was made.

    Newest first; fewer bounds than pages if there are not so many predictions.
    """
    statement = (
        select(predictions.c.created_at)
        .where(predictions.c.kind == "prediction")
        .order_by(predictions.c.created_at.desc())
        .limit(size * pages)
    )
    made = [float(row[0]) for row in conn.execute(statement)]
    return made[size - 1 :: size] + ([made[-1]] if len(made) % size else [])


def release_look(
    conn: Connection, prediction_id: str, *, by: str, until: float | None = None
) -> None:
    """Give a claim back, at once or, so that nobody asks too soon, at `until`."""
    conn.execute(_RELEASE, {"key": prediction_id, "by": by, "until": until})


def due(conn: Connection, now: float, limit: int) -> list[Row]:
    """List running predictions whose next look is due and that nobody looks at."""
    return [row_of(row) for row in conn.execute(_DUE, {"now": now, "most": limit})]


def next_due(conn: Connection) -> float | None:
    """Return when the next look of all is due."""
    at: float | None = conn.execute(_NEXT_DUE).scalar_one()
    return at


def look_at(conn: Connection, prediction_id: str, at: float) -> None:
    """Set when the follower looks next."""
    conn.execute(_LOOK_AT, {"key": prediction_id, "then": at})


def store_snapshot(conn: Connection, prediction_id: str, snapshot: Snapshot) -> bool:
    """Keep what was seen of a running prediction, and give the claim on it back.

    False, and the stored document stays, if that one is newer (by rank of status, then by time), or
    if the prediction has ended or was erased.
    """
    stored = conn.execute(
        _SNAPSHOT,
        {
            "key": prediction_id,
            "new_rank": snapshot.rank,
            "new_status": snapshot.status,
            "seen_at": snapshot.at,
            "then": snapshot.next_look_at,
        },
    )
    if stored.rowcount < 1:
        conn.execute(_SEEN, {"key": prediction_id, "then": snapshot.next_look_at})
        return False
    conn.execute(PUT_DOCUMENT.on(conn), {"prediction_id": prediction_id, "body": snapshot.document})
    file_rows.register(conn, prediction_id, snapshot.files, snapshot.at)
    announce(conn, prediction_id, snapshot.tell, snapshot.at)
    return True


def note_missing(conn: Connection, prediction_id: str, at: float) -> float:
    """Note that upstream does not know a running prediction; return since when it has not."""
    conn.execute(_MISSING, {"key": prediction_id, "missed_at": at})
    since = conn.execute(_MISSING_SINCE, {"key": prediction_id}).scalar_one_or_none()
    return at if since is None else float(since)


def announce(conn: Connection, prediction_id: str, tell: Tell | None, now: float) -> None:
    """Queue what is news to a prediction's webhook, with whatever else is being committed."""
    if tell is None:
        return
    before = conn.execute(_ANNOUNCED_BEFORE, {"key": prediction_id}).scalar_one_or_none()
    told = tell(before)
    if told.announced != before:
        set_announced(conn, prediction_id, told.announced)
    outbox.enqueue(conn, told.events, now)


def set_announced(conn: Connection, prediction_id: str, said: str | None) -> None:
    """Note, in the webhook flow's own words, what has been told about a prediction so far."""
    conn.execute(_ANNOUNCED, {"key": prediction_id, "said": said})
