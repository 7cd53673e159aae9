"""Users: who they are, and what only they may do."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, bindparam, exc, select

from gateway.ledger.errors import NameTaken, NotKnown
from gateway.ledger.statements import bump
from gateway.ledger.tables import users


@dataclass(frozen=True, slots=True)
class UserRow:
    """One user. `overrides` is what ``Overrides.to_json`` wrote; `webhook_secret` begins whsec_."""

    id: str
    name: str
    team: str | None
    plan: str | None
    role: str
    overrides: str | None
    webhook_secret: str
    created_at: float
    disabled_at: float | None

    @property
    def disabled(self) -> bool:
        """Whether their keys have stopped working."""
        return self.disabled_at is not None

    def __repr__(self) -> str:
        return f"UserRow(id={self.id!r}, name={self.name!r}, team={self.team!r})"


class Unset:
    """Leave it as it is."""


UNSET = Unset()

_COLUMNS = (
    users.c.id,
    users.c.name,
    users.c.team,
    users.c.plan,
    users.c.role,
    users.c.overrides,
    users.c.webhook_secret,
    users.c.created_at,
    users.c.disabled_at,
)
_ALL = select(*_COLUMNS).order_by(users.c.name)
_BY_ID = select(*_COLUMNS).where(users.c.id == bindparam("key"))
_BY_NAME = select(*_COLUMNS).where(users.c.name == bindparam("key"))
_INSERT = users.insert()


def _user(row: Sequence[Any]) -> UserRow:
    return UserRow(*row)  # the columns are listed in the fields' order


def add_user(
    conn: Connection,
    *,
    id: str,  # noqa: A002 - as the column is called
    name: str,
    team: str | None = None,
    plan: str | None = None,
    role: str = "member",
    webhook_secret: str,
    now: float,
    overrides: str | None = None,
) -> UserRow:
    """Add a user. Raises NameTaken."""
    _require_free(conn, name)
    user = UserRow(id, name, team, plan, role, overrides, webhook_secret, now, None)
    try:
        conn.execute(
            _INSERT,
            {
                "id": id,
                "name": name,
                "team": team,
                "plan": plan,
                "role": role,
                "overrides": overrides,
                "webhook_secret": webhook_secret,
                "created_at": now,
                "disabled_at": None,
            },
        )
    except exc.IntegrityError as error:  # two at the same moment, on PostgreSQL
        raise NameTaken(f"there is a user named {name!r} already") from error
    bump(conn)
    return user


def list_users(conn: Connection) -> list[UserRow]:
    """Return all users by name."""
    return [_user(row) for row in conn.execute(_ALL)]


def get_user(conn: Connection, name_or_id: str) -> UserRow | None:
    """Find a user by id, else by name."""
    for statement in (_BY_ID, _BY_NAME):
        row = conn.execute(statement, {"key": name_or_id}).one_or_none()
        if row is not None:
            return _user(row)
    return None


def update_user(
    conn: Connection,
    user_id: str,
    *,
    name: str | Unset = UNSET,
    team: str | Unset | None = UNSET,
    plan: str | Unset | None = UNSET,
    role: str | Unset = UNSET,
) -> UserRow:
    """Change what is given; predictions keep the name and team they were made under.

    Raises NotKnown and NameTaken.
    """
    given = {"name": name, "team": team, "plan": plan, "role": role}
    values = {key: value for key, value in given.items() if not isinstance(value, Unset)}
    if isinstance(name, str):
        _require_free(conn, name, but=user_id)
    return _change(conn, user_id, values)


def set_disabled(conn: Connection, user_id: str, at: float | None) -> UserRow:
    """Stop a user's keys from working since `at`, or with None let them work again."""
    return _change(conn, user_id, {"disabled_at": at})


def set_overrides(conn: Connection, user_id: str, overrides: str | None) -> UserRow:
    """Replace what this user has that the plan does not say (``Overrides.to_json``)."""
    return _change(conn, user_id, {"overrides": overrides})


def set_webhook_secret(conn: Connection, user_id: str, secret: str) -> UserRow:
    """Replace the secret that signs this user's webhooks."""
    return _change(conn, user_id, {"webhook_secret": secret})


def remove_user(conn: Connection, user_id: str) -> bool:
    """Remove a user and their keys. What they made stays until it is erased; totals stay for good.

    To purge, erase what ``predictions.ids_of(conn, user_id)`` lists first.
    """
    removed = conn.execute(users.delete().where(users.c.id == user_id)).rowcount > 0
    if removed:
        bump(conn)
    return removed


def _require_free(conn: Connection, name: str, but: str | None = None) -> None:
    row = conn.execute(_BY_NAME, {"key": name}).one_or_none()
    if row is not None and row.id != but:
        raise NameTaken(f"there is a user named {name!r} already")


def _change(conn: Connection, user_id: str, values: Mapping[str, object]) -> UserRow:
    if values:
        try:
            conn.execute(users.update().where(users.c.id == user_id).values(values))
        except exc.IntegrityError as error:
            raise NameTaken("there is a user of that name already") from error
        bump(conn)
    row = conn.execute(_BY_ID, {"key": user_id}).one_or_none()
    if row is None:
        raise NotKnown("there is no such user")
    return _user(row)
