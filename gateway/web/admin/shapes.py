"""What the administration's requests and answers look like."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from gateway.domain.models import glob_fault
from gateway.domain.names import user_name_fault
from gateway.web.endpoints import Shape
from gateway.web.shapes import (
    LimitsShape,
    Metric,
    Named,
    PageCursor,
    Per,
    PredictionQuery,
    PredictionShape,
    Scope,
    Size,
    UsageQuery,
)

Role = Literal["member", "manage", "admin"]


def _check_user_name(name: str) -> str:
    fault = user_name_fault(name)
    if fault is not None:
        raise ValueError(fault)
    return name


def _check_glob(pattern: str) -> str:
    fault = glob_fault(pattern)
    if fault is not None:
        raise ValueError(fault)
    return pattern.lower()


UserName = Annotated[
    str,
    Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._@+-]{0,63}$"),
    AfterValidator(_check_user_name),
]
Glob = Annotated[
    str,
    Field(max_length=200, description="A pattern of `owner/name` with * and ?."),
    AfterValidator(_check_glob),
]
Label = Annotated[str, Field(max_length=100, pattern=r"^[ -~\u00a0-\u024f]*$")]


class RuleShape(Shape):
    """A quota: at most `limit` pieces, seconds or (estimated) US dollars in each window."""

    metric: Metric
    limit: Annotated[float, Field(ge=0, le=10**9)]
    per: Per
    models: list[Glob] = Field(default=[], max_length=50)
    scope: Scope = "user"


class LiftedShape(Shape):
    """Names a rule of the plan that does not hold for this user."""

    metric: Metric
    per: Per
    models: list[Glob] = Field(default=[], max_length=50)
    scope: Scope = "user"


class OverridesShape(Shape):
    """What one user has that the plan does not say. null leaves the plan as it is."""

    models_allow: Annotated[list[Glob], Field(max_length=200)] | None = None
    models_deny: Annotated[list[Glob], Field(max_length=200)] | None = None
    trainings: bool | None = None
    concurrent_predictions: Annotated[int, Field(ge=0, le=10**6)] | None = None
    unlimited_concurrency: bool = False
    quotas: list[RuleShape] = Field(default=[], max_length=50)
    lifted: list[LiftedShape] = Field(default=[], max_length=50)


class NewUser(Shape):
    """A user to be added."""

    name: UserName
    team: Named | None = None
    plan: Named | None = None
    role: Role = "member"


class UserPatch(Shape):
    """What is to change; what is left out stays."""

    name: UserName | None = None
    team: Named | None = None
    plan: Named | None = None
    role: Role | None = None
    disabled: bool | None = None
    overrides: OverridesShape | None = None


class UserShape(Shape):
    """A user."""

    id: str
    name: str
    team: str | None
    plan: str | None = Field(description="Their own; null: the team's, or the default one.")
    role: Role
    disabled: bool
    created_at: str
    disabled_at: str | None
    overrides: OverridesShape


class UserPage(Shape):
    """A page of users, by name."""

    next: str | None
    results: list[UserShape]


class UserStanding(Shape):
    """A user, and where they stand now."""

    user: UserShape
    standing: LimitsShape


class RemoveQuery(Shape):
    """How a user is removed."""

    purge: bool = Field(False, description="Erase what they made too.")


class Removed(Shape):
    """What went with a user."""

    erased_predictions: int


class Secret(Shape):
    """A signing secret."""

    key: str


class NewKeyShape(Shape):
    """A key to be made."""

    user: Named
    label: Label = ""
    expires_in_s: Annotated[float, Field(gt=0, le=100 * 366 * 86_400)] | None = None


class KeyShape(Shape):
    """A key, as much as is known of it: the key itself is not kept."""

    id: str
    user: str
    user_id: str
    hint: str
    label: str
    state: Literal["active", "expired", "revoked"]
    created_at: str
    expires_at: str | None
    revoked_at: str | None
    last_used_at: str | None


class MadeKey(Shape):
    """A key that was just made, shown only this once."""

    key: str
    info: KeyShape


class KeyPage(Shape):
    """A page of keys, by user."""

    next: str | None
    results: list[KeyShape]


class PlanShape(Shape):
    """A plan in force."""

    name: str
    models_allow: list[str]
    models_deny: list[str]
    trainings: bool
    concurrent_predictions: int | None
    quotas: list[RuleShape]


class TeamShape(Shape):
    """A team in force, and who is in it."""

    name: str
    plan: str | None
    share: bool
    quotas: list[RuleShape]
    warned: bool = Field(description="Whether warnings about its quotas are sent somewhere.")
    members: list[str]


class PriceShape(Shape):
    """What models cost, in US dollars: what estimates are made from."""

    pattern: str
    per_second: float | None
    per_image: float | None
    per_input_token: float | None
    per_output_token: float | None
    per_prediction: float | None
    expected_seconds: float
    expected_tokens: int


class PlanPage(Shape):
    """The plans in force."""

    next: str | None
    results: list[PlanShape]


class TeamPage(Shape):
    """The teams in force."""

    next: str | None
    results: list[TeamShape]


class PricePage(Shape):
    """The prices in force."""

    next: str | None
    results: list[PriceShape]


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


class WebhookShape(Shape):
    """An event on its way to a webhook."""

    id: str
    event: str
    host: str = Field(description="Where it goes: the rest of the address may be a secret.")
    state: Literal["pending", "delivered", "dead"]
    prediction_id: str | None
    team: str | None
    user_id: str | None
    attempts: int
    created_at: str
    next_attempt_at: str | None
    delivered_at: str | None
    last_status: int | None
    last_error: str | None


class WebhookPage(Shape):
    """A page of events, newest first."""

    next: str | None
    results: list[WebhookShape]


class WebhookQuery(Shape):
    """Which events."""

    state: Literal["pending", "delivered", "dead"] | None = None
    user: Named | None = None
    limit: Size = 100
    cursor: PageCursor | None = None


class Retried(Shape):
    """How many dead letters are tried again."""

    retried: int


class MirrorShape(Shape):
    """What is kept of output files."""

    files: dict[str, int] = Field(description="How many are wanted, stored, passed, gone.")
    stored_bytes: int
    max_bytes: int


class FaultShape(Shape):
    """A file that is not as it was stored."""

    key: str
    url: str | None
    fault: str


class Verification(Shape):
    """What comparing files, ledger and digests found."""

    checked: int
    faults: list[FaultShape]


class VerifyQuery(Shape):
    """How the mirror is verified."""

    repair: bool = Field(False, description="Delete what is damaged; fetch it again.")


class CacheShape(Shape):
    """What is cached on this machine's disk."""

    entries: int
    bytes: int
    max_bytes: int


class Cleared(Shape):
    """How many copies were dropped."""

    cleared: int


class PrunedShape(Shape):
    """What retention removed, by kind."""

    removed: dict[str, int]


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


class PageQuery(Shape):
    """Which page."""

    limit: Size = 100
    cursor: PageCursor | None = None


class KeyQuery(PageQuery):
    """Which keys."""

    user: Named | None = None
