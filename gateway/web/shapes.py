"""What the gateway's own answers look like: the shapes behind their documentation."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from gateway.domain.instants import instant_of
from gateway.flows.report_usage import AXES
from gateway.ledger.usage import By
from gateway.web.endpoints import Shape
from gateway.web.openapi import NAME

Metric = Literal["requests", "predictions", "predict_seconds", "images", "tokens", "cost_usd"]
Per = Literal["second", "minute", "hour", "day", "week", "month"]
Scope = Literal["user", "team"]
Status = Literal["starting", "processing", "succeeded", "failed", "canceled", "aborted"]
Named = Annotated[str, Field(pattern=NAME)]
Model = Annotated[str, Field(pattern=r"^[A-Za-z0-9._/-]{1,200}$")]
Size = Annotated[int, Field(ge=1, le=500)]
PageCursor = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,400}$")]


def _check_instant(text: str) -> str:
    instant_of(text, 0.0)
    return text


def _check_axes(text: str) -> str:
    axes(text)
    return text


def axes(text: str) -> tuple[By, ...]:
    """Read what a report is by: "user,model". Raises ValueError."""
    wanted = [part for part in text.split(",") if part]
    found = tuple(axis for axis in AXES if axis in wanted)
    if len(found) != len(wanted):
        raise ValueError(f"each of {', '.join(AXES)} at most once, separated by commas")
    return found


Instant = Annotated[
    str,
    Field(
        max_length=40,
        description="A time span before now (12h, 7d), a date or a time (2026-03-01T12:00Z).",
    ),
    AfterValidator(_check_instant),
]
Axes = Annotated[
    str,
    Field(max_length=40, description=f"One or more of {', '.join(AXES)}, separated by commas."),
    AfterValidator(_check_axes),
]


class UsageLineShape(Shape):
    """What was used. The cost is an estimate by the price table; null while nothing has a price."""

    user: str | None = None
    user_id: str | None = None
    team: str | None = None
    model: str | None = None
    day: str | None = Field(None, description="The day in UTC, as 2026-03-01.")
    status: str | None = None
    predictions: int = Field(description="All that were made, trainings included.")
    running: int = Field(description="Of these, still running; they are in no amount.")
    failed: int = Field(description="Of these, failed or aborted.")
    predict_seconds: float
    images: int
    input_tokens: int
    output_tokens: int
    estimated_cost_usd: float | None = Field(
        description="Of those with a price; null if none has one."
    )
    unpriced: int = Field(description="How many ended with an unknown cost.")


class UsageReport(Shape):
    """Usage of what was created from `since` to before `until`."""

    since: str
    until: str
    by: list[Literal["user", "team", "model", "day", "status"]]
    lines: list[UsageLineShape]
    total: UsageLineShape


class LimitShape(Shape):
    """One rule and where it stands: pieces, seconds, or estimated US dollars."""

    metric: Metric
    per: Per
    models: list[str]
    scope: Scope = Field(description="`team`: the budget is shared by the team.")
    limit: float
    used: float = Field(description="By what has ended.")
    reserved: float = Field(description="Set aside for what is running.")
    remaining: float
    estimated: bool = Field(description="Whether these amounts rest on the price table.")
    window_start: str
    resets_at: str
    resets_in_s: int


class LimitsShape(Shape):
    """Everything that bounds a user."""

    user: str
    team: str | None
    role: Literal["member", "manage", "admin"]
    plan: str
    models_allow: list[str]
    models_deny: list[str]
    trainings: bool
    concurrent_predictions: int | None = Field(description="null: as many as you like.")
    running: int
    contact: str
    limits: list[LimitShape]


class PredictionShape(Shape):
    """A prediction or training in short. Amounts are null until it has ended."""

    id: str
    kind: Literal["prediction", "training"]
    status: Status
    model: str | None
    version: str | None
    deployment: str | None
    user: str
    user_id: str
    team: str | None
    source: str | None
    created_at: str
    started_at: str | None
    completed_at: str | None
    removed_at: str | None
    predict_seconds: float | None
    images: int | None
    input_tokens: int | None
    output_tokens: int | None
    estimated_cost_usd: float | None = Field(description="null: not known (yet).")
    url: str = Field(description="Where its document is read.")


class PredictionPage(Shape):
    """A page of predictions, newest first."""

    next: str | None
    results: list[PredictionShape]


class UsageQuery(Shape):
    """What a report is about."""

    since: Instant | None = None
    until: Instant | None = None
    by: Axes | None = None
    model: Model | None = None


class PredictionQuery(Shape):
    """Which predictions."""

    kind: Literal["prediction", "training"] | None = None
    model: Model | None = None
    status: Status | None = None
    since: Instant | None = None
    until: Instant | None = None
    limit: Size = 100
    cursor: PageCursor | None = None


class AnyDocument(Shape, extra="allow"):
    """An OpenAPI document."""
