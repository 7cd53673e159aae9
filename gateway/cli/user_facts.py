"""What `users show` tells of a user: the plan in force, the quotas, the keys."""

from dataclasses import dataclass

import click

from gateway.app.policy import policy_of
from gateway.cli.output import print_facts, print_table
from gateway.cli.overrides import describe
from gateway.cli.times import stamp
from gateway.domain.plans import Metric, Overrides
from gateway.domain.quota import Standing as QuotaStanding
from gateway.domain.quota import from_units
from gateway.flows.report_limits import Limits, limits_record
from gateway.flows.show_people import identity_of, key_record, key_state, user_record
from gateway.ledger import Connection, keys, predictions
from gateway.ledger import quotas as counters
from gateway.ledger.keys import KeyInfo
from gateway.ledger.users import UserRow
from gateway.settings import Settings


@dataclass(frozen=True, slots=True)
class Standing:
    """A user, and where they stand now."""

    user: UserRow
    limits: Limits
    keys: tuple[KeyInfo, ...]
    contact: str

    def record(self) -> dict[str, object]:
        """Return it for programs, in the administration's words."""
        return {
            "user": user_record(self.user),
            "standing": limits_record(self.limits, self.contact),
            "keys": [key_record(key, self.limits.at) for key in self.keys],
        }


def user_facts(conn: Connection, user: UserRow, settings: Settings, now: float) -> Standing:
    """Gather what is known of a user, by the plans and teams of this configuration."""
    identity = identity_of(user, policy_of(settings))
    return Standing(
        user=user,
        limits=Limits(
            identity,
            now,
            predictions.running_count(conn, user.id),
            tuple(counters.standings(conn, identity.rules, now)),
        ),
        keys=tuple(keys.list_keys(conn, user.id)),
        contact=settings.server.contact,
    )


def print_user(found: Standing) -> None:
    """Print it for people."""
    user, plan, limits = found.user, found.limits.identity.plan, found.limits
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
            ("Running", f"{limits.running}{most}"),
            ("Overrides", "; ".join(describe(Overrides.from_json(user.overrides)))),
        ]
    )
    if limits.standings:
        click.echo()
        print_table(
            ["Quota", "Used", "Reserved", "Left", "Resets (UTC)"],
            [
                [
                    standing.describe() + (" (team)" if standing.shared else ""),
                    _amount(standing, standing.used),
                    _amount(standing, standing.reserved),
                    _amount(standing, standing.remaining),
                    stamp(standing.window.end),
                ]
                for standing in limits.standings
            ],
        )
    if found.keys:
        click.echo()
        print_table(
            ["Key", "Label", "ID", "State", "Last used (UTC)"],
            [
                [key.hint, key.label, key.id, key_state(key, limits.at), stamp(key.last_used_at)]
                for key in found.keys
            ],
        )


def _amount(standing: QuotaStanding, units: int) -> str:
    text = from_units(standing.rule.metric, units)
    return f"≈ {text}" if standing.rule.metric is Metric.COST_USD else text
