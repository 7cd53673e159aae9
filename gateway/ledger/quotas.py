"""Counters: what each window of each rule holds, exact at every commit.

A row stands for (subject, metric, window's length, set of model globs, window's start). `used` is
the settled truth, `reserved` the estimates of what is unfinished. A row is made when a rule first
asks for it, from the predictions and creates of its window, so that a new rule or plan is right at
once. From then on every change is applied to *all* rows that concern it, whatever rule made them.
So a row never misses anything, as long as whoever changes or fills rows holds their subjects
(``statements.lock``; on SQLite the single writer does).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from sqlalchemy import ColumnElement, Connection, Executable, bindparam, case, func, select

from gateway.domain.admission import Demand
from gateway.domain.models import matches
from gateway.domain.plans import Metric, Per, QuotaRule, globs_of, team_subject, user_subject
from gateway.domain.quota import Standing, Window, window
from gateway.ledger.statements import insert_or_ignore, insert_or_replace, lock
from gateway.ledger.tables import counters, creates, predictions

Names = tuple[str, ...]
"""What a model rule can match of one prediction: its model and its deployment, if known."""

Changes = Mapping[Metric, tuple[int, int]]
"""What is added to `used` and to `reserved`, by metric."""

_METRICS = tuple(metric for metric in Metric if metric is not Metric.REQUESTS)


@dataclass(frozen=True, slots=True)
class CounterRow:
    """One counter."""

    subject: str
    metric: Metric
    per: Per
    models_key: str
    window_start: float
    window_end: float
    used: int
    reserved: int

    @property
    def key(self) -> tuple[str, Metric, Per, str]:
        """What tells it from the other counters that are open at one time."""
        return self.subject, self.metric, self.per, self.models_key

    def concerns(self, names: Names) -> bool:
        """Whether a prediction that goes by these names is counted here."""
        return _concerned(self.models_key, names)


_COLUMNS = (
    counters.c.subject,
    counters.c.metric,
    counters.c.per,
    counters.c.models_key,
    counters.c.window_start,
    counters.c.window_end,
    counters.c.used,
    counters.c.reserved,
)
_AT = (
    select(*_COLUMNS)
    .where(counters.c.window_end > bindparam("at"), counters.c.window_start <= bindparam("at"))
    .order_by(*_COLUMNS[:5])
)
_OF_TWO = _AT.where(counters.c.subject.in_([bindparam("one"), bindparam("two")]))
_ADD = (
    counters.update()
    .where(
        counters.c.subject == bindparam("in_subject"),
        counters.c.metric == bindparam("in_metric"),
        counters.c.per == bindparam("in_per"),
        counters.c.models_key == bindparam("in_models"),
        counters.c.window_start == bindparam("in_start"),
    )
    .values(
        used=counters.c.used + bindparam("more_used"),
        reserved=counters.c.reserved + bindparam("more_reserved"),
    )
)
_NEW = insert_or_ignore(counters)
_REQUESTS = insert_or_replace(counters, added=("used",))


def _sums(whose: Literal["user", "team"]) -> tuple[Executable, Executable]:
    settled = predictions.c.settled_at.is_not(None)

    def either(truth: ColumnElement[int], estimate: ColumnElement[int]) -> ColumnElement[int]:
        return func.coalesce(func.sum(case((settled, truth), else_=estimate)), 0)

    owner = predictions.c.user_id if whose == "user" else predictions.c.team
    known = (
        select(
            predictions.c.model,
            predictions.c.deployment,
            settled,
            func.sum(predictions.c.est_predictions),
            either(predictions.c.predict_us, predictions.c.est_predict_us),
            either(predictions.c.images, predictions.c.est_images),
            either(predictions.c.tokens_in + predictions.c.tokens_out, predictions.c.est_tokens),
            either(predictions.c.cost_nano, predictions.c.est_cost_nano),
        )
        .where(
            owner == bindparam("owner"),
            predictions.c.charged_at >= bindparam("start"),
            predictions.c.charged_at < bindparam("end"),
        )
        .group_by(predictions.c.model, predictions.c.deployment, settled)
    )
    owner = creates.c.user_id if whose == "user" else creates.c.team
    under_way = (
        select(
            creates.c.model,
            creates.c.deployment,
            func.sum(creates.c.est_predictions),
            func.sum(creates.c.est_predict_us),
            func.sum(creates.c.est_images),
            func.sum(creates.c.est_tokens),
            func.coalesce(func.sum(creates.c.est_cost_nano), 0),
        )
        .where(
            owner == bindparam("owner"),
            creates.c.at >= bindparam("start"),
            creates.c.at < bindparam("end"),
            creates.c.state.in_(["reserved", "doubt"]),
        )
        .group_by(creates.c.model, creates.c.deployment)
    )
    return known, under_way


_SUMS = {"user": _sums("user"), "team": _sums("team")}


def names_of(model: str | None, deployment: str | None) -> Names:
    """Return the names that model rules can match."""
    return tuple(name for name in (model, deployment) if name is not None)


def subjects_of(user_id: str, team: str | None) -> tuple[str, ...]:
    """Return whose counters bear what this user does in this team."""
    own = user_subject(user_id)
    return (own,) if team is None else (own, team_subject(team))


def reserving(demand: Demand) -> dict[Metric, tuple[int, int]]:
    """Return the changes that set a demand aside."""
    return {metric: (0, demand.of(metric) or 0) for metric in _METRICS}


def giving_back(demand: Demand) -> dict[Metric, tuple[int, int]]:
    """Return the changes that undo `reserving`."""
    return {metric: (0, -(demand.of(metric) or 0)) for metric in _METRICS}


def settling(demand: Demand, truth: Demand) -> dict[Metric, tuple[int, int]]:
    """Return the changes that put the truth in the place of what was reserved."""
    return {metric: (truth.of(metric) or 0, -(demand.of(metric) or 0)) for metric in _METRICS}


def counters_at(conn: Connection, at: float, subjects: Sequence[str] = ()) -> list[CounterRow]:
    """Return the counters whose windows contain an instant, of these subjects or of all."""
    if len(subjects) == 0:
        found = conn.execute(_AT, {"at": at})
    elif len(subjects) <= 2:
        found = conn.execute(_OF_TWO, {"at": at, "one": subjects[0], "two": subjects[-1]})
    else:
        found = conn.execute(_AT.where(counters.c.subject.in_(subjects)), {"at": at})
    return [
        CounterRow(row[0], Metric(row[1]), Per(row[2]), row[3], row[4], row[5], row[6], row[7])
        for row in found
    ]


def standings(
    conn: Connection, rules: Iterable[tuple[QuotaRule, str]], at: float
) -> list[Standing]:
    """Return where each rule stands, in the rules' order. Writes nothing."""
    rules = list(rules)
    if not rules:
        return []
    found = {row.key: row for row in counters_at(conn, at, _subjects(rules))}
    found |= {row.key: row for row in _missing(conn, rules, found, at)}
    return standings_of(rules, found)


