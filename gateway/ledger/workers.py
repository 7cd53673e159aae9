"""Who is alive, and who may do what one at a time may do."""

from sqlalchemy import Connection, bindparam, or_, select

from gateway.ledger.statements import insert_or_ignore, insert_or_replace
from gateway.ledger.tables import files, leases, outbox, predictions, workers

_BEAT = insert_or_replace(workers, "beat_at")
_DEAD = select(workers.c.id).where(workers.c.beat_at < bindparam("before"))
_ALIVE = select(workers.c.id).where(workers.c.beat_at >= bindparam("before"))
_FREE = (
    predictions.update()
    .where(
        predictions.c.settled_at.is_(None),
        predictions.c.look_until > bindparam("now"),
        predictions.c.look_by.not_in(_ALIVE),
    )
    .values(look_until=None, look_by=None),
    files.update()
    .where(
        files.c.state == "wanted",
        files.c.claimed_until > bindparam("now"),
        files.c.claimed_by.not_in(_ALIVE),
    )
    .values(claimed_until=None, claimed_by=None),
    outbox.update()
    .where(
        outbox.c.next_attempt_at.is_not(None),
        outbox.c.claimed_until > bindparam("now"),
        outbox.c.claimed_by.not_in(_ALIVE),
    )
    .values(claimed_until=None, claimed_by=None),
    leases.delete().where(leases.c.until > bindparam("now"), leases.c.held_by.in_(_DEAD)),
)
_FORGET_OLD = workers.delete().where(workers.c.beat_at < bindparam("before"))
_NEW_LEASE = insert_or_ignore(leases)
_TAKE_LEASE = (
    leases.update()
    .where(
        leases.c.name == bindparam("lease"),
        or_(leases.c.held_by == bindparam("by"), leases.c.until <= bindparam("now")),
    )
    .values(held_by=bindparam("by"), until=bindparam("new_until"))
)


def beat(conn: Connection, worker_id: str, now: float) -> None:
    """Say that a worker is alive."""
    conn.execute(_BEAT.on(conn), {"id": worker_id, "beat_at": now})


def dead_workers(conn: Connection, before: float) -> list[str]:
    """Return the workers that have not been heard of since."""
    return [row[0] for row in conn.execute(_DEAD, {"before": before})]


def free_claims_of_dead(conn: Connection, before: float, now: float) -> int:
    """Take looks, files, webhooks and jobs from workers not heard of since; return how many.

    Claims expire by themselves; this is for what would wait for it after a crash.
    """
    values = {"before": before, "now": now}
    return sum(conn.execute(statement, values).rowcount for statement in _FREE)


def forget_old(conn: Connection, before: float) -> None:
    """Strike off all workers not heard of since."""
    conn.execute(_FORGET_OLD, {"before": before})


def forget_worker(conn: Connection, worker_id: str) -> None:
    """Strike a worker off: it ended in good order, or nothing of it is left open."""
    conn.execute(workers.delete().where(workers.c.id == worker_id))


def take_lease(conn: Connection, name: str, by: str, now: float, until: float) -> bool:
    """Become, or stay, the one who does a job until then; False while somebody else is."""
    fresh = conn.execute(_NEW_LEASE.on(conn), {"name": name, "held_by": by, "until": until})
    if fresh.rowcount > 0:
        return True
    taken = conn.execute(_TAKE_LEASE, {"lease": name, "by": by, "now": now, "new_until": until})
    return taken.rowcount > 0


def give_lease_back(conn: Connection, name: str, by: str) -> None:
    """Let the next one begin at once."""
    conn.execute(leases.delete().where(leases.c.name == name, leases.c.held_by == by))
