"""What the configuration says about users, published to every worker; and a few small facts."""

from sqlalchemy import Connection, bindparam, select

from gateway.ledger.statements import (
    bump,
    insert_or_ignore,
    insert_or_replace,
    lock,
    read_revision,
)
from gateway.ledger.tables import facts, state

_READ = select(state.c.revision, state.c.published).where(state.c.id == 1)
_PUBLISH = (
    state.update()
    .where(state.c.id == 1)
    .values(published=bindparam("policy"), published_at=bindparam("at"))
)
_FACT = select(facts.c.value).where(facts.c.name == bindparam("name"))
_REMEMBER = insert_or_ignore(facts)
_CORRECT = insert_or_replace(facts, "value")


def publish(conn: Connection, policy_json: str, now: float) -> int:
    """Publish a policy (``Policy.to_json``); the revision grows only if it says something new."""
    lock(conn, "published")
    revision, known = published(conn)
    if known == policy_json:
        return revision
    conn.execute(_PUBLISH, {"policy": policy_json, "at": now})
    bump(conn)
    return read_revision(conn)


def published(conn: Connection) -> tuple[int, str | None]:
    """Return the revision and the policy published last, None before the first."""
    row = conn.execute(_READ).one()
    return int(row[0]), row[1]


def remember(conn: Connection, name: str, value: str) -> str:
    """Keep a small fact that all workers share, such as a secret; who comes first decides it."""
    conn.execute(_REMEMBER.on(conn), {"name": name, "value": value})
    return str(conn.execute(_FACT, {"name": name}).scalar_one())


def correct(conn: Connection, name: str, value: str) -> None:
    """Keep a small fact that may change; who comes last decides it."""
    conn.execute(_CORRECT.on(conn), {"name": name, "value": value})


def recall(conn: Connection, name: str) -> str | None:
    """Return a fact that was remembered."""
    value: str | None = conn.execute(_FACT, {"name": name}).scalar_one_or_none()
    return value
