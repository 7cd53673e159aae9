"""Predictions (and trainings): the narrow row, and the document beside it."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Select, bindparam, func, select

from gateway.domain.admission import Demand
from gateway.ledger.quotas import Names, names_of
from gateway.ledger.tables import creates, documents, predictions

DAY_S = 86_400
NO_DOCUMENT = b"{}"


@dataclass(frozen=True, slots=True)
class Row:
    """One prediction or training.

    `model` is the one asked for (lower case), else the answered one. All charges belong to the
    windows that contain `charged_at`. ``est_*`` is what was reserved; their namesakes are the
    truth, None until it is settled and `cost_nano` also when nobody knows the price.
    """

    id: str
    create_id: str | None
    kind: str
    account: str
    user_id: str
    user_name: str
    team: str | None
    key_id: str | None
    model: str | None
    deployment: str | None
    answered_model: str | None
    version: str | None
    status: str
    source: str | None
    created_at: float
    charged_at: float
    snapshot_at: float
    started_at: float | None
    completed_at: float | None
    settled_at: float | None
    removed_at: float | None
    next_look_at: float | None
    look_until: float | None
    look_by: str | None
    first_missing_at: float | None
    origin: str
    webhook: str | None
    announced: str | None
    est_predictions: int
    est_predict_us: int
    est_images: int
    est_tokens: int
    est_cost_nano: int | None
    predict_us: int | None
    images: int | None
    tokens_in: int | None
    tokens_out: int | None
    cost_nano: int | None
    webhook_events: tuple[str, ...] | None
    substitutions: dict[str, str]

    @property
    def names(self) -> Names:
        """What model rules can match."""
        return names_of(self.model, self.deployment)

    @property
    def reserved(self) -> Demand:
        """What was set aside for it."""
        return Demand(
            self.est_predictions,
            self.est_predict_us,
            self.est_images,
            self.est_tokens,
            self.est_cost_nano,
        )


_FIELDS = list(Row.__dataclass_fields__)
COLUMNS = tuple(predictions.c[name] for name in _FIELDS)

_GET = select(*COLUMNS).where(predictions.c.id == bindparam("id"))
_GET_LOCKED = _GET.with_for_update()
_DOCUMENT = select(documents.c.body).where(documents.c.prediction_id == bindparam("id"))
WITH_DOCUMENT = select(*COLUMNS, documents.c.body).outerjoin_from(
    predictions, documents, documents.c.prediction_id == predictions.c.id
)
_GET_WITH_DOCUMENT = WITH_DOCUMENT.where(predictions.c.id == bindparam("id"))
_GET_MANY = WITH_DOCUMENT.where(predictions.c.id.in_(bindparam("ids", expanding=True)))
_RUNNING = (
    select(func.count())
    .select_from(predictions)
    .where(predictions.c.user_id == bindparam("user_id"), predictions.c.settled_at.is_(None))
)
_ANSWERED = (
    WITH_DOCUMENT.join(creates, creates.c.id == predictions.c.create_id)
    .where(
        predictions.c.user_id == bindparam("user_id"),
        predictions.c.settled_at.is_(None),
        creates.c.finished_at >= bindparam("since"),
        # Only blocking creates are answered with this header.
        creates.c.answer_headers.contains("preference-applied"),
    )
    .order_by(creates.c.finished_at)
)
_UNDER_WAY = (
    select(func.count())
    .select_from(creates)
    .where(creates.c.user_id == bindparam("user_id"), creates.c.state.in_(["reserved", "doubt"]))
)
_RUNNING_IN_ALL = select(_RUNNING.scalar_subquery() + _UNDER_WAY.scalar_subquery())


def row_of(values: Sequence[Any]) -> Row:
    """Read a row of COLUMNS; more columns may follow."""
    count = len(_FIELDS) - 2
    events, substitutions = values[count], values[count + 1]
    decoded = (
        None if events is None else tuple(json.loads(events)),
        {} if substitutions is None else json.loads(substitutions),
    )
    return Row(*(*values[:count], *decoded))


def get(conn: Connection, prediction_id: str) -> Row | None:
    """Find a prediction or training."""
    values = conn.execute(_GET, {"id": prediction_id}).one_or_none()
    return None if values is None else row_of(values)


def get_locked(conn: Connection, prediction_id: str) -> Row | None:
    """Find it and let nobody else change it until the transaction ends."""
    values = conn.execute(_GET_LOCKED, {"id": prediction_id}).one_or_none()
    return None if values is None else row_of(values)


def document(conn: Connection, prediction_id: str) -> bytes | None:
    """Return the newest document of a prediction, in upstream's form."""
    body: bytes | None = conn.execute(_DOCUMENT, {"id": prediction_id}).scalar_one_or_none()
    return body


def get_with_document(conn: Connection, prediction_id: str) -> tuple[Row, bytes] | None:
    """Find a prediction and its document, which is an empty object once it is erased."""
    values = conn.execute(_GET_WITH_DOCUMENT, {"id": prediction_id}).one_or_none()
    return None if values is None else with_document(values)


def get_many_with_documents(
    conn: Connection, prediction_ids: Sequence[str]
) -> dict[str, tuple[Row, bytes]]:
    """Find several predictions and their documents by id; those there are not are left out."""
    found = conn.execute(_GET_MANY, {"ids": list(prediction_ids)})
    known = (with_document(values) for values in found)
    return {row.id: (row, body) for row, body in known}


def with_document(values: Sequence[Any]) -> tuple[Row, bytes]:
    """Read a row of WITH_DOCUMENT."""
    body = values[len(_FIELDS)]
    return row_of(values), NO_DOCUMENT if body is None else bytes(body)


def running_count(conn: Connection, user_id: str) -> int:
    """Return how many a user has running, with those that are on their way upstream."""
    return int(conn.execute(_RUNNING_IN_ALL, {"user_id": user_id}).scalar_one())


def answered(conn: Connection, user_id: str, since: float) -> list[tuple[Row, bytes]]:
    """List what a user has running whose blocking create was answered since then, oldest first."""
    found = conn.execute(_ANSWERED, {"user_id": user_id, "since": since})
    return [with_document(values) for values in found]


def for_update(statement: "Select[Any]") -> "Select[Any]":
    """Let several workers take different rows of one list on PostgreSQL."""
    return statement.with_for_update(skip_locked=True)


def day_of(at: float) -> int:
    """Return the number of the day (UTC) since 1970."""
    return math.floor(at / DAY_S)