def ensure(
    conn: Connection,
    rules: Sequence[tuple[QuotaRule, str]],
    subjects: Sequence[str],
    at: float,
) -> dict[tuple[str, Metric, Per, str], CounterRow]:
    """Return all counters of the subjects that are open at a time, the rules' own made if need be.

    The caller holds the subjects.
    """
    wanted = tuple(dict.fromkeys((*subjects, *_subjects(rules))))
    found = {row.key: row for row in counters_at(conn, at, wanted)}
    made = _missing(conn, rules, found, at)
    if made:
        conn.execute(_NEW.on(conn), [_values(row) for row in made])
        found |= {row.key: row for row in made}
    return found


def standings_of(
    rules: Iterable[tuple[QuotaRule, str]],
    found: Mapping[tuple[str, Metric, Per, str], CounterRow],
) -> list[Standing]:
    """Put rules and their counters together."""
    result = []
    for rule, subject in rules:
        row = found[subject, rule.metric, rule.per, rule.models_key]
        span = Window(row.window_start, row.window_end)
        result.append(Standing(rule, subject, span, row.used, row.reserved))
    return result


def changed(row: CounterRow, changes: Changes) -> CounterRow:
    """Return a counter as it is after `add`."""
    used, reserved = changes.get(row.metric, (0, 0))
    return replace(row, used=row.used + used, reserved=row.reserved + reserved)


def add(conn: Connection, rows: Iterable[CounterRow], changes: Changes) -> None:
    """Apply changes to these counters."""
    updates = []
    for row in rows:
        used, reserved = changes.get(row.metric, (0, 0))
        if used or reserved:
            updates.append(
                {
                    "in_subject": row.subject,
                    "in_metric": row.metric.value,
                    "in_per": row.per.value,
                    "in_models": row.models_key,
                    "in_start": row.window_start,
                    "more_used": used,
                    "more_reserved": reserved,
                }
            )
    if updates:
        conn.execute(_ADD, updates)


