"""The user of a demo, with a key that stays the same from one start to the next."""

import math
import os
from pathlib import Path

from gateway.clock import Clock
from gateway.domain import keys as domain
from gateway.domain import webhooks
from gateway.domain.endings import LOST_AFTER_S
from gateway.flows.resolve_inputs import UPSTREAM_BEGAN
from gateway.ledger import Connection, Ledger, keys, predictions, published, uploads, users
from gateway.ledger.keys import KeyRow

NAME = "demo"
_KEY_FILE = "demo-key"
_MOST = 10_000


async def demo_key(ledger: Ledger, folder: Path, clock: Clock) -> str:
    """Return a key that works; the user is made if need be. They may do everything."""
    path = folder / _KEY_FILE
    kept = _read(path)
    fresh = domain.make_key(clock.secret(domain.KEY_SECRET_BYTES))
    user_id, key_id, now = clock.new_id(), clock.new_id(), clock.now()
    secret = webhooks.new_secret(clock.secret(webhooks.SECRET_BYTES))

    def work(conn: Connection) -> str:
        if kept is not None and _opens(keys.find_key(conn, domain.digest(kept)), now):
            return kept
        user = users.get_user(conn, NAME) or users.add_user(
            conn, id=user_id, name=NAME, role="admin", webhook_secret=secret, now=now
        )
        if user.disabled:
            users.set_disabled(conn, user.id, None)
        keys.add_key(
            conn,
            id=key_id,
            user_id=user.id,
            digest=domain.digest(fresh),
            hint=domain.hint(fresh),
            label="made by the demo",
            now=now,
        )
        return fresh

    key = await ledger.write(work, durable=True)
    if key != kept:
        _write(path, key)
    return key


async def begin_anew(ledger: Ledger, clock: Clock) -> None:
    """Take in that upstream knows of nothing before now: a simulation begins anew with each start.

    What still ran when the last one ended is settled as lost, without waiting ten minutes for it to
    be remembered; outputs that become inputs are uploaded again, however young they are.
    """
    now = clock.now()
    since = now - LOST_AFTER_S

    def work(conn: Connection) -> None:
        published.correct(conn, UPSTREAM_BEGAN, str(now))
        uploads.prune(conn, math.inf)
        for row in predictions.rows(conn, predictions.Filter(running=True), limit=_MOST):
            predictions.note_missing(conn, row.id, since)

    await ledger.write(work)


def _opens(row: KeyRow | None, now: float) -> bool:
    return row is not None and row.good(now)


def _read(path: Path) -> str | None:
    try:
        text = path.read_text(encoding="ascii", errors="replace").strip()
    except FileNotFoundError:
        return None
    return text if domain.well_formed(text) else None


def _write(path: Path, key: str) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(handle, "w", encoding="ascii") as file:
        file.write(key + "\n")
