"""What metrics show of the ledger's present state."""

from dataclasses import dataclass

from sqlalchemy import Connection, func, select

from gateway.ledger import outbox
from gateway.ledger.tables import creates, predictions

_IN_FLIGHT = (
    select(predictions.c.user_name, func.count())
    .where(predictions.c.settled_at.is_(None))
    .group_by(predictions.c.user_name)
)
_IN_DOUBT = select(func.count()).select_from(creates).where(creates.c.state == "doubt")
_OLDEST_LOOK = select(func.min(predictions.c.next_look_at)).where(
    predictions.c.settled_at.is_(None)
)


@dataclass(frozen=True, slots=True)
class Gauges:
    """Counts of now, ages in seconds."""

    in_flight: dict[str, int]
    creates_in_doubt: int
    outbox_pending: int
    outbox_oldest_s: float
    outbox_dead: int
    follower_lag_s: float


def gauges(conn: Connection, now: float) -> Gauges:
    """Read everything that is counted in the ledger rather than in a worker."""
    waiting = outbox.stats(conn)
    oldest_look = conn.execute(_OLDEST_LOOK).scalar_one()
    return Gauges(
        in_flight={name: int(count) for name, count in conn.execute(_IN_FLIGHT)},
        creates_in_doubt=int(conn.execute(_IN_DOUBT).scalar_one()),
        outbox_pending=waiting.pending,
        outbox_oldest_s=0.0 if waiting.oldest_at is None else max(0.0, now - waiting.oldest_at),
        outbox_dead=waiting.dead,
        follower_lag_s=0.0 if oldest_look is None else max(0.0, now - oldest_look),
    )
