"""What `users show` tells of a user: the plan in force, the quotas, the keys."""

from dataclasses import dataclass

import click

from gateway.app.policy import policy_of
from gateway.cli.output import Record, print_facts, print_table
from gateway.cli.overrides import describe
from gateway.cli.times import iso, stamp
from gateway.domain.plans import Identity, Overrides, Plan, Role, effective_plan
from gateway.domain.quota import Standing as QuotaStanding
from gateway.domain.quota import from_units, plain
from gateway.ledger import Connection, keys, predictions
from gateway.ledger import quotas as counters
from gateway.ledger.keys import KeyInfo
from gateway.ledger.users import UserRow
from gateway.settings import Settings


@dataclass(frozen=True, slots=True)
class Standing:
    """A user, and where they stand now."""

    user: UserRow
    plan: Plan
    overrides: Overrides
    quotas: tuple[QuotaStanding, ...]
    running: int
    keys: tuple[KeyInfo, ...]
    now: float

    def record(self) -> Record:
        """Return it for programs."""
        return {
            **user_record(self.user),
            "effective_plan": {
                "name": self.plan.name,
                "models_allow": list(self.plan.models_allow),
                "models_deny": list(self.plan.models_deny),
                "trainings": self.plan.trainings,
                "concurrent_predictions": self.plan.concurrent_predictions,
            },
            "overrides": describe(self.overrides),
            "running": self.running,
            "quotas": [_quota_record(standing) for standing in self.quotas],
            "keys": [key_record(key, self.now) for key in self.keys],
        }


def user_facts(conn: Connection, user: UserRow, settings: Settings, now: float) -> Standing:
    """Gather what is known of a user, by the plans and teams of this configuration."""
    policy = policy_of(settings)
    overrides = Overrides.from_json(user.overrides)
    team = None if user.team is None else policy.teams.get(user.team)
    identity = Identity(
        user_id=user.id,
        user_name=user.name,
        team=user.team,
        role=Role(user.role),
        key_id="",
        plan=effective_plan(policy, user.plan, user.team, overrides),
        team_rules=() if team is None else team.rules,
    )
    return Standing(
        user=user,
        plan=identity.plan,
        overrides=overrides,
        quotas=tuple(counters.standings(conn, identity.rules, now)),
        running=predictions.running_count(conn, user.id),
        keys=tuple(keys.list_keys(conn, user.id)),
        now=now,
    )


def print_user(found: Standing) -> None:
    """Print it for people."""
    user, plan = found.user, found.plan
    most = "" if plan.concurrent_predictions is None else f" of {plan.concurrent_predictions}"
    print_facts(
        [
            ("Name", user.name),
            ("ID", user.id),
            ("Team", user.team or "none"),
            ("Plan", plan.name + ("" if user.plan else " (not their own)")),
            ("Role", user.role),
            ("State", f"disabled since {stamp(user.disabled_at)}" if user.disabled else "active"),
            ("Created", f"{stamp(user.created_at)} UTC"),
            ("Models", ", ".join(plan.models_allow) or "all"),
            ("Except", ", ".join(plan.models_deny)),
            ("Trainings", "allowed" if plan.trainings else "not by the plan"),
            ("Running", f"{found.running}{most}"),
            ("Overrides", "; ".join(describe(found.overrides))),
        ]
    )
    if found.quotas:
        click.echo()
        print_table(
            ["Quota", "Used", "Reserved", "Left", "Resets (UTC)"],
            [
                [
                    standing.describe() + (" (team)" if standing.shared else ""),
                    from_units(standing.rule.metric, standing.used),
                    from_units(standing.rule.metric, standing.reserved),
                    from_units(standing.rule.metric, standing.remaining),
                    stamp(standing.window.end),
                ]
                for standing in found.quotas
            ],
        )
    if found.keys:
        click.echo()
        print_table(
            ["Key", "Label", "ID", "State", "Last used (UTC)"],
            [
                [key.hint, key.label, key.id, state_of(key, found.now), stamp(key.last_used_at)]
                for key in found.keys
            ],
        )


def user_record(user: UserRow) -> Record:
    """Return a user for programs."""
    return {
        "id": user.id,
        "name": user.name,
        "team": user.team,
        "plan": user.plan,
        "role": user.role,
        "disabled": user.disabled,
        "created_at": iso(user.created_at),
        "disabled_at": iso(user.disabled_at),
    }


def state_of(key: KeyInfo, now: float) -> str:
    """Say whether a key opens anything."""
    if key.revoked_at is not None:
        return "revoked"
    return "expired" if key.expires_at is not None and key.expires_at <= now else "active"


def key_record(key: KeyInfo, now: float) -> Record:
    """Return a key for programs: what is known of it, which is not the key."""
    return {
        "id": key.id,
        "user": key.user_name,
        "user_id": key.user_id,
        "hint": key.hint,
        "label": key.label,
        "state": state_of(key, now),
        "created_at": iso(key.created_at),
        "expires_at": iso(key.expires_at),
        "revoked_at": iso(key.revoked_at),
        "last_used_at": iso(key.last_used_at),
    }


def _quota_record(standing: QuotaStanding) -> Record:
    rule = standing.rule

    def amount(units: int) -> int | float:
        value = plain(rule.metric, units)
        return int(value) if value == value.to_integral_value() else float(value)

    return {
        "metric": rule.metric.value,
        "limit": amount(rule.limit),
        "per": rule.per.value,
        "models": list(rule.models),
        "scope": rule.scope.value,
        "shared": standing.shared,
        "used": amount(standing.used),
        "reserved": amount(standing.reserved),
        "remaining": amount(standing.remaining),
        "window_start": iso(standing.window.start),
        "window_end": iso(standing.window.end),
    }
