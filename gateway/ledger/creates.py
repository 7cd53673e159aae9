"""From reservation to prediction: each create is counted before it is sent, and ends in one of
three ways. It is recorded, or given back, or its fate is unknown and it stays counted.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, bindparam, case, select

from gateway.domain.admission import Admitted, Decision
from gateway.domain.models import rule_applies
from gateway.domain.plans import Metric, QuotaRule
from gateway.domain.quota import Standing
from gateway.ledger import files as file_rows
from gateway.ledger import quotas
from gateway.ledger.create_rows import (
    INSERT,
    OPEN,
    RECORDED,
    REFUSED,
    RELEASED,
    SELECT,
    CreateRow,
    Reservation,
    StoredAnswer,
    create_of,
    doubts,
    get,
    get_locked,
    known_predictions,
    of_prediction,
    under_way,
    values_of,
)
from gateway.ledger.doubts import assign, doubt, doubt_of_dead, note_candidates
from gateway.ledger.looks import announce
from gateway.ledger.outbox import Tell
from gateway.ledger.prediction_rows import day_of, running_count
from gateway.ledger.repeats import (
    find_joinable,
    leave_joinable,
    mark_delivered,
    take_joinable,
)
from gateway.ledger.statements import insert_or_ignore
from gateway.ledger.tables import creates, documents, predictions

IDEMPOTENCY_S = 86_400
"""How long an ``Idempotency-Key`` means the same prediction."""

__all__ = [
    "IDEMPOTENCY_S",
    "Conflict",
    "CreateRow",
    "NewPrediction",
    "Refused",
    "Repeated",
    "Reservation",
    "Reserved",
    "StoredAnswer",
    "adopt",
    "assign",
    "doubt",
    "doubt_of_dead",
    "doubts",
    "find_joinable",
    "find_repeated",
    "get",
    "known_predictions",
    "leave_joinable",
    "mark_delivered",
    "note_candidates",
    "of_prediction",
    "prune",
    "record",
    "refuse",
    "release",
    "reserve",
    "take_joinable",
    "under_way",
]


@dataclass(frozen=True, slots=True)
class Reserved:
    """Set aside; `standings` are those of the rules that count it, itself included."""

    standings: tuple[Standing, ...]


@dataclass(frozen=True, slots=True)
class Refused:
    """Nothing was set aside, for this reason."""

    decision: Decision


@dataclass(frozen=True, slots=True)
class Repeated:
    """The same Idempotency-Key was used for the same create before: this is what it led to."""

    create: CreateRow


@dataclass(frozen=True, slots=True)
class Conflict:
    """The same Idempotency-Key was used for another create."""

    create: CreateRow


@dataclass(frozen=True, slots=True, kw_only=True)
class NewPrediction:
    """A prediction or training as upstream first showed it. `rank` is its status's."""

    id: str
    status: str
    rank: int
    document: bytes
    created_at: float
    next_look_at: float
    model: str | None = None
    version: str | None = None
    source: str | None = None


_BY_IDEMPOTENCY = SELECT.where(
    creates.c.user_id == bindparam("user"), creates.c.idempotency_key == bindparam("idem")
)
_FREE_KEY = creates.update().where(creates.c.id == bindparam("key")).values(idempotency_key=None)
_FINISH = (
    creates.update()
    .where(creates.c.id == bindparam("key"))
    .values(
        state=bindparam("new_state"),
        finished_at=bindparam("now"),
        # What came to nothing gives its Idempotency-Key back: the next try is a new create.
        idempotency_key=case(
            (bindparam("keep_key"), creates.c.idempotency_key),
            else_=None,
        ),
        prediction_id=bindparam("prediction"),
        answer_status=bindparam("status"),
        answer_headers=bindparam("headers"),
        answer_body=bindparam("body"),
    )
)
_NEW_PREDICTION = insert_or_ignore(predictions)
_NEW_DOCUMENT = documents.insert()


