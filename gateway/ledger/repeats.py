"""Creates whose client never got the answer, and who asks for it again."""

from sqlalchemy import Connection, and_, bindparam, case

from gateway.ledger.create_rows import OPEN, RECORDED, SELECT, CreateRow, create_of
from gateway.ledger.tables import creates

_DELIVERED = (
    creates.update()
    .where(creates.c.id == bindparam("key"), creates.c.delivered_at.is_(None))
    .values(delivered_at=bindparam("now"))
)
_UNDELIVERED = and_(creates.c.delivered_at.is_(None), creates.c.joined_at.is_(None))
_JOINABLE = (
    SELECT.where(
        creates.c.key_id == bindparam("by_key"),
        creates.c.body_digest == bindparam("digest"),
        creates.c.at >= bindparam("since"),
        creates.c.target == bindparam("to"),
        creates.c.state.in_([*OPEN, RECORDED]),
        _UNDELIVERED,
    )
    # One that has an answer before one that is still to be waited for.
    .order_by(case((creates.c.state == RECORDED, 0), else_=1), creates.c.at, creates.c.id)
    .limit(1)
)
_JOIN = (
    creates.update()
    .where(creates.c.id == bindparam("key"), _UNDELIVERED)
    .values(joined_at=bindparam("now"))
)
_LEAVE = (
    creates.update()
    .where(creates.c.id == bindparam("key"), creates.c.delivered_at.is_(None))
    .values(joined_at=None)
)


def mark_delivered(conn: Connection, create_id: str, now: float) -> None:
    """Note that the client has its answer, so that no retry may join this create."""
    conn.execute(_DELIVERED, {"key": create_id, "now": now})


def find_joinable(
    conn: Connection, key_id: str, target: str, body_digest: str, since: float
) -> CreateRow | None:
    """Find an earlier attempt, made since then, whose answer its client never got.

    One that is recorded comes before one that is still open. Take it (`take_joinable`) once its
    answer is there.
    """
    row = conn.execute(
        _JOINABLE, {"by_key": key_id, "to": target, "digest": body_digest, "since": since}
    ).one_or_none()
    return None if row is None else create_of(row)


def take_joinable(conn: Connection, create_id: str, now: float) -> bool:
    """Take an attempt's answer for a retry, each at most once; False if somebody else has."""
    return conn.execute(_JOIN, {"key": create_id, "now": now}).rowcount > 0


def leave_joinable(conn: Connection, create_id: str) -> None:
    """Give an attempt back whose answer did not reach the retry that had taken it either."""
    conn.execute(_LEAVE, {"key": create_id})