def apply_delta(
    conn: Connection,
    *,
    user_id: str,
    team: str | None,
    at: float,
    names: Names,
    changes: Changes,
    known_as: Names | None = None,
) -> None:
    """Apply changes to every counter that concerns a prediction reserved at `at`.

    With `known_as`, only to those which did not concern it under its former names. The caller holds
    the subjects.
    """
    rows = [
        row
        for row in counters_at(conn, at, subjects_of(user_id, team))
        if row.concerns(names) and not (known_as is not None and row.concerns(known_as))
    ]
    add(conn, rows, changes)


def hold(conn: Connection, user_id: str, team: str | None) -> None:
    """Let nobody else change the counters of this user and team until the transaction ends."""
    lock(conn, *subjects_of(user_id, team))


def add_requests(
    conn: Connection, counts: Iterable[tuple[QuotaRule, str, int]], at: float
) -> list[Standing]:
    """Add requests that were answered to their rules' counters; return where the rules stand now.

    Several rules may read one counter: it is added to once, with the largest of their numbers.
    """
    counts = list(counts)
    most: dict[tuple[str, Per, str], int] = {}
    for rule, subject, number in counts:
        key = (subject, rule.per, rule.models_key)
        most[key] = max(most.get(key, 0), number)
    if most:
        rows = []
        for subject, per, models in sorted(most):
            span = window(per, at)
            row = CounterRow(
                subject,
                Metric.REQUESTS,
                per,
                models,
                span.start,
                span.end,
                most[subject, per, models],
                0,
            )
            rows.append(_values(row))
        conn.execute(_REQUESTS.on(conn), rows)
    return standings(conn, [(rule, subject) for rule, subject, _ in counts], at)


def prune_counters(conn: Connection, before: float) -> int:
    """Delete the counters of windows that ended before; return how many."""
    return conn.execute(counters.delete().where(counters.c.window_end <= before)).rowcount


def _concerned(models_key: str, names: Names) -> bool:
    if not models_key:
        return True
    globs = globs_of(models_key)
    return any(matches(globs, name) for name in names)


def _subjects(rules: Iterable[tuple[QuotaRule, str]]) -> tuple[str, ...]:
    # With none at all, counters_at would return everybody's.
    return tuple(dict.fromkeys(subject for _, subject in rules)) or ("",)


def _missing(
    conn: Connection,
    rules: Iterable[tuple[QuotaRule, str]],
    found: Mapping[tuple[str, Metric, Per, str], CounterRow],
    at: float,
) -> list[CounterRow]:
    """Work out the counters that the rules ask for and nobody has made yet."""
    made: dict[tuple[str, Metric, Per, str], CounterRow] = {}
    sums: dict[tuple[str, Per], list[_Sum]] = {}
    for rule, subject in rules:
        key = (subject, rule.metric, rule.per, rule.models_key)
        if key in found or key in made:
            continue
        span = window(rule.per, at)
        used = reserved = 0
        if rule.metric is not Metric.REQUESTS:
            if (subject, rule.per) not in sums:
                sums[subject, rule.per] = _summed(conn, subject, span)
            for part in sums[subject, rule.per]:
                if _concerned(rule.models_key, part.names):
                    amount = part.amounts.of(rule.metric) or 0
                    used += amount if part.settled else 0
                    reserved += 0 if part.settled else amount
        made[key] = CounterRow(*key, span.start, span.end, used, reserved)
    return list(made.values())


@dataclass(frozen=True, slots=True)
class _Sum:
    names: Names
    settled: bool
    amounts: Demand


def _summed(conn: Connection, subject: str, span: Window) -> list[_Sum]:
    whose, _, owner = subject.partition(":")
    known, under_way = _SUMS[whose]
    where = {"owner": owner, "start": span.start, "end": span.end}
    result = []
    for model, deployment, settled, *amounts in conn.execute(known, where):
        result.append(_Sum(names_of(model, deployment), bool(settled), _amounts(amounts)))
    for model, deployment, *amounts in conn.execute(under_way, where):
        result.append(_Sum(names_of(model, deployment), False, _amounts(amounts)))
    return result


def _amounts(values: Sequence[object]) -> Demand:
    # PostgreSQL's sums are of a wider type.
    predictions_, predict_us, images, tokens, cost = (int(str(value)) for value in values)
    return Demand(predictions_, predict_us, images, tokens, cost)


def _values(row: CounterRow) -> dict[str, object]:
    return {
        "subject": row.subject,
        "metric": row.metric.value,
        "per": row.per.value,
        "models_key": row.models_key,
        "window_start": row.window_start,
        "window_end": row.window_end,
        "used": row.used,
        "reserved": row.reserved,
    }