def reserve(
    conn: Connection,
    reservation: Reservation,
    rules: Sequence[tuple[QuotaRule, str]],
    concurrent_limit: int | None,
    decide: Callable[[Sequence[Standing], int], Decision],
) -> Reserved | Refused | Repeated | Conflict:
    """Set aside what a create will probably take, if `decide` admits it. Write it durably.

    `decide` gets the standings of the rules that count this create (those on requests left out:
    they are weighed on the way in) and how many of the user's predictions are running, which is
    not looked up (0) without a `concurrent_limit`. It must be pure. With N left, exactly N of any
    number of concurrent reservations are admitted.
    """
    quotas.hold(conn, reservation.user_id, reservation.team)
    if reservation.idempotency_key is not None:
        earlier = find_repeated(
            conn,
            user_id=reservation.user_id,
            idempotency_key=reservation.idempotency_key,
            kind=reservation.kind,
            target=reservation.target,
            body_digest=reservation.body_digest,
            at=reservation.at,
        )
        if earlier is not None:
            return earlier
    names, at = reservation.names, reservation.at
    counted = [
        (rule, subject)
        for rule, subject in rules
        if rule.metric is not Metric.REQUESTS and rule_applies(rule, *names)
    ]
    subjects = quotas.subjects_of(reservation.user_id, reservation.team)
    found = quotas.ensure(conn, counted, subjects, at)
    running = 0 if concurrent_limit is None else running_count(conn, reservation.user_id)
    decision = decide(quotas.standings_of(counted, found), running)
    if not isinstance(decision, Admitted):
        return Refused(decision)
    conn.execute(INSERT, values_of(reservation))
    changes = quotas.reserving(reservation.demand)
    concerned = [row for row in found.values() if row.subject in subjects and row.concerns(names)]
    quotas.add(conn, concerned, changes)
    after = {row.key: quotas.changed(row, changes) for row in concerned}
    return Reserved(tuple(quotas.standings_of(counted, found | after)))


def record(
    conn: Connection,
    create_id: str,
    prediction: NewPrediction,
    files: Sequence[str],
    now: float,
    answer: StoredAnswer | None = None,
    tell: Tell | None = None,
) -> bool:
    """Note which prediction a create became; what was set aside now belongs to that. Durable.

    A model that only the answer names is counted by its rules from here on. False, and nothing
    changed, if the create has been recorded or refused, or if the prediction is known already. One
    that was given back too early is counted again.
    """
    create = get_locked(conn, create_id)
    if create is None or create.state not in (*OPEN, RELEASED):
        return False
    quotas.hold(conn, create.user_id, create.team)
    model = create.model or (prediction.model.lower() if prediction.model else None)
    if conn.execute(_NEW_PREDICTION.on(conn), _values(create, prediction, model, now)).rowcount < 1:
        return False
    conn.execute(_NEW_DOCUMENT, {"prediction_id": prediction.id, "body": prediction.document})
    _finish(conn, create, RECORDED, now, prediction.id, answer)
    names = quotas.names_of(model, create.deployment)
    quotas.apply_delta(
        conn,
        user_id=create.user_id,
        team=create.team,
        at=create.at,
        names=names,
        changes=quotas.reserving(create.demand),
        known_as=create.names if create.open else None,
    )
    file_rows.register(conn, prediction.id, files, now)
    announce(conn, prediction.id, tell, now)
    return True


def adopt(
    conn: Connection,
    create_id: str,
    prediction: NewPrediction,
    files: Sequence[str],
    now: float,
    answer: StoredAnswer | None = None,
    tell: Tell | None = None,
) -> bool:
    """Give a create in doubt the prediction that was found to be its own: as `record`."""
    return record(conn, create_id, prediction, files, now, answer, tell)


