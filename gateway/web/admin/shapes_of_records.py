"""What usage, predictions, creates in doubt and the audit log look like in the administration."""

from typing import Annotated, Literal

from pydantic import Field

from gateway.web.endpoints import Shape
from gateway.web.shapes import Named, PredictionQuery, PredictionShape, UsageQuery


class AdminUsageQuery(UsageQuery):
    """What a report is about."""

    user: Named | None = None
    team: Named | None = None


class AdminPredictionQuery(PredictionQuery):
    """Which predictions."""

    user: Named | None = None
    team: Named | None = None


class FileShape(Shape):
    """An output file of a prediction."""

    url: str
    state: Literal["wanted", "stored", "passed", "gone"]
    size: int | None
    content_type: str | None
    stored_at: str | None
    error: str | None


class PredictionDetail(Shape):
    """A prediction, its files, and its document as upstream wrote it."""

    prediction: PredictionShape
    files: list[FileShape]
    document: dict[str, object]


class OrphanShape(Shape):
    """A create whose answer was lost, and what it may have become."""

    create_id: str
    sent_at: str
    lost_at: str | None
    user: str
    user_id: str
    team: str | None
    kind: str
    target: str
    model: str | None
    candidates: list[str]
    assigned: str | None


class OrphanPage(Shape):
    """Creates in doubt, oldest first."""

    next: str | None
    results: list[OrphanShape]


class Assignment(Shape):
    """Which prediction a create became."""

    prediction_id: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,128}$")]


class AuditShape(Shape):
    """One change: who, what, when, from where."""

    id: int
    at: str
    actor: str
    source: str
    action: str
    subject: str
    detail: dict[str, object]


class AuditPage(Shape):
    """A page of changes, newest first."""

    next: str | None
    results: list[AuditShape]
