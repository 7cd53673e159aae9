"""Who used what: reports over predictions, and a model's history."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from sqlalchemy import Connection, bindparam, case, func, select

from gateway.domain.usage import Usage
from gateway.ledger.tables import predictions

By = Literal["user", "team", "model", "day", "status"]


@dataclass(frozen=True, slots=True)
class UsageLine:
    """One line of a report. Of `user`, `team`, `model`, `day` (since 1970) and `status` those are
    set that the report is by. What is running counts in `predictions`, not in the amounts;
    `unpriced` ended with an unknown cost, which `cost_nano` does not contain.
    """

    user: str | None
    team: str | None
    model: str | None
    day: int | None
    status: str | None
    predictions: int
    running: int
    failed: int
    predict_us: int
    images: int
    tokens_in: int
    tokens_out: int
    cost_nano: int
    unpriced: int


_t = predictions.c
_SETTLED = _t.settled_at.is_not(None)
_BY = {
    "user": _t.user_name,
    "team": _t.team,
    "model": _t.model,
    "day": _t.day,
    "status": _t.status,
}
_AMOUNTS = (
    func.count(),
    func.sum(case((_SETTLED, 0), else_=1)),
    func.sum(case((_t.status.in_(["failed", "aborted"]), 1), else_=0)),
    func.coalesce(func.sum(_t.predict_us), 0),
    func.coalesce(func.sum(_t.images), 0),
    func.coalesce(func.sum(_t.tokens_in), 0),
    func.coalesce(func.sum(_t.tokens_out), 0),
    func.coalesce(func.sum(_t.cost_nano), 0),
    func.sum(case((_SETTLED & _t.cost_nano.is_(None), 1), else_=0)),
)
_RECENT = (
    select(_t.predict_us, _t.images, _t.tokens_in, _t.tokens_out)
    .where(_t.model == bindparam("of"), _t.settled_at.is_not(None), _t.status == "succeeded")
    .order_by(_t.settled_at.desc())
    .limit(bindparam("most"))
)


def report(
    conn: Connection,
    by: Sequence[By],
    *,
    since: float,
    until: float,
    user: str | None = None,
    user_id: str | None = None,
    team: str | None = None,
    model: str | None = None,
) -> list[UsageLine]:
    """Add up what was created from `since` to before `until`, a line for each combination of `by`.

    `user` is a name as it was at the time, `user_id` a user whatever their name.
    """
    keys = [name for name in _BY if name in by]
    statement = (
        select(*(_BY[name] for name in keys), *_AMOUNTS)
        .where(_t.charged_at >= since, _t.charged_at < until)
        .group_by(*(_BY[name] for name in keys))
        .order_by(*(_BY[name] for name in keys))
    )
    for column, value in (
        (_t.user_name, user),
        (_t.user_id, user_id),
        (_t.team, team),
        (_t.model, model),
    ):
        if value is not None:
            statement = statement.where(column == value)
    lines = []
    for row in conn.execute(statement):
        found = dict(zip(keys, row, strict=False))
        amounts = [int(value or 0) for value in row[len(keys) :]]
        if amounts[0] == 0:  # without `by` there is a line even of nothing
            continue
        lines.append(
            UsageLine(
                found.get("user"),
                found.get("team"),
                found.get("model"),
                found.get("day"),
                found.get("status"),
                *amounts,
            )
        )
    return lines


def recent_usage(conn: Connection, model: str, n: int = 20) -> list[Usage]:
    """Return what a model's last successes took, newest first: the history behind estimates."""
    return [
        Usage(row[0], row[1] or 0, row[2] or 0, row[3] or 0)
        for row in conn.execute(_RECENT, {"of": model, "most": n})
    ]
