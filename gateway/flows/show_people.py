"""Users and keys, plans, teams and prices, as programs read them: one vocabulary for all."""

from decimal import Decimal

from gateway.domain.instants import iso
from gateway.domain.plans import (
    Identity,
    Overrides,
    Plan,
    Policy,
    Price,
    QuotaRule,
    Role,
    Team,
    effective_plan,
    globs_of,
)
from gateway.flows.report_usage import number
from gateway.ledger.keys import KeyInfo
from gateway.ledger.users import UserRow


def identity_of(row: UserRow, policy: Policy) -> Identity:
    """Return a user as they would come with a key."""
    team = None if row.team is None else policy.teams.get(row.team)
    return Identity(
        user_id=row.id,
        user_name=row.name,
        team=row.team,
        role=Role(row.role),
        key_id="",
        plan=effective_plan(policy, row.plan, row.team, Overrides.from_json(row.overrides)),
        team_rules=() if team is None else team.rules,
        share=team is not None and team.share,
    )


def user_record(row: UserRow) -> dict[str, object]:
    """Write a user for programs."""
    overrides = Overrides.from_json(row.overrides)
    return {
        "id": row.id,
        "name": row.name,
        "team": row.team,
        "plan": row.plan,
        "role": row.role,
        "disabled": row.disabled,
        "created_at": iso(row.created_at),
        "disabled_at": _iso(row.disabled_at),
        "overrides": {
            "models_allow": _listed(overrides.models_allow),
            "models_deny": _listed(overrides.models_deny),
            "trainings": overrides.trainings,
            "concurrent_predictions": overrides.concurrent_predictions,
            "unlimited_concurrency": overrides.unlimited_concurrency,
            "quotas": [rule_record(rule) for rule in overrides.rules],
            "lifted": [
                {"metric": metric, "per": per, "models": list(globs_of(models)), "scope": scope}
                for metric, per, models, scope in overrides.lifted
            ],
        },
    }


def key_state(row: KeyInfo, now: float) -> str:
    """Say whether a key opens anything: "active", "expired" or "revoked"."""
    if row.revoked_at is not None:
        return "revoked"
    return "expired" if row.expires_at is not None and row.expires_at <= now else "active"


def key_record(row: KeyInfo, now: float) -> dict[str, object]:
    """Write what is known of a key."""
    return {
        "id": row.id,
        "user": row.user_name,
        "user_id": row.user_id,
        "hint": row.hint,
        "label": row.label,
        "state": key_state(row, now),
        "created_at": iso(row.created_at),
        "expires_at": _iso(row.expires_at),
        "revoked_at": _iso(row.revoked_at),
        "last_used_at": _iso(row.last_used_at),
    }


def rule_record(rule: QuotaRule) -> dict[str, object]:
    """Write a rule in the units of people."""
    return {
        "metric": rule.metric.value,
        "limit": number(rule.metric, rule.limit),
        "per": rule.per.value,
        "models": list(rule.models),
        "scope": rule.scope.value,
    }


def plan_record(plan: Plan) -> dict[str, object]:
    """Write a plan."""
    return {
        "name": plan.name,
        "models_allow": list(plan.models_allow),
        "models_deny": list(plan.models_deny),
        "trainings": plan.trainings,
        "concurrent_predictions": plan.concurrent_predictions,
        "quotas": [rule_record(rule) for rule in plan.rules],
    }


def team_record(team: Team, members: list[str]) -> dict[str, object]:
    """Write a team; its webhook's address may be a secret."""
    return {
        "name": team.name,
        "plan": team.plan,
        "share": team.share,
        "quotas": [rule_record(rule) for rule in team.rules],
        "warned": team.webhook is not None,
        "members": members,
    }


def price_record(price: Price) -> dict[str, object]:
    """Write a price."""

    def amount(value: Decimal | None) -> float | None:
        return None if value is None else float(value)

    return {
        "pattern": price.pattern,
        "per_second": amount(price.per_second),
        "per_image": amount(price.per_image),
        "per_input_token": amount(price.per_input_token),
        "per_output_token": amount(price.per_output_token),
        "per_prediction": amount(price.per_prediction),
        "expected_seconds": float(price.expected_seconds),
        "expected_tokens": price.expected_tokens,
    }


def _listed(globs: tuple[str, ...] | None) -> list[str] | None:
    return None if globs is None else list(globs)


def _iso(at: float | None) -> str | None:
    return None if at is None else iso(at)
