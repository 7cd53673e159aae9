"""What administrators change over HTTP: users, keys, what is in doubt, dead letters.

Each change is one transaction with its line in the audit log, and the revision grows with it, so
that every worker goes by it within a second.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from gateway.clock import Clock
from gateway.domain import keys as key_format
from gateway.domain import problems, webhooks
from gateway.domain.names import user_name_fault
from gateway.domain.plans import DEFAULT_PLAN, Overrides, Policy
from gateway.flows.answer import Refused
from gateway.ledger import Connection, Ledger, NameTaken, audit, creates, keys, outbox, usage, users
from gateway.ledger.create_rows import DOUBT
from gateway.ledger.keys import KeyInfo
from gateway.ledger.users import UNSET, Unset, UserRow

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Actor:
    """Who makes a change, and from where."""

    name: str
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class UserChange:
    """What is to be changed of a user; unset stays as it is."""

    name: str | Unset = UNSET
    team: str | Unset | None = UNSET
    plan: str | Unset | None = UNSET
    role: str | Unset = UNSET
    disabled: bool | Unset = UNSET
    overrides: Overrides | Unset | None = UNSET


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key that was just made: the only time that it can be seen."""

    key: str
    info: KeyInfo


class Administer:
    """Makes changes in the name of administrators."""

    def __init__(self, ledger: Ledger, clock: Clock, policy: Callable[[], Policy]) -> None:
        self._ledger = ledger
        self._clock = clock
        self._policy = policy

    def note(
        self,
        conn: Connection,
        actor: Actor,
        action: str,
        subject: str,
        detail: Mapping[str, object] | None = None,
    ) -> None:
        """Write a line into the audit log."""
        audit.add(conn, self._clock.now(), actor.name, action, subject, detail, source=actor.source)

    async def user(self, name_or_id: str) -> UserRow:
        """Find a user. Raises Refused: 404."""
        return await self._ledger.read(lambda conn: _user(conn, name_or_id))

    async def owner(self, name_or_id: str) -> str:
        """Find a user's id, of removed ones who used something as well. Raises Refused: 404."""

        def look(conn: Connection) -> str:
            row = users.get_user(conn, name_or_id)
            former = usage.former_user(conn, name_or_id) if row is None else row.id
            return _user(conn, name_or_id).id if former is None else former

        return await self._ledger.read(look)

    async def add_user(
        self, actor: Actor, name: str, team: str | None, plan: str | None, role: str
    ) -> UserRow:
        """Add a user. Raises Refused: 409, 422."""
        self._check(name=name, team=team, plan=plan)
        user_id, now = self._clock.new_id(), self._clock.now()
        secret = webhooks.new_secret(self._clock.secret(webhooks.SECRET_BYTES))

        def work(conn: Connection) -> UserRow:
            row = users.add_user(
                conn,
                id=user_id,
                name=name,
                team=team,
                plan=plan,
                role=role,
                webhook_secret=secret,
                now=now,
            )
            detail = {"team": team, "plan": plan, "role": role}
            self.note(conn, actor, "users.add", name, detail)
            return row

        return await self._write(work)

    async def change_user(self, actor: Actor, name_or_id: str, change: UserChange) -> UserRow:
        """Change a user. Raises Refused: 404, 409, 422."""
        self._check(
            name=None if isinstance(change.name, Unset) else change.name,
            team=None if isinstance(change.team, Unset) else change.team,
            plan=None if isinstance(change.plan, Unset) else change.plan,
        )
        now = self._clock.now()

        def work(conn: Connection) -> UserRow:
            row = _user(conn, name_or_id)
            detail = {
                key: value
                for key, value in (
                    ("name", change.name),
                    ("team", change.team),
                    ("plan", change.plan),
                    ("role", change.role),
                    ("disabled", change.disabled),
                )
                if not isinstance(value, Unset)
            }
            after = users.update_user(
                conn,
                row.id,
                name=change.name,
                team=change.team,
                plan=change.plan,
                role=change.role,
            )
            if not isinstance(change.disabled, Unset) and change.disabled != row.disabled:
                after = users.set_disabled(conn, row.id, now if change.disabled else None)
            if not isinstance(change.overrides, Unset):
                text = None
                if change.overrides is not None and change.overrides != Overrides():
                    text = change.overrides.to_json()
                after = users.set_overrides(conn, row.id, text)
                detail["overrides"] = text
            self.note(conn, actor, "users.set", row.name, detail)
            return after

        return await self._write(work)

    async def remove_user(self, actor: Actor, row: UserRow, detail: Mapping[str, object]) -> None:
        """Remove a user and their keys; totals stay."""

        def work(conn: Connection) -> None:
            users.remove_user(conn, row.id)
            self.note(conn, actor, "users.remove", row.name, detail)

        await self._write(work)

    async def rotate_secret(self, actor: Actor, name_or_id: str) -> str:
        """Give a user another webhook secret. Raises Refused: 404."""
        secret = webhooks.new_secret(self._clock.secret(webhooks.SECRET_BYTES))

        def work(conn: Connection) -> None:
            row = _user(conn, name_or_id)
            users.set_webhook_secret(conn, row.id, secret)
            self.note(conn, actor, "webhooks.rotate-secret", row.name)

        await self._write(work)
        return secret

    async def add_key(
        self, actor: Actor, name_or_id: str, label: str, expires_in_s: float | None
    ) -> NewKey:
        """Make a key for a user. Raises Refused: 404."""
        key = key_format.make_key(self._clock.secret(key_format.KEY_SECRET_BYTES))
        key_id, now = self._clock.new_id(), self._clock.now()

        def work(conn: Connection) -> KeyInfo:
            row = _user(conn, name_or_id)
            keys.add_key(
                conn,
                id=key_id,
                user_id=row.id,
                digest=key_format.digest(key),
                hint=key_format.hint(key),
                label=label,
                expires_at=None if expires_in_s is None else now + expires_in_s,
                now=now,
            )
            self.note(conn, actor, "keys.create", row.name, {"key_id": key_id, "label": label})
            return _key(conn, key_id)

        return NewKey(key, await self._write(work))

    async def revoke_key(self, actor: Actor, key_id: str) -> None:
        """Revoke a key for good; twice is harmless. Raises Refused: 404."""
        now = self._clock.now()

        def work(conn: Connection) -> None:
            row = _key(conn, key_id)
            if keys.revoke_key(conn, row.id, now):
                self.note(conn, actor, "keys.revoke", row.user_name, {"key_id": row.id})

        await self._write(work)

    async def assign_orphan(self, actor: Actor, create_id: str, prediction_id: str) -> None:
        """Say which prediction a create in doubt became. Raises Refused: 404, 409."""

        def work(conn: Connection) -> None:
            if creates.known_predictions(conn, [prediction_id]):
                raise Refused(problems.already_exists("an owner of this prediction"))
            if not creates.assign(conn, create_id, prediction_id):
                raise Refused(problems.not_found("create in doubt"))
            detail = {"create_id": create_id}
            self.note(conn, actor, "predictions.assign", prediction_id, detail)

        await self._write(work)

    async def release_orphan(self, actor: Actor, create_id: str) -> None:
        """Say that a create in doubt became nothing. Raises Refused: 404."""
        now = self._clock.now()

        def work(conn: Connection) -> None:
            row = creates.get(conn, create_id)
            if row is None or row.state != DOUBT:
                raise Refused(problems.not_found("create in doubt"))
            creates.release(conn, create_id, now)
            self.note(conn, actor, "predictions.release", create_id, {"user": row.user_name})

        await self._write(work)

    async def retry_webhooks(self, actor: Actor, event_id: str | None) -> int:
        """Put a dead letter, or all of them, back in the queue; how many. Raises Refused: 404."""
        now = self._clock.now()

        def work(conn: Connection) -> int:
            if event_id is not None and outbox.get(conn, event_id) is None:
                raise Refused(problems.not_found("webhook"))
            count = outbox.retry(conn, now, event_id)
            self.note(conn, actor, "webhooks.retry", event_id or "all", {"count": count})
            return count

        return await self._write(work)

    async def noted(
        self, actor: Actor, action: str, subject: str, detail: Mapping[str, object] | None = None
    ) -> None:
        """Write a line into the audit log about what was done outside the ledger."""
        await self._write(lambda conn: self.note(conn, actor, action, subject, detail))

    async def _write(self, work: Callable[[Connection], T]) -> T:
        try:
            return await self._ledger.write(work, durable=True)
        except NameTaken:
            raise Refused(problems.already_exists("a user of this name")) from None

    def _check(self, *, name: str | None, team: str | None, plan: str | None) -> None:
        fault = None if name is None else user_name_fault(name)
        if fault is not None:
            raise Refused(problems.input_invalid("name", fault))
        policy = self._policy()
        known: Sequence[tuple[str, str | None, object]] = (
            ("team", team, policy.teams),
            ("plan", plan, {DEFAULT_PLAN, *policy.plans}),
        )
        for noun, value, names in known:
            if value is not None and isinstance(names, Mapping | set) and value not in names:
                listed = ", ".join(sorted(names)) or "none"
                fault = f'there is no {noun} "{value}"; configured: {listed}'
                raise Refused(problems.input_invalid(noun, fault))


def _user(conn: Connection, name_or_id: str) -> UserRow:
    row = users.get_user(conn, name_or_id)
    if row is None:
        raise Refused(problems.not_found("user"))
    return row


def _key(conn: Connection, key_id: str) -> KeyInfo:
    row = keys.get_key(conn, key_id)
    if row is None:
        raise Refused(problems.not_found("key"))
    return row
