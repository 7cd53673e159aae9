"""The upstream account's allowance: buckets that workers and machines draw from together.

Only kept here; how a bucket fills and what upstream's word does to it is the upstream room's.
"""

from dataclasses import asdict, dataclass

from sqlalchemy import Connection, bindparam, select

from gateway.ledger.statements import insert_or_replace, lock
from gateway.ledger.tables import allowance


@dataclass(frozen=True, slots=True)
class BucketRow:
    """A bucket's state at `updated_at`; times are seconds since 1970, the rate is a minute's."""

    tokens: float
    updated_at: float
    per_minute: float
    lowered_at: float
    blocked_until: float


_NAMES = tuple(BucketRow.__dataclass_fields__)
_GET = select(*(allowance.c[name] for name in _NAMES)).where(allowance.c.kind == bindparam("of"))
_PUT = insert_or_replace(allowance, *_NAMES)


def held(conn: Connection, kind: str) -> BucketRow | None:
    """Read a bucket and let nobody else change it until the transaction ends; None before the
    first `put`.
    """
    lock(conn, f"allowance:{kind}")
    row = conn.execute(_GET, {"of": kind}).one_or_none()
    return None if row is None else BucketRow(*row)


def seen(conn: Connection, kind: str) -> BucketRow | None:
    """Read a bucket for people to look at; nobody is kept from changing it."""
    row = conn.execute(_GET, {"of": kind}).one_or_none()
    return None if row is None else BucketRow(*row)


def put(conn: Connection, kind: str, bucket: BucketRow) -> None:
    """Keep a bucket's new state."""
    conn.execute(_PUT.on(conn), {"kind": kind, **asdict(bucket)})
