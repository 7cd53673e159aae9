"""Users and keys put straight into a ledger, as the command line would."""

from gateway.clock import Clock
from gateway.domain import keys as key_format
from gateway.domain import webhooks
from gateway.ledger import Connection, keys, users


def make_user(
    conn: Connection,
    clock: Clock,
    name: str,
    *,
    team: str | None = None,
    plan: str | None = None,
    role: str = "member",
    expires_at: float | None = None,
) -> str:
    """Add a user with a key; return the key."""
    user = users.add_user(
        conn,
        name=name,
        team=team,
        plan=plan,
        role=role,
        now=clock.now(),
        id=clock.new_id(),
        webhook_secret=webhooks.new_secret(clock.secret(webhooks.SECRET_BYTES)),
    )
    return make_key(conn, clock, user.id, expires_at)


def make_key(conn: Connection, clock: Clock, user_id: str, expires_at: float | None = None) -> str:
    """Add a key to a user; return it."""
    key = key_format.make_key(clock.secret(key_format.KEY_SECRET_BYTES))
    keys.add_key(
        conn,
        id=clock.new_id(),
        user_id=user_id,
        digest=key_format.digest(key),
        hint=key_format.hint(key),
        expires_at=expires_at,
        now=clock.now(),
    )
    return key
