"""Plans, teams, prices and who somebody is: the values that decisions are made from.

Quantities in quotas are whole numbers, so that sums are exact and fit a 64-bit column:
``requests``, ``predictions``, ``images`` and ``tokens`` count pieces, ``predict_seconds`` counts
microseconds, ``cost_usd`` counts nanodollars (a billionth of a US dollar).
``gateway.domain.quota`` converts.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from typing import Self

DEFAULT_PLAN = "default"
"""The plan of everybody whose user and team name none."""


class Metric(StrEnum):
    """What a quota counts."""

    REQUESTS = "requests"
    PREDICTIONS = "predictions"
    PREDICT_SECONDS = "predict_seconds"
    IMAGES = "images"
    TOKENS = "tokens"
    COST_USD = "cost_usd"


class Per(StrEnum):
    """The calendar window of a quota, in UTC."""

    SECOND = "second"
    MINUTE = "minute"
    HOUR = "hour"
    DAY = "day"
    WEEK = "week"
    MONTH = "month"


class Scope(StrEnum):
    """Whose budget a rule limits: each user's own, or one that the team shares."""

    USER = "user"
    TEAM = "team"


class Role(StrEnum):
    """What somebody may do beside using models."""

    MEMBER = "member"
    MANAGE = "manage"
    ADMIN = "admin"


def models_key(globs: tuple[str, ...]) -> str:
    """Name a set of globs, whatever their order and case; "" means every model.

    Counters are kept under this name; :func:`globs_of` reads it back.
    """
    return ",".join(sorted({glob.casefold() for glob in globs}))


def globs_of(key: str) -> tuple[str, ...]:
    """Return the globs that :func:`models_key` named."""
    return tuple(key.split(",")) if key else ()


@dataclass(frozen=True, slots=True)
class QuotaRule:
    """At most `limit` (whole units, see the module) of `metric` in each window of `per`.

    With `models` (globs on ``owner/name``) only predictions of those models count.
    Raises ValueError for a negative limit and for globs that no model's name can match.
    """

    metric: Metric
    limit: int
    per: Per
    models: tuple[str, ...] = ()
    scope: Scope = Scope.USER

    def __post_init__(self) -> None:
        if self.limit < 0:
            raise ValueError("a quota's limit cannot be negative")
        for glob in self.models:
            # A comma separates globs in models_key.
            if not glob or "," in glob or any(char.isspace() for char in glob):
                raise ValueError(f"not a pattern for model names: {glob!r}")

    @property
    def models_key(self) -> str:
        """The canonical name of `models`; "" when the rule counts every model."""
        return models_key(self.models)

    @property
    def key(self) -> tuple[Metric, Per, str, Scope]:
        """What the rule limits, its amount aside: two rules with one key contradict each other."""
        return self.metric, self.per, self.models_key, self.scope


@dataclass(frozen=True, slots=True)
class Plan:
    """What somebody may use, and how much of it."""

    name: str
    models_allow: tuple[str, ...] = ()
    models_deny: tuple[str, ...] = ()
    trainings: bool = False
    concurrent_predictions: int | None = None
    rules: tuple[QuotaRule, ...] = ()

    @property
    def restricts_models(self) -> bool:
        """Whether the model's name matters, so that a version of an unknown model is refused."""
        return bool(
            self.models_allow or self.models_deny or any(rule.models for rule in self.rules)
        )


@dataclass(frozen=True, slots=True)
class Team:
    """People who may share a budget, and with `share` also the sight of their predictions."""

    name: str
    plan: str | None = None
    share: bool = False
    rules: tuple[QuotaRule, ...] = ()
    webhook: str | None = None
    webhook_secret: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Price:
    """What a model costs, in US dollars, and what to expect of it while nothing is known yet."""

    pattern: str
    per_second: Decimal | None = None
    per_image: Decimal | None = None
    per_input_token: Decimal | None = None
    per_output_token: Decimal | None = None
    per_prediction: Decimal | None = None
    expected_seconds: Decimal = Decimal(10)
    expected_tokens: int = 1000


_PRICES = ("per_second", "per_image", "per_input_token", "per_output_token", "per_prediction")


