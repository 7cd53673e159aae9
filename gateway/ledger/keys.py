"""Keys: known by their digest only."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, bindparam, or_, select

from gateway.ledger.errors import NotKnown
from gateway.ledger.statements import bump
from gateway.ledger.tables import keys, users


@dataclass(frozen=True, slots=True)
class KeyRow:
    """A key together with its user, as much as deciding about a request takes."""

    key_id: str
    expires_at: float | None
    revoked_at: float | None
    user_id: str
    user_name: str
    team: str | None
    plan: str | None
    role: str
    overrides: str | None
    disabled_at: float | None

    @property
    def disabled(self) -> bool:
        """Whether the user's keys have stopped working."""
        return self.disabled_at is not None

    def good(self, now: float) -> bool:
        """Whether the key opens anything at this time."""
        return (
            self.revoked_at is None
            and self.disabled_at is None
            and (self.expires_at is None or now < self.expires_at)
        )


@dataclass(frozen=True, slots=True)
class KeyInfo:
    """A key as it is shown in lists. `hint` is what is left of it after masking."""

    id: str
    user_id: str
    user_name: str
    hint: str
    label: str
    created_at: float
    expires_at: float | None
    revoked_at: float | None
    last_used_at: float | None


_HOLDER = select(
    keys.c.id,
    keys.c.expires_at,
    keys.c.revoked_at,
    users.c.id,
    users.c.name,
    users.c.team,
    users.c.plan,
    users.c.role,
    users.c.overrides,
    users.c.disabled_at,
).join(users, users.c.id == keys.c.user_id)
_FIND = _HOLDER.where(keys.c.digest == bindparam("digest"))
_FIND_ID = _HOLDER.where(keys.c.id == bindparam("key_id"))
_LIST = (
    select(
        keys.c.id,
        keys.c.user_id,
        users.c.name,
        keys.c.hint,
        keys.c.label,
        keys.c.created_at,
        keys.c.expires_at,
        keys.c.revoked_at,
        keys.c.last_used_at,
    )
    .join(users, users.c.id == keys.c.user_id)
    .order_by(users.c.name, keys.c.created_at, keys.c.id)
)
_TOUCH = (
    keys.update()
    .where(
        keys.c.id == bindparam("key_id"),
        or_(keys.c.last_used_at.is_(None), keys.c.last_used_at < bindparam("at")),
    )
    .values(last_used_at=bindparam("at"))
)
_REVOKE = (
    keys.update()
    .where(keys.c.id == bindparam("key_id"), keys.c.revoked_at.is_(None))
    .values(revoked_at=bindparam("at"))
)


def add_key(
    conn: Connection,
    *,
    id: str,  # noqa: A002 - as the column is called
    user_id: str,
    digest: str,
    hint: str,
    label: str = "",
    expires_at: float | None = None,
    now: float,
) -> None:
    """Add a key to a user. Raises NotKnown."""
    if conn.execute(select(users.c.id).where(users.c.id == user_id)).one_or_none() is None:
        raise NotKnown("there is no such user")
    conn.execute(
        keys.insert().values(
            id=id,
            user_id=user_id,
            digest=digest,
            hint=hint,
            label=label,
            created_at=now,
            expires_at=expires_at,
        )
    )
    bump(conn)


def find_key(conn: Connection, digest: str) -> KeyRow | None:
    """Find a key by its digest, good or not: that is for the asker to judge."""
    row: Sequence[Any] | None = conn.execute(_FIND, {"digest": digest}).one_or_none()
    return None if row is None else KeyRow(*row)  # the columns are in the fields' order


def find_key_by_id(conn: Connection, key_id: str) -> KeyRow | None:
    """Find a key by its id, good or not: for sessions that a key has opened."""
    row: Sequence[Any] | None = conn.execute(_FIND_ID, {"key_id": key_id}).one_or_none()
    return None if row is None else KeyRow(*row)  # the columns are in the fields' order


def list_keys(conn: Connection, user_id: str | None = None) -> list[KeyInfo]:
    """List a user's keys, or everybody's."""
    statement = _LIST if user_id is None else _LIST.where(keys.c.user_id == user_id)
    return [KeyInfo(*row) for row in conn.execute(statement)]


def get_key(conn: Connection, key_id: str) -> KeyInfo | None:
    """Find a key by its id."""
    row = conn.execute(_LIST.where(keys.c.id == key_id)).one_or_none()
    return None if row is None else KeyInfo(*row)


def revoke_key(conn: Connection, key_id: str, now: float) -> bool:
    """Revoke a key for good; False if there is none that still worked."""
    revoked = conn.execute(_REVOKE, {"key_id": key_id, "at": now}).rowcount > 0
    if revoked:
        bump(conn)
    return revoked


def touch_keys(conn: Connection, used: Mapping[str, float]) -> None:
    """Note when keys were last used. Decides nothing, so the revision stays."""
    if used:
        conn.execute(_TOUCH, [{"key_id": key, "at": used[key]} for key in sorted(used)])
