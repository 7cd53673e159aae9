"""Creates whose fate is unknown, until the account's list or an admin tells it."""

from collections.abc import Mapping, Sequence

from sqlalchemy import Connection, and_, bindparam, case, or_, select

from gateway.ledger.create_rows import DOUBT, RESERVED
from gateway.ledger.tables import creates, workers

_DOUBT = (
    creates.update()
    .where(creates.c.id == bindparam("key"), creates.c.state == RESERVED)
    .values(state=DOUBT, doubted_at=bindparam("now"))
)
_LAST_BEAT = select(workers.c.beat_at).where(workers.c.id == creates.c.worker).scalar_subquery()
_DOUBT_OF_DEAD = (
    creates.update()
    .where(
        creates.c.state == RESERVED,
        or_(
            and_(
                creates.c.at < bindparam("before"),
                creates.c.worker.not_in(
                    select(workers.c.id).where(workers.c.beat_at >= bindparam("before"))
                ),
            ),
            creates.c.at < bindparam("stuck_before"),
        ),
    )
    # It broke off when its worker died, not when that was noticed.
    .values(
        state=DOUBT,
        doubted_at=case((creates.c.at < _LAST_BEAT, _LAST_BEAT), else_=creates.c.at),
    )
)
_CANDIDATES = (
    creates.update()
    .where(creates.c.id == bindparam("key"), creates.c.state == DOUBT)
    .values(candidates=bindparam("found"))
)
_ASSIGN = (
    creates.update()
    .where(creates.c.id == bindparam("key"), creates.c.state == DOUBT)
    .values(prediction_id=bindparam("prediction"))
)


def doubt(conn: Connection, create_id: str, now: float) -> bool:
    """Note that a create's fate is unknown; it stays counted until it is known."""
    return conn.execute(_DOUBT, {"key": create_id, "now": now}).rowcount > 0


def doubt_of_dead(conn: Connection, before: float, stuck_before: float = 0.0) -> int:
    """Doubt what was reserved before by workers not heard of since, and what was reserved so long
    ago that nobody can be working on it any more; return how many.
    """
    values = {"before": before, "stuck_before": stuck_before}
    return conn.execute(_DOUBT_OF_DEAD, values).rowcount


def note_candidates(conn: Connection, found: Mapping[str, Sequence[str]]) -> None:
    """Note which predictions creates in doubt may have become, for an admin to see."""
    if found:
        conn.execute(
            _CANDIDATES,
            [{"key": key, "found": " ".join(ids) or None} for key, ids in found.items()],
        )


def assign(conn: Connection, create_id: str, prediction_id: str | None) -> bool:
    """Say which prediction a create in doubt became (None takes it back): it is adopted when
    upstream has shown it. False if the create is not in doubt.
    """
    values = {"key": create_id, "prediction": prediction_id}
    return conn.execute(_ASSIGN, values).rowcount > 0
