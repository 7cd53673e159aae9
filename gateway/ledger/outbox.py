"""The outbox: what is to be told to users' and teams' webhooks, until it is delivered or dead."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, and_, bindparam, func, or_, select

from gateway.ledger.prediction_rows import for_update
from gateway.ledger.statements import insert_or_ignore
from gateway.ledger.tables import outbox


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboxEvent:
    """One thing to tell. `id` is the webhook-id, the same on every attempt.

    Events with the same `once` are queued only once. The secret to sign with is looked up when it
    is sent: the user's by `user_id`, else the team's by `team`.
    """

    id: str
    event: str
    url: str
    body: bytes
    user_id: str | None = None
    team: str | None = None
    prediction_id: str | None = None
    once: str | None = None


@dataclass(frozen=True, slots=True)
class Told:
    """What a prediction's webhook has been told, in the webhook flow's own words, and the news."""

    announced: str
    events: Sequence[OutboxEvent] = ()


Tell = Callable[[str | None], Told]
"""From what has been told before to what is told now. Pure: a transaction may run it again."""


@dataclass(frozen=True, slots=True)
class OutboxRow:
    """One event on its way. Neither `next_attempt_at` nor `dead_at`: delivered."""

    id: str
    event: str
    url: str
    body: bytes
    user_id: str | None
    team: str | None
    prediction_id: str | None
    created_at: float
    attempts: int
    next_attempt_at: float | None
    claimed_until: float | None
    delivered_at: float | None
    dead_at: float | None
    last_status: int | None
    last_error: str | None

    @property
    def state(self) -> str:
        """``pending``, ``delivered`` or ``dead``."""
        if self.delivered_at is not None:
            return "delivered"
        return "pending" if self.dead_at is None else "dead"


@dataclass(frozen=True, slots=True)
class OutboxStats:
    """How many wait, since when the oldest does, and how many are dead letters."""

    pending: int
    oldest_at: float | None
    dead: int


_COLUMNS = tuple(outbox.c[name] for name in OutboxRow.__dataclass_fields__)
_ENQUEUE = insert_or_ignore(outbox)
_GET = select(*_COLUMNS).where(outbox.c.id == bindparam("key"))
_DUE = for_update(
    select(*_COLUMNS)
    .where(
        outbox.c.next_attempt_at <= bindparam("now"),
        or_(outbox.c.claimed_until.is_(None), outbox.c.claimed_until <= bindparam("now")),
    )
    .order_by(outbox.c.next_attempt_at, outbox.c.created_at, outbox.c.id)
    .limit(bindparam("most"))
)
_CLAIM = (
    outbox.update()
    .where(outbox.c.id == bindparam("key"))
    .values(claimed_until=bindparam("until"), claimed_by=bindparam("by"))
)
_TRIED = (
    outbox.update()
    .where(
        outbox.c.id == bindparam("key"),
        outbox.c.delivered_at.is_(None),
    )
    .values(
        attempts=outbox.c.attempts + 1,
        claimed_until=None,
        claimed_by=None,
        next_attempt_at=bindparam("again_at"),
        delivered_at=bindparam("done_at"),
        dead_at=bindparam("given_up_at"),
        last_status=bindparam("status"),
        last_error=bindparam("error"),
    )
)
_STATES = {
    "pending": outbox.c.next_attempt_at.is_not(None),
    "delivered": outbox.c.delivered_at.is_not(None),
    "dead": outbox.c.dead_at.is_not(None),
}
_STATS = select(
    func.count(outbox.c.next_attempt_at),
    func.min(outbox.c.created_at),
).where(outbox.c.next_attempt_at.is_not(None))
_DEAD = select(func.count()).select_from(outbox).where(outbox.c.dead_at.is_not(None))


def enqueue(conn: Connection, events: Iterable[OutboxEvent], now: float) -> int:
    """Queue events; return how many were new."""
    added = 0
    for place, event in enumerate(events):
        added += conn.execute(
            _ENQUEUE.on(conn),
            {
                "id": event.id,
                "once": event.once,
                "user_id": event.user_id,
                "team": event.team,
                "prediction_id": event.prediction_id,
                "event": event.event,
                "url": event.url,
                "body": event.body,
                # What is queued together is delivered in this order.
                "created_at": now + place * 1e-6,
                "attempts": 0,
                "next_attempt_at": now,
            },
        ).rowcount
    return added


def claim_due(conn: Connection, now: float, limit: int, until: float, by: str) -> list[OutboxRow]:
    """Take events that are due, for one worker until then."""
    rows = [OutboxRow(*row) for row in conn.execute(_DUE, {"now": now, "most": limit})]
    if rows:
        conn.execute(_CLAIM, [{"key": row.id, "until": until, "by": by} for row in rows])
    return rows


def delivered(conn: Connection, event_id: str, now: float, status: int) -> None:
    """Note that it has arrived."""
    _tried(conn, event_id, done_at=now, status=status)


def failed(
    conn: Connection, event_id: str, next_attempt_at: float, error: str, status: int | None = None
) -> None:
    """Note that an attempt failed, and when to try again."""
    _tried(conn, event_id, again_at=next_attempt_at, error=error, status=status)


def dead(
    conn: Connection, event_id: str, now: float, error: str, status: int | None = None
) -> None:
    """Give it up: a dead letter, kept for an admin to look at or to retry."""
    _tried(conn, event_id, given_up_at=now, error=error, status=status)


def get(conn: Connection, event_id: str) -> OutboxRow | None:
    """Find an event."""
    row = conn.execute(_GET, {"key": event_id}).one_or_none()
    return None if row is None else OutboxRow(*row)


def list_events(
    conn: Connection,
    *,
    state: str | None = None,
    user_id: str | None = None,
    prediction_id: str | None = None,
    limit: int = 100,
    before: tuple[float, str] | None = None,
) -> list[OutboxRow]:
    """List events, newest first; `state` is pending, delivered or dead. `before` is the time and
    id of the last event of the page before.
    """
    statement = select(*_COLUMNS).order_by(outbox.c.created_at.desc(), outbox.c.id).limit(limit)
    if state is not None:
        statement = statement.where(_STATES[state])
    if user_id is not None:
        statement = statement.where(outbox.c.user_id == user_id)
    if prediction_id is not None:
        statement = statement.where(outbox.c.prediction_id == prediction_id)
    if before is not None:
        at, name = before
        older = or_(outbox.c.created_at < at, and_(outbox.c.created_at == at, outbox.c.id > name))
        statement = statement.where(older)
    return [OutboxRow(*row) for row in conn.execute(statement)]


def retry(conn: Connection, now: float, event_id: str | None = None) -> int:
    """Put a dead letter (or all of them) back in the queue; return how many."""
    statement = outbox.update().where(outbox.c.dead_at.is_not(None))
    if event_id is not None:
        statement = statement.where(outbox.c.id == event_id)
    return conn.execute(
        statement.values(next_attempt_at=now, dead_at=None, attempts=0, last_error=None)
    ).rowcount


def stats(conn: Connection) -> OutboxStats:
    """Count what waits and what is dead."""
    pending, oldest = conn.execute(_STATS).one()
    return OutboxStats(int(pending), oldest, int(conn.execute(_DEAD).scalar_one()))


def prune(
    conn: Connection,
    *,
    delivered_before: float,
    dead_before: float,
    warnings_before: float | None = None,
) -> int:
    """Delete what was delivered, and dead letters that nobody cared for; return how many.

    What belongs to no prediction is kept until `warnings_before`: while it is there, it is not
    said again.
    """
    if warnings_before is None:
        warnings_before = delivered_before
    of_predictions = outbox.c.prediction_id.is_not(None)
    return conn.execute(
        outbox.delete().where(
            or_(
                and_(
                    outbox.c.delivered_at.is_not(None),
                    or_(
                        and_(of_predictions, outbox.c.created_at < delivered_before),
                        outbox.c.created_at < warnings_before,
                    ),
                ),
                and_(
                    outbox.c.dead_at.is_not(None),
                    outbox.c.created_at < dead_before,
                    or_(of_predictions, outbox.c.created_at < warnings_before),
                ),
            )
        )
    ).rowcount


def _tried(
    conn: Connection,
    event_id: str,
    *,
    again_at: float | None = None,
    done_at: float | None = None,
    given_up_at: float | None = None,
    status: int | None = None,
    error: str | None = None,
) -> None:
    conn.execute(
        _TRIED,
        {
            "key": event_id,
            "again_at": again_at,
            "done_at": done_at,
            "given_up_at": given_up_at,
            "status": status,
            "error": error,
        },
    )
