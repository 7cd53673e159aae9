"""Attempts to create something upstream: what is asked for, and what became of it."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, bindparam, select

from gateway.domain.admission import Demand
from gateway.ledger.quotas import Names, names_of
from gateway.ledger.tables import creates, predictions

RESERVED = "reserved"
DOUBT = "doubt"
RECORDED = "recorded"
REFUSED = "refused"
RELEASED = "released"
OPEN = (RESERVED, DOUBT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reservation:
    """A create that is about to go upstream.

    `target` is its path in short ("models/o/n", "versions/ID", "deployments/o/n", "trainings/…");
    `model` the one asked for, in lower case, None if the request names none; `deployment` likewise.
    `substitutions` say which input values were replaced on the way up. All charges belong to the
    windows that contain `at`.
    """

    id: str
    worker: str
    user_id: str
    user_name: str
    team: str | None
    key_id: str
    account: str
    kind: str
    target: str
    model: str | None
    body_digest: str
    input_digest: str
    demand: Demand
    at: float
    deployment: str | None = None
    input_outline: str | None = None
    idempotency_key: str | None = None
    retry_count: int = 0
    origin: str = ""
    webhook: str | None = None
    webhook_events: tuple[str, ...] | None = None
    substitutions: dict[str, str] = field(default_factory=dict)

    @property
    def names(self) -> Names:
        """What model rules can match."""
        return names_of(self.model, self.deployment)


@dataclass(frozen=True, slots=True)
class StoredAnswer:
    """What the client was, or would have been, answered: for those who ask again."""

    status: int
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes | None = None


@dataclass(frozen=True, slots=True)
class CreateRow:
    """One attempt. `state` is reserved, doubt, recorded, refused or released."""

    id: str
    state: str
    worker: str
    user_id: str
    user_name: str
    team: str | None
    key_id: str
    account: str
    kind: str
    target: str
    model: str | None
    deployment: str | None
    body_digest: str
    input_digest: str
    idempotency_key: str | None
    retry_count: int
    origin: str
    webhook: str | None
    at: float
    doubted_at: float | None
    finished_at: float | None
    delivered_at: float | None
    joined_at: float | None
    prediction_id: str | None
    """What it became; of one in doubt, what an admin says that it became."""
    candidates: str | None
    """Of one in doubt: the predictions that it may have become, separated by blanks."""
    input_outline: str | None
    demand: Demand
    webhook_events: tuple[str, ...] | None
    substitutions: dict[str, str]
    answer: StoredAnswer | None

    @property
    def open(self) -> bool:
        """Whether its fate is not known yet."""
        return self.state in OPEN

    @property
    def names(self) -> Names:
        """What model rules can match."""
        return names_of(self.model, self.deployment)


_PLAIN = list(CreateRow.__dataclass_fields__)[:-4]
_EST = ("est_predictions", "est_predict_us", "est_images", "est_tokens", "est_cost_nano")
_COLUMNS = tuple(
    creates.c[name]
    for name in (
        *_PLAIN,
        *_EST,
        "webhook_events",
        "substitutions",
        "answer_status",
        "answer_headers",
        "answer_body",
    )
)
SELECT = select(*_COLUMNS)
_GET = SELECT.where(creates.c.id == bindparam("key"))
_GET_LOCKED = _GET.with_for_update()
_DOUBTS = SELECT.where(creates.c.state == DOUBT).order_by(creates.c.at, creates.c.id)
_UNDER_WAY = SELECT.where(creates.c.state == RESERVED).order_by(creates.c.at, creates.c.id)
_OF_PREDICTION = SELECT.where(creates.c.prediction_id == bindparam("key"))
INSERT = creates.insert()


def create_of(values: Sequence[Any]) -> CreateRow:
    """Read a row of SELECT."""
    count = len(_PLAIN)
    events, substitutions, status, headers, body = values[count + 5 :]
    answer = None
    if status is not None:
        pairs = tuple((str(name), str(value)) for name, value in json.loads(headers or "[]"))
        answer = StoredAnswer(status, pairs, None if body is None else bytes(body))
    decoded = (
        Demand(*values[count : count + 5]),
        None if events is None else tuple(json.loads(events)),
        {} if substitutions is None else json.loads(substitutions),
        answer,
    )
    return CreateRow(*(*values[:count], *decoded))


def values_of(reservation: Reservation) -> dict[str, object]:
    """Return the columns of a new attempt."""
    demand = reservation.demand
    return {
        "id": reservation.id,
        "state": RESERVED,
        "worker": reservation.worker,
        "user_id": reservation.user_id,
        "user_name": reservation.user_name,
        "team": reservation.team,
        "key_id": reservation.key_id,
        "account": reservation.account,
        "kind": reservation.kind,
        "target": reservation.target,
        "model": reservation.model,
        "deployment": reservation.deployment,
        "body_digest": reservation.body_digest,
        "input_digest": reservation.input_digest,
        "input_outline": reservation.input_outline,
        "idempotency_key": reservation.idempotency_key,
        "retry_count": reservation.retry_count,
        "origin": reservation.origin,
        "webhook": reservation.webhook,
        "webhook_events": (
            None if reservation.webhook_events is None else json.dumps(reservation.webhook_events)
        ),
        "substitutions": (
            json.dumps(reservation.substitutions) if reservation.substitutions else None
        ),
        "est_predictions": demand.predictions,
        "est_predict_us": demand.predict_us,
        "est_images": demand.images,
        "est_tokens": demand.tokens,
        "est_cost_nano": demand.cost_nano,
        "at": reservation.at,
    }


def get(conn: Connection, create_id: str) -> CreateRow | None:
    """Find an attempt."""
    row = conn.execute(_GET, {"key": create_id}).one_or_none()
    return None if row is None else create_of(row)


def get_locked(conn: Connection, create_id: str) -> CreateRow | None:
    """Find an attempt and let nobody else change it until the transaction ends."""
    row = conn.execute(_GET_LOCKED, {"key": create_id}).one_or_none()
    return None if row is None else create_of(row)


def of_prediction(conn: Connection, prediction_id: str) -> CreateRow | None:
    """Find the attempt that made a prediction."""
    row = conn.execute(_OF_PREDICTION, {"key": prediction_id}).first()
    return None if row is None else create_of(row)


def doubts(conn: Connection) -> list[CreateRow]:
    """List the attempts whose fate is unknown, oldest first."""
    return [create_of(row) for row in conn.execute(_DOUBTS)]


def under_way(conn: Connection) -> list[CreateRow]:
    """List the attempts that somebody is working on, oldest first."""
    return [create_of(row) for row in conn.execute(_UNDER_WAY)]


def known_predictions(conn: Connection, prediction_ids: Iterable[str]) -> frozenset[str]:
    """Return those of these upstream ids that the ledger has."""
    ids = sorted(set(prediction_ids))
    if not ids:
        return frozenset()
    found = conn.execute(select(predictions.c.id).where(predictions.c.id.in_(ids)))
    return frozenset(row[0] for row in found)
