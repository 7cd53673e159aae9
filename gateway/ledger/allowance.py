"""The upstream account's allowance as a bucket that workers and machines draw from together."""

from dataclasses import dataclass

from sqlalchemy import Connection, bindparam, select

from gateway.ledger.statements import insert_or_ignore
from gateway.ledger.tables import allowance


@dataclass(frozen=True, slots=True)
class Draw:
    """What came of drawing: how many were granted, and if none, how long until one is there."""

    granted: int
    wait_s: float
    left: float


_NEW = insert_or_ignore(allowance)
_GET = (
    select(allowance.c.tokens, allowance.c.updated_at)
    .where(allowance.c.kind == bindparam("of"))
    .with_for_update()
)
_SET = (
    allowance.update()
    .where(allowance.c.kind == bindparam("of"))
    .values(tokens=bindparam("left"), updated_at=bindparam("at"))
)


def draw(conn: Connection, kind: str, *, want: int, now: float, per_s: float, burst: float) -> Draw:
    """Take up to `want` whole tokens from a bucket of `burst`, filled with `per_s` a second."""
    tokens, at = _level(conn, kind, now, per_s, burst)
    granted = max(0, min(want, int(tokens)))
    if granted > 0:
        conn.execute(_SET, {"of": kind, "left": tokens - granted, "at": at})
    wait = 0.0 if granted or want == 0 else (1.0 - tokens) / per_s
    return Draw(granted, wait, tokens - granted)


def correct(
    conn: Connection, kind: str, *, left: float, now: float, per_s: float, burst: float
) -> None:
    """Lower the bucket to what upstream says is left; below 0 makes everybody wait longer."""
    tokens, at = _level(conn, kind, now, per_s, burst)
    if left < tokens:
        conn.execute(_SET, {"of": kind, "left": left, "at": at})


def give_back(
    conn: Connection, kind: str, *, count: int, now: float, per_s: float, burst: float
) -> None:
    """Return tokens that were not needed."""
    tokens, at = _level(conn, kind, now, per_s, burst)
    conn.execute(_SET, {"of": kind, "left": min(burst, tokens + count), "at": at})


def _level(
    conn: Connection, kind: str, now: float, per_s: float, burst: float
) -> tuple[float, float]:
    row = conn.execute(_GET, {"of": kind}).one_or_none()
    if row is None:
        conn.execute(_NEW.on(conn), {"kind": kind, "tokens": burst, "updated_at": now})
        row = conn.execute(_GET, {"of": kind}).one()
    # Machines' clocks differ a little: time does not run backwards here.
    at = max(now, row[1])
    return min(burst, row[0] + (at - row[1]) * per_s), at
