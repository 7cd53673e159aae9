"""Streams: who reads one upstream, and the events that were read."""

from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import Connection, bindparam, func, or_, select

from gateway.ledger.statements import insert_or_replace
from gateway.ledger.tables import stream_events, streams


@dataclass(frozen=True, slots=True)
class StreamRow:
    """One prediction's stream. `upstream_url` is a secret: whoever has it can read it."""

    prediction_id: str
    upstream_url: str
    created_at: float
    done_at: float | None
    claimed_until: float | None
    claimed_by: str | None

    def __repr__(self) -> str:
        return f"StreamRow(prediction_id={self.prediction_id!r}, done_at={self.done_at!r})"


@dataclass(frozen=True, slots=True)
class StreamEvent:
    """One event as upstream sent it. `seq` counts from 1 without gaps."""

    seq: int
    event_id: str | None
    event: str | None
    data: bytes


@dataclass(frozen=True, slots=True)
class StreamProgress:
    """How far the log of a stream has come, and until when somebody means to read on."""

    last_seq: int
    done_at: float | None
    claimed_until: float | None


MAX_PAGE_BYTES = 1024 * 1024
"""A page of the log ends with the event that makes it larger than this."""


_FIELDS = tuple(StreamRow.__dataclass_fields__)
_PUT = insert_or_replace(streams, "upstream_url")
_GET = select(*(streams.c[name] for name in _FIELDS)).where(
    streams.c.prediction_id == bindparam("key")
)
_CLAIM = (
    streams.update()
    .where(
        streams.c.prediction_id == bindparam("key"),
        streams.c.done_at.is_(None),
        or_(
            streams.c.claimed_until.is_(None),
            streams.c.claimed_until <= bindparam("now"),
            streams.c.claimed_by == bindparam("by"),
        ),
    )
    .values(claimed_until=bindparam("until"), claimed_by=bindparam("by"))
)
_RELEASE = (
    streams.update()
    .where(streams.c.prediction_id == bindparam("key"), streams.c.claimed_by == bindparam("by"))
    .values(claimed_until=None, claimed_by=None)
)
_DONE = (
    streams.update()
    .where(streams.c.prediction_id == bindparam("key"))
    .values(done_at=bindparam("at"), claimed_until=None, claimed_by=None)
)
_LAST = select(func.coalesce(func.max(stream_events.c.seq), 0)).where(
    stream_events.c.prediction_id == bindparam("key")
)
_AFTER = (
    select(
        stream_events.c.seq, stream_events.c.event_id, stream_events.c.event, stream_events.c.data
    )
    .where(
        stream_events.c.prediction_id == bindparam("key"), stream_events.c.seq > bindparam("from")
    )
    .order_by(stream_events.c.seq)
    .limit(bindparam("most"))
)
_PROGRESS = select(
    select(func.coalesce(func.max(stream_events.c.seq), 0))
    .where(stream_events.c.prediction_id == bindparam("key"))
    .scalar_subquery(),
    streams.c.done_at,
    streams.c.claimed_until,
).where(streams.c.prediction_id == bindparam("key"))
_later = stream_events.alias("later")
_PRUNE = stream_events.delete().where(
    stream_events.c.at < bindparam("before"),
    ~select(_later.c.seq)
    .where(
        _later.c.prediction_id == stream_events.c.prediction_id, _later.c.at >= bindparam("before")
    )
    .exists(),
)
# Whoever reads such a stream again gets it from upstream, or from the prediction's document.
_REOPEN = (
    streams.update()
    .where(
        streams.c.done_at.is_not(None),
        ~select(stream_events.c.seq)
        .where(stream_events.c.prediction_id == streams.c.prediction_id)
        .exists(),
    )
    .values(done_at=None)
)
_LAST_ID = (
    select(stream_events.c.event_id)
    .where(stream_events.c.prediction_id == bindparam("key"), stream_events.c.event_id.is_not(None))
    .order_by(stream_events.c.seq.desc())
    .limit(1)
)
_SEQ_OF = select(func.max(stream_events.c.seq)).where(
    stream_events.c.prediction_id == bindparam("key"),
    stream_events.c.event_id == bindparam("id_text"),
)


