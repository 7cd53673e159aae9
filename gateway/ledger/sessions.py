"""Sessions of the usage page that were signed out of: what a signed cookie cannot say itself.

They are among the facts that all workers share, for as long as a copy of the cookie could be good.
"""

from sqlalchemy import Connection, bindparam, delete, select

from gateway.ledger.statements import insert_or_ignore
from gateway.ledger.tables import facts

_PREFIX = "ended session "
_END = insert_or_ignore(facts)
_ENDED = select(facts.c.name).where(facts.c.name == bindparam("name"))
_FORGET = delete(facts).where(
    facts.c.name.startswith(_PREFIX, autoescape=True), facts.c.value < bindparam("before")
)


def end(conn: Connection, name: str, now: float, *, forget_before: float) -> None:
    """Note that a session has ended, and forget those that ended before."""
    conn.execute(_FORGET, {"before": _written(forget_before)})
    conn.execute(_END.on(conn), {"name": _PREFIX + name, "value": _written(now)})


def ended(conn: Connection, name: str) -> bool:
    """Whether a session was signed out of."""
    return conn.execute(_ENDED, {"name": _PREFIX + name}).one_or_none() is not None


def _written(at: float) -> str:
    # As wide as any other, so that texts compare as their times do.
    return f"{int(at):015d}"
