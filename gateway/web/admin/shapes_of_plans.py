"""What plans, teams, prices and overrides look like in the administration."""

from typing import Annotated

from pydantic import AfterValidator, Field

from gateway.domain.models import glob_fault
from gateway.web.endpoints import Shape
from gateway.web.shapes import Metric, Per, Scope


def _check_glob(pattern: str) -> str:
    fault = glob_fault(pattern)
    if fault is not None:
        raise ValueError(fault)
    return pattern.lower()


Glob = Annotated[
    str,
    Field(max_length=200, description="A pattern of `owner/name` with * and ?."),
    AfterValidator(_check_glob),
]


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
