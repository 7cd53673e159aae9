"""Daily totals: what is left of predictions when everything else is erased."""

from dataclasses import dataclass

from sqlalchemy import Connection, select

from gateway.ledger.statements import insert_or_replace
from gateway.ledger.tables import daily_totals

_AMOUNTS = (
    "predictions",
    "predict_us",
    "images",
    "tokens_in",
    "tokens_out",
    "cost_nano",
    "unpriced",
)
_ADD = insert_or_replace(daily_totals, "user_name", added=_AMOUNTS)


@dataclass(frozen=True, slots=True)
class DailyTotal:
    """What ended in one status on one model for one user and team, by the day of its creation.

    `day` counts from 1970 (UTC); no team and no model are "". `unpriced` counts those whose cost
    is unknown, which `cost_nano` does not contain.
    """

    day: int
    user_id: str
    user_name: str
    team: str
    model: str
    status: str
    predictions: int
    predict_us: int
    images: int
    tokens_in: int
    tokens_out: int
    cost_nano: int
    unpriced: int


_FIELDS = tuple(DailyTotal.__dataclass_fields__)
_COLUMNS = tuple(daily_totals.c[name] for name in _FIELDS)


def add(conn: Connection, total: DailyTotal) -> None:
    """Add to a day's totals."""
    conn.execute(_ADD.on(conn), {name: getattr(total, name) for name in _FIELDS})


def daily(
    conn: Connection, first_day: int, last_day: int, user_id: str | None = None
) -> list[DailyTotal]:
    """Return the totals of these days, both included."""
    statement = (
        select(*_COLUMNS)
        .where(daily_totals.c.day >= first_day, daily_totals.c.day <= last_day)
        .order_by(*_COLUMNS[:6])
    )
    if user_id is not None:
        statement = statement.where(daily_totals.c.user_id == user_id)
    return [DailyTotal(*row) for row in conn.execute(statement)]
