"""The end of a prediction: one transaction, once, whoever sees it first."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, bindparam

from gateway.domain.admission import Demand
from gateway.domain.usage import Usage
from gateway.ledger import files as file_rows
from gateway.ledger import outbox, quotas, totals
from gateway.ledger.looks import PUT_DOCUMENT, announce
from gateway.ledger.outbox import OutboxEvent, Tell
from gateway.ledger.prediction_rows import day_of, get_locked
from gateway.ledger.tables import predictions


@dataclass(frozen=True, slots=True, kw_only=True)
class Settlement:
    """How a prediction ended, seen at `at`. `rank` is its status's; an unknown cost is None."""

    document: bytes
    status: str
    rank: int
    at: float
    usage: Usage
    cost_nano: int | None
    started_at: float | None = None
    completed_at: float | None = None
    files: Sequence[str] = ()
    events: Sequence[OutboxEvent] = ()
    tell: Tell | None = None


_SETTLE = (
    predictions.update()
    .where(predictions.c.id == bindparam("key"), predictions.c.settled_at.is_(None))
    .values(
        status=bindparam("new_status"),
        status_rank=bindparam("new_rank"),
        snapshot_at=bindparam("at"),
        settled_at=bindparam("at"),
        started_at=bindparam("started"),
        completed_at=bindparam("completed"),
        next_look_at=None,
        look_until=None,
        first_missing_at=None,
        predict_us=bindparam("truth_us"),
        images=bindparam("truth_images"),
        tokens_in=bindparam("truth_in"),
        tokens_out=bindparam("truth_out"),
        cost_nano=bindparam("truth_cost"),
    )
)


def settle(conn: Connection, prediction_id: str, settlement: Settlement) -> bool:
    """End a prediction: document, status, charges, files, webhooks and totals together. Durable.

    The first to come wins and gets True; for everybody else nothing changes. Of one that was erased
    while it ran only the charges are kept.
    """
    row = get_locked(conn, prediction_id)
    if row is None or row.settled_at is not None:
        return False
    quotas.hold(conn, row.user_id, row.team)
    usage = settlement.usage
    conn.execute(
        _SETTLE,
        {
            "key": prediction_id,
            "new_status": settlement.status,
            "new_rank": settlement.rank,
            "at": settlement.at,
            "started": settlement.started_at,
            "completed": settlement.completed_at,
            "truth_us": usage.predict_us,
            "truth_images": usage.images,
            "truth_in": usage.tokens_in,
            "truth_out": usage.tokens_out,
            "truth_cost": settlement.cost_nano,
        },
    )
    truth = Demand(
        predictions=row.est_predictions,
        predict_us=usage.predict_us or 0,
        images=usage.images,
        tokens=usage.tokens,
        cost_nano=settlement.cost_nano,
    )
    quotas.apply_delta(
        conn,
        user_id=row.user_id,
        team=row.team,
        at=row.charged_at,
        names=row.names,
        changes=quotas.settling(row.reserved, truth),
    )
    totals.add(
        conn,
        totals.DailyTotal(
            day=day_of(row.charged_at),
            user_id=row.user_id,
            user_name=row.user_name,
            team=row.team or "",
            model=row.model or "",
            status=settlement.status,
            predictions=row.est_predictions,
            predict_us=usage.predict_us or 0,
            images=usage.images,
            tokens_in=usage.tokens_in,
            tokens_out=usage.tokens_out,
            cost_nano=settlement.cost_nano or 0,
            unpriced=0 if settlement.cost_nano is not None else 1,
        ),
    )
    if row.removed_at is None:
        conn.execute(
            PUT_DOCUMENT.on(conn), {"prediction_id": prediction_id, "body": settlement.document}
        )
        file_rows.register(conn, prediction_id, settlement.files, settlement.at)
        announce(conn, prediction_id, settlement.tell, settlement.at)
        outbox.enqueue(conn, settlement.events, settlement.at)
    return True
