"""Who used what: reports, and a model's history.

Whole days come from the daily totals, so that a report over a year costs what one over a week does;
the days at both ends and what is running are added up from the predictions themselves.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from sqlalchemy import ColumnElement, Connection, Table, and_, bindparam, case, func, or_, select

from gateway.domain.usage import Usage
from gateway.ledger.prediction_rows import DAY_S
from gateway.ledger.tables import daily_totals, predictions, users

By = Literal["user", "team", "model", "day", "status"]


@dataclass(frozen=True, slots=True)
class UsageLine:
    """One line of a report. Of `user` (with `user_id`), `team`, `model`, `day` (since 1970) and
    `status` those are set that the report is by; no team and no model are None too.

    What is running counts in `predictions`, not in the amounts; `failed` counts aborted ones as
    well; `unpriced` ended with an unknown cost, which `cost_nano` does not contain.
    """

    user: str | None
    user_id: str | None
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


_ORDER: tuple[By, ...] = ("user", "team", "model", "day", "status")
_Key = tuple[str | int | None, ...]
_t, _d = predictions.c, daily_totals.c
_SETTLED = _t.settled_at.is_not(None)
_FAILED = ("failed", "aborted")
_OF_ROWS = (
    func.count(),
    func.sum(case((_SETTLED, 0), else_=1)),
    func.sum(case((_t.status.in_(_FAILED), 1), else_=0)),
    func.coalesce(func.sum(_t.predict_us), 0),
    func.coalesce(func.sum(_t.images), 0),
    func.coalesce(func.sum(_t.tokens_in), 0),
    func.coalesce(func.sum(_t.tokens_out), 0),
    func.coalesce(func.sum(_t.cost_nano), 0),
    func.sum(case((and_(_SETTLED, _t.cost_nano.is_(None)), 1), else_=0)),
)
_OF_DAYS = (
    func.sum(_d.predictions),
    func.sum(0),
    func.sum(case((_d.status.in_(_FAILED), _d.predictions), else_=0)),
    func.sum(_d.predict_us),
    func.sum(_d.images),
    func.sum(_d.tokens_in),
    func.sum(_d.tokens_out),
    func.sum(_d.cost_nano),
    func.sum(_d.unpriced),
)
_NAMES = select(users.c.id, users.c.name)
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

    A user who was renamed is one line, under the name that they have now, or had last; `user` finds
    what was made under a name, `user_id` a user's whatever their name.
    """
    keys = [name for name in _ORDER if name in by]
    narrowed = {"user_name": user, "user_id": user_id, "team": team, "model": model}
    first = math.ceil(since / DAY_S)
    end = max(first, math.floor(until / DAY_S))
    whole = and_(_d.day >= first, _d.day < end)
    in_part = and_(_t.charged_at >= since, _t.charged_at < until)
    edges = and_(in_part, or_(_t.charged_at < first * DAY_S, _t.charged_at >= end * DAY_S))
    # By the day alone: the index on times would be taken for the better one, and it is not.
    running = and_(_t.settled_at.is_(None), _t.day >= first, _t.day < end)
    sums: dict[_Key, list[int]] = {}
    names: dict[str, tuple[int, str]] = {}
    for table, amounts, condition in (
        (daily_totals, _OF_DAYS, whole),
        (predictions, _OF_ROWS, edges),
        (predictions, _OF_ROWS, running),
    ):
        parts = _parts(conn, table, keys, amounts, condition, narrowed)
        for key, last_day, name, values in parts:
            if "user" in keys and isinstance(key[0], str):
                names[key[0]] = max(names.get(key[0], (last_day, name)), (last_day, name))
            known = sums.setdefault(key, [0] * len(values))
            sums[key] = [one + more for one, more in zip(known, values, strict=True)]
    told = {user_id: name for user_id, (_, name) in names.items()}
    if told:
        told |= {row[0]: row[1] for row in conn.execute(_NAMES) if row[0] in told}
    lines = [_line(keys, key, told, values) for key, values in sums.items()]
    return sorted(lines, key=_place)


def _parts(
    conn: Connection,
    table: Table,
    keys: Sequence[By],
    amounts: Iterable[ColumnElement[int]],
    condition: ColumnElement[bool],
    narrowed: dict[str, str | None],
) -> Iterator[tuple[_Key, int, str, list[int]]]:
    """Yield keys, the last day and user's name in it, and the amounts."""
    columns = [table.c["user_id" if name == "user" else name] for name in keys]
    named = [table.c.user_name] if "user" in keys else []
    statement = (
        select(*columns, func.max(table.c.day), func.max(table.c.user_name), *amounts)
        .where(condition)
        .group_by(*columns, *named)
    )
    for name, value in narrowed.items():
        if value is not None:
            statement = statement.where(table.c[name] == value)
    count = len(columns)
    for row in conn.execute(statement):
        values = [int(value or 0) for value in row[count + 2 :]]
        if values[0]:  # without `by` there is a row even of nothing
            # In the totals, no team and no model are "".
            key = tuple(None if part == "" else part for part in row[:count])
            yield key, row[count], row[count + 1], values


def _line(
    keys: Sequence[By], key: _Key, names: Mapping[str, str], values: Sequence[int]
) -> UsageLine:
    found: dict[str, str | int | None] = dict(zip(keys, key, strict=True))
    user_id, team, model, day, status = (found.get(name) for name in _ORDER)
    return UsageLine(
        user=names[user_id] if isinstance(user_id, str) else None,
        user_id=user_id if isinstance(user_id, str) else None,
        team=team if isinstance(team, str) else None,
        model=model if isinstance(model, str) else None,
        day=day if isinstance(day, int) else None,
        status=status if isinstance(status, str) else None,
        predictions=values[0],
        running=values[1],
        failed=values[2],
        predict_us=values[3],
        images=values[4],
        tokens_in=values[5],
        tokens_out=values[6],
        cost_nano=values[7],
        unpriced=values[8],
    )


def _place(line: UsageLine) -> tuple[str, str, str, str, int, str]:
    return (
        line.user or "",
        line.user_id or "",
        line.team or "",
        line.model or "",
        line.day or 0,
        line.status or "",
    )


def former_user(conn: Connection, name_or_id: str) -> str | None:
    """Find who used something under this name, or with this id, though they are removed by now.

    Returns their id; of several who had the name one after the other, the last one's.
    """
    for table in (daily_totals.c, predictions.c):
        found: str | None = conn.execute(
            select(table.user_id)
            .where(or_(table.user_name == name_or_id, table.user_id == name_or_id))
            .order_by(table.day.desc())
            .limit(1)
        ).scalar()
        if found is not None:
            return found
    return None


def recent_usage(conn: Connection, model: str, n: int = 20) -> list[Usage]:
    """Return what a model's last successes took, newest first: the history behind estimates."""
    return [
        Usage(row[0], row[1] or 0, row[2] or 0, row[3] or 0)
        for row in conn.execute(_RECENT, {"of": model, "most": n})
    ]