def register(conn: Connection, prediction_id: str, upstream_url: str, now: float) -> None:
    """Note where a prediction's stream is; upstream may name a new place."""
    conn.execute(
        _PUT.on(conn),
        {"prediction_id": prediction_id, "upstream_url": upstream_url, "created_at": now},
    )


def get(conn: Connection, prediction_id: str) -> StreamRow | None:
    """Find a stream."""
    row = conn.execute(_GET, {"key": prediction_id}).one_or_none()
    return None if row is None else StreamRow(*row)


def claim(conn: Connection, prediction_id: str, now: float, until: float, by: str) -> bool:
    """Become, or stay, the one who reads a stream upstream until then; False for everybody else."""
    values = {"key": prediction_id, "now": now, "until": until, "by": by}
    return conn.execute(_CLAIM, values).rowcount > 0


def release(conn: Connection, prediction_id: str, by: str) -> None:
    """Let somebody else read on."""
    conn.execute(_RELEASE, {"key": prediction_id, "by": by})


def done(conn: Connection, prediction_id: str, now: float) -> None:
    """Note that a stream was read to its end."""
    conn.execute(_DONE, {"key": prediction_id, "at": now})


def append(
    conn: Connection,
    prediction_id: str,
    events: Iterable[tuple[str | None, str | None, bytes]],
    now: float,
) -> int:
    """Log events (id, event, data) in order; return the last `seq`. Only the claim's holder may."""
    last = int(conn.execute(_LAST, {"key": prediction_id}).scalar_one())
    rows = []
    for event_id, event, data in events:
        last += 1
        rows.append(
            {
                "prediction_id": prediction_id,
                "seq": last,
                "event_id": event_id,
                "event": event,
                "data": data,
                "at": now,
            }
        )
    if rows:
        conn.execute(stream_events.insert(), rows)
    return last


def log(
    conn: Connection,
    prediction_id: str,
    by: str,
    events: Iterable[tuple[str | None, str | None, bytes]],
    *,
    after: int,
    now: float,
    until: float,
    ended: bool = False,
) -> bool:
    """Log events behind the place `after`, and keep the claim until then.

    False, and nothing is logged, if somebody else reads this stream now or has logged meanwhile.
    `ended` says that the last of these events is the stream's end.
    """
    if not claim(conn, prediction_id, now, until, by):
        return False
    if int(conn.execute(_LAST, {"key": prediction_id}).scalar_one()) != after:
        return False
    append(conn, prediction_id, events, now)
    if ended:
        done(conn, prediction_id, now)
    return True


def progress(conn: Connection, prediction_id: str) -> StreamProgress | None:
    """Tell how far the log of a stream has come; None if it was erased."""
    row = conn.execute(_PROGRESS, {"key": prediction_id}).one_or_none()
    return None if row is None else StreamProgress(*row)


def events_after(
    conn: Connection, prediction_id: str, seq: int, limit: int = 1000
) -> list[StreamEvent]:
    """Return logged events after a place, in order, a page at a time; begin with 0."""
    values = {"key": prediction_id, "from": seq, "most": limit}
    page: list[StreamEvent] = []
    size = 0
    with conn.execute(_AFTER, values) as rows:
        for row in rows:
            page.append(StreamEvent(row[0], row[1], row[2], bytes(row[3])))
            size += len(row[3])
            if size >= MAX_PAGE_BYTES:
                break
    return page


def seq_of(conn: Connection, prediction_id: str, event_id: str) -> int | None:
    """Return the place of a ``Last-Event-ID``."""
    seq: int | None = conn.execute(
        _SEQ_OF, {"key": prediction_id, "id_text": event_id}
    ).scalar_one()
    return seq


def last_id(conn: Connection, prediction_id: str) -> str | None:
    """Return the id of the last logged event that has one."""
    found: str | None = conn.execute(_LAST_ID, {"key": prediction_id}).scalar_one_or_none()
    return found


def prune(conn: Connection, before: float) -> int:
    """Delete the logs to which nothing was added since then; return how many events went."""
    count = conn.execute(_PRUNE, {"before": before}).rowcount
    conn.execute(_REOPEN)
    return count
