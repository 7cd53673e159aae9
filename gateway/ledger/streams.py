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


def events_after(
    conn: Connection, prediction_id: str, seq: int, limit: int = 1000
) -> list[StreamEvent]:
    """Return logged events after a place, in order; begin with 0."""
    values = {"key": prediction_id, "from": seq, "most": limit}
    return [
        StreamEvent(row[0], row[1], row[2], bytes(row[3])) for row in conn.execute(_AFTER, values)
    ]


def seq_of(conn: Connection, prediction_id: str, event_id: str) -> int | None:
    """Return the place of a ``Last-Event-ID``."""
    seq: int | None = conn.execute(
        _SEQ_OF, {"key": prediction_id, "id_text": event_id}
    ).scalar_one()
    return seq


def prune(conn: Connection, before: float) -> int:
    """Delete events logged before then; return how many."""
    return conn.execute(stream_events.delete().where(stream_events.c.at < before)).rowcount
