"""From the configuration's plans, teams and prices to the policy that is published to everybody."""

from collections.abc import Iterable

from gateway.domain.models import matches
from gateway.domain.plans import Metric, Per, Plan, Policy, Price, QuotaRule, Scope, Team
from gateway.domain.quota import to_units
from gateway.settings import Plan as PlanSettings
from gateway.settings import Price as PriceSettings
from gateway.settings import Quota as QuotaSettings
from gateway.settings import Settings, starting_prices
from gateway.settings import Team as TeamSettings

_EVERY_MODEL = ("*",)


def policy_of(settings: Settings) -> Policy:
    """Return what the configuration says about users."""
    return Policy(
        plans={name: _plan(name, plan) for name, plan in settings.plans.items()},
        teams={name: _team(name, team) for name, team in settings.teams.items()},
        prices=_prices(settings),
        contact=settings.server.contact,
    )


def _prices(settings: Settings) -> tuple[Price, ...]:
    """The configuration's, and the shipped ones of models that it says nothing about."""
    own = tuple(_price(pattern, price) for pattern, price in settings.prices.items())
    shipped = tuple(
        _price(model, starting.price)
        for model, starting in starting_prices().items()
        if not matches(settings.prices, model)
    )
    return own + shipped


def _plan(name: str, plan: PlanSettings) -> Plan:
    return Plan(
        name=name,
        # Allowing everything restricts nothing: names then need not be known.
        models_allow=() if plan.models_allow == _EVERY_MODEL else plan.models_allow,
        models_deny=plan.models_deny,
        trainings=plan.trainings,
        concurrent_predictions=plan.concurrent_predictions,
        rules=_rules(plan.quotas),
    )


def _team(name: str, team: TeamSettings) -> Team:
    return Team(
        name=name,
        plan=team.plan or None,
        share=team.share,
        rules=_rules(team.quotas),
        webhook=team.webhook or None,
        webhook_secret=team.webhook_secret.get_secret_value() or None,
    )


def _price(pattern: str, price: PriceSettings) -> Price:
    return Price(
        pattern=pattern,
        per_second=price.per_second,
        per_image=price.per_image,
        per_input_token=price.per_input_token,
        per_output_token=price.per_output_token,
        per_prediction=price.per_prediction,
        expected_seconds=price.expected_seconds,
        expected_tokens=price.expected_tokens,
    )


def _rules(quotas: Iterable[QuotaSettings]) -> tuple[QuotaRule, ...]:
    return tuple(
        QuotaRule(
            metric=Metric(quota.metric),
            limit=to_units(Metric(quota.metric), quota.limit),
            per=Per(quota.per),
            models=quota.models,
            scope=Scope(quota.scope),
        )
        for quota in quotas
    )