@dataclass(frozen=True, slots=True)
class Policy:
    """Everything of the configuration that decides about users, as published to every worker."""

    plans: Mapping[str, Plan] = field(default_factory=dict)
    teams: Mapping[str, Team] = field(default_factory=dict)
    prices: tuple[Price, ...] = ()
    contact: str = ""

    def to_json(self) -> str:
        """Write it down; equal policies give equal text."""
        return _dumps(
            {
                "plans": {name: asdict(plan) for name, plan in self.plans.items()},
                "teams": {name: asdict(team) for name, team in self.teams.items()},
                "prices": [asdict(price) for price in self.prices],
                "contact": self.contact,
            }
        )

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what :meth:`to_json` wrote; raises ValueError for anything else."""
        try:
            data = json.loads(text)
            plans = [_plan_from(item) for item in data["plans"].values()]
            teams = [_team_from(item) for item in data["teams"].values()]
            return cls(
                plans={plan.name: plan for plan in plans},
                teams={team.name: team for team in teams},
                prices=tuple(_price_from(item) for item in data["prices"]),
                contact=str(data["contact"]),
            )
        except (KeyError, TypeError, AttributeError, InvalidOperation) as error:
            raise ValueError("not a published policy") from error


@dataclass(frozen=True, slots=True)
class Overrides:
    """What one user has that the plan does not say; None and empty leave the plan as it is.

    A rule replaces the plan's rule about the same thing (:attr:`QuotaRule.key`) or is added to
    the plan; `lifted` names rules of the plan that do not hold for this user.
    """

    models_allow: tuple[str, ...] | None = None
    models_deny: tuple[str, ...] | None = None
    trainings: bool | None = None
    concurrent_predictions: int | None = None
    unlimited_concurrency: bool = False
    rules: tuple[QuotaRule, ...] = ()
    lifted: tuple[tuple[Metric, Per, str, Scope], ...] = ()

    def to_json(self) -> str:
        """Write it down; equal overrides give equal text."""
        unset = asdict(type(self)())
        data = {name: value for name, value in asdict(self).items() if value != unset[name]}
        return _dumps(data)

    @classmethod
    def from_json(cls, text: str | None) -> Self:
        """Read what :meth:`to_json` wrote (None and "" are no overrides); raises ValueError."""
        if not text:
            return cls()
        try:
            data = json.loads(text)
            concurrent = data.get("concurrent_predictions")
            trainings = data.get("trainings")
            return cls(
                models_allow=_optional_globs(data.get("models_allow")),
                models_deny=_optional_globs(data.get("models_deny")),
                trainings=None if trainings is None else bool(trainings),
                concurrent_predictions=None if concurrent is None else int(concurrent),
                unlimited_concurrency=bool(data.get("unlimited_concurrency", False)),
                rules=tuple(_rule_from(item) for item in data.get("rules", ())),
                lifted=tuple(
                    (Metric(metric), Per(per), str(models), Scope(scope))
                    for metric, per, models, scope in data.get("lifted", ())
                ),
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError("not a user's overrides") from error

    def on(self, plan: Plan) -> Plan:
        """Return the plan with these overrides in force."""
        replaced = {rule.key for rule in self.rules} | set(self.lifted)
        kept = tuple(rule for rule in plan.rules if rule.key not in replaced)
        concurrent = plan.concurrent_predictions
        if self.unlimited_concurrency:
            concurrent = None
        elif self.concurrent_predictions is not None:
            concurrent = self.concurrent_predictions
        return replace(
            plan,
            models_allow=plan.models_allow if self.models_allow is None else self.models_allow,
            models_deny=plan.models_deny if self.models_deny is None else self.models_deny,
            trainings=plan.trainings if self.trainings is None else self.trainings,
            concurrent_predictions=concurrent,
            rules=kept + self.rules,
        )


def effective_plan(
    policy: Policy, user_plan: str | None, team: str | None, overrides: Overrides | None = None
) -> Plan:
    """Return the plan in force: the user's beats the team's beats the default; overrides on top.

    Without a default plan in the configuration nothing is limited. A plan that is named but no
    longer configured allows no model: whoever was restricted must not become free by a rename.
    """
    name = user_plan
    if name is None and team is not None and team in policy.teams:
        name = policy.teams[team].plan
    if name is None:
        plan = policy.plans.get(DEFAULT_PLAN, Plan(DEFAULT_PLAN))
    else:
        plan = policy.plans.get(name) or (
            Plan(name) if name == DEFAULT_PLAN else Plan(name, models_deny=("*",))
        )
    return plan if overrides is None else overrides.on(plan)


def user_subject(user_id: str) -> str:
    """Name a user in the counters."""
    return f"user:{user_id}"


def team_subject(team: str) -> str:
    """Name a team in the counters."""
    return f"team:{team}"


@dataclass(frozen=True, slots=True)
class Identity:
    """Who asks, with all that decides what they may do: made once per key, then remembered."""

    user_id: str
    user_name: str
    team: str | None
    role: Role
    key_id: str
    plan: Plan
    team_rules: tuple[QuotaRule, ...] = ()
    share: bool = False
    rules: tuple[tuple[QuotaRule, str], ...] = field(init=False, repr=False, compare=False)
    """Every rule with the subject whose counters it reads: ``user:<id>`` or ``team:<name>``."""

    def __post_init__(self) -> None:
        own = user_subject(self.user_id)
        shared = own if self.team is None else team_subject(self.team)
        rules = [(rule, shared if rule.scope is Scope.TEAM else own) for rule in self.plan.rules]
        rules += [(rule, shared) for rule in self.team_rules]
        object.__setattr__(self, "rules", tuple(rules))

    @property
    def restricts_models(self) -> bool:
        """Whether the plan or the team has anything to say about single models."""
        return self.plan.restricts_models or any(rule.models for rule in self.team_rules)

    @property
    def may_manage(self) -> bool:
        """Whether shared upstream resources may be changed."""
        return self.role in (Role.MANAGE, Role.ADMIN)

    @property
    def may_administer(self) -> bool:
        """Whether the administration is open to them."""
        return self.role is Role.ADMIN

    @property
    def may_train(self) -> bool:
        """Whether trainings may be started."""
        return self.plan.trainings or self.may_manage


def _dumps(data: dict[str, object]) -> str:
    # Decimals are written as text: a float would not come back as the same number.
    return json.dumps(data, separators=(",", ":"), sort_keys=True, default=str)


def _rule_from(data: Mapping[str, object]) -> QuotaRule:
    limit = data["limit"]
    if not isinstance(limit, int):
        raise TypeError("a limit is a whole number")
    return QuotaRule(
        metric=Metric(str(data["metric"])),
        limit=limit,
        per=Per(str(data["per"])),
        models=_globs(data["models"]),
        scope=Scope(str(data["scope"])),
    )


def _rules_from(value: object) -> tuple[QuotaRule, ...]:
    if not isinstance(value, list):
        raise TypeError("rules are a list")
    return tuple(_rule_from(item) for item in value)


def _plan_from(data: Mapping[str, object]) -> Plan:
    concurrent = data["concurrent_predictions"]
    if concurrent is not None and not isinstance(concurrent, int):
        raise TypeError("a concurrency limit is a whole number")
    return Plan(
        name=str(data["name"]),
        models_allow=_globs(data["models_allow"]),
        models_deny=_globs(data["models_deny"]),
        trainings=bool(data["trainings"]),
        concurrent_predictions=concurrent,
        rules=_rules_from(data["rules"]),
    )


def _team_from(data: Mapping[str, object]) -> Team:
    return Team(
        name=str(data["name"]),
        plan=_optional_text(data["plan"]),
        share=bool(data["share"]),
        rules=_rules_from(data["rules"]),
        webhook=_optional_text(data["webhook"]),
        webhook_secret=_optional_text(data["webhook_secret"]),
    )


def _price_from(data: Mapping[str, object]) -> Price:
    tokens = data["expected_tokens"]
    if not isinstance(tokens, int):
        raise TypeError("expected tokens are a whole number")
    amounts = {name: _optional_text(data[name]) for name in _PRICES}
    return Price(
        pattern=str(data["pattern"]),
        expected_seconds=Decimal(str(data["expected_seconds"])),
        expected_tokens=tokens,
        **{name: None if text is None else Decimal(text) for name, text in amounts.items()},
    )


def _optional_text(value: object) -> str | None:
    return None if value is None else str(value)


def _globs(value: object) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise TypeError("patterns are a list")
    return tuple(str(item) for item in value)


def _optional_globs(value: object) -> tuple[str, ...] | None:
    return None if value is None else _globs(value)