def refuse(
    conn: Connection,
    create_id: str,
    now: float,
    status: int,
    body: bytes | None = None,
    headers: Sequence[tuple[str, str]] = (),
) -> bool:
    """Give everything back: upstream refused the create. False if its fate was known already."""
    return _give_back(conn, create_id, REFUSED, now, StoredAnswer(status, tuple(headers), body))


def release(conn: Connection, create_id: str, now: float) -> bool:
    """Give everything back: the create never happened. False if its fate was known already."""
    return _give_back(conn, create_id, RELEASED, now, None)


def prune(conn: Connection, before: float, limit: int = 1000) -> int:
    """Delete attempts made before then whose fate is known, the oldest first; return how many."""
    oldest = (
        select(creates.c.id)
        .where(creates.c.at < before, creates.c.state.not_in(OPEN))
        .order_by(creates.c.at)
        .limit(limit)
    )
    return conn.execute(creates.delete().where(creates.c.id.in_(oldest))).rowcount


def find_repeated(
    conn: Connection,
    *,
    user_id: str,
    idempotency_key: str,
    kind: str,
    target: str,
    body_digest: str,
    at: float,
) -> Repeated | Conflict | None:
    """Find the create that used this key in the last 24 hours; a key past that is set free."""
    row = conn.execute(_BY_IDEMPOTENCY, {"user": user_id, "idem": idempotency_key}).one_or_none()
    if row is None:
        return None
    earlier = create_of(row)
    if at - earlier.at >= IDEMPOTENCY_S and not earlier.open:
        conn.execute(_FREE_KEY, {"key": earlier.id})
        return None
    same = (earlier.kind, earlier.target, earlier.body_digest) == (kind, target, body_digest)
    return Repeated(earlier) if same else Conflict(earlier)


def _give_back(
    conn: Connection, create_id: str, state: str, now: float, answer: StoredAnswer | None
) -> bool:
    create = get_locked(conn, create_id)
    if create is None or not create.open:
        return False
    quotas.hold(conn, create.user_id, create.team)
    _finish(conn, create, state, now, None, answer)
    quotas.apply_delta(
        conn,
        user_id=create.user_id,
        team=create.team,
        at=create.at,
        names=create.names,
        changes=quotas.giving_back(create.demand),
    )
    return True


def _finish(
    conn: Connection,
    create: CreateRow,
    state: str,
    now: float,
    prediction_id: str | None,
    answer: StoredAnswer | None,
) -> None:
    conn.execute(
        _FINISH,
        {
            "key": create.id,
            "new_state": state,
            "now": now,
            "keep_key": state == RECORDED,
            "prediction": prediction_id,
            "status": answer.status if answer else None,
            "headers": json.dumps(answer.headers) if answer and answer.headers else None,
            "body": answer.body if answer else None,
        },
    )


def _values(
    create: CreateRow, prediction: NewPrediction, model: str | None, now: float
) -> dict[str, object]:
    demand = create.demand
    return {
        "id": prediction.id,
        "create_id": create.id,
        "kind": create.kind,
        "account": create.account,
        "user_id": create.user_id,
        "user_name": create.user_name,
        "team": create.team,
        "key_id": create.key_id,
        "model": model,
        "deployment": create.deployment,
        "answered_model": prediction.model,
        "version": prediction.version,
        "status": prediction.status,
        "status_rank": prediction.rank,
        "source": prediction.source,
        "created_at": prediction.created_at,
        "charged_at": create.at,
        "day": day_of(create.at),
        "snapshot_at": now,
        "next_look_at": prediction.next_look_at,
        "origin": create.origin,
        "webhook": create.webhook,
        "webhook_events": (
            None if create.webhook_events is None else json.dumps(create.webhook_events)
        ),
        "substitutions": json.dumps(create.substitutions) if create.substitutions else None,
        "est_predictions": demand.predictions,
        "est_predict_us": demand.predict_us,
        "est_images": demand.images,
        "est_tokens": demand.tokens,
        "est_cost_nano": demand.cost_nano,
    }
