"""`config`: what is configured, whether it can be used, and making it known."""

from collections.abc import Sequence

import click

from gateway.app.policy import policy_of
from gateway.cli.commands import PROGRAM, Group, as_json, say
from gateway.cli.output import print_json
from gateway.cli.session import Session, with_session
from gateway.domain.plans import DEFAULT_PLAN, Policy
from gateway.flows.publish_policy import publish_policy
from gateway.ledger import Connection
from gateway.ledger import users as user_rows
from gateway.settings import shipped_in_force, shown, shown_shipped, shown_toml

_REST = "All other settings count from the next start on."


@click.group(cls=Group, example=f"{PROGRAM} config check --config /etc/replicate-gateway.toml")
def config() -> None:
    """Check, print and publish the configuration."""


@config.command("check", example=f"{PROGRAM} config check --config config/gateway.toml")
@with_session
def check(session: Session) -> None:
    """Say whether the configuration can be used; each fault is a line."""
    session.use_upstream()
    settings = session.settings
    counts = ", ".join(
        f"{len(tables)} {noun if len(tables) != 1 else noun[:-1]}"
        for noun, tables in (
            ("plans", settings.plans),
            ("teams", settings.teams),
            ("prices", settings.prices),
        )
    )
    shipped = len(shipped_in_force(settings))
    click.echo(f"{session.source} can be used: {counts} (and {shipped} shipped).")


@config.command("show", example=f"{PROGRAM} config show")
@as_json
@with_session
def show(session: Session, as_json: bool) -> None:
    """Print what is in force, defaults and environment included; secrets are masked."""
    if as_json:
        settings = session.settings
        print_json({**shown(settings), "shipped_prices": shown_shipped(settings)})
    else:
        click.echo(shown_toml(session.settings), nl=False)


@config.command("reload", example=f"{PROGRAM} config check && {PROGRAM} config reload")
@with_session
def reload(session: Session) -> None:
    """Publish plans, teams, prices and the contact to every worker, without a restart.

    All other settings count from the next start on.
    """
    policy = policy_of(session.settings)

    def work(conn: Connection) -> tuple[bool, Sequence[str]]:
        news = publish_policy(conn, policy, session.clock.now(), session.actor)
        return news, strays(conn, policy)

    news, warnings = session.write(work)
    for line in warnings:
        say(f"Warning: {line}")
    if news:
        say(f"Published: running gateways go by it within a second. {_REST}")
    else:
        say(f"Plans, teams, prices and contact are as they were published. {_REST}")


def strays(conn: Connection, policy: Policy) -> Sequence[str]:
    """Name users whose plan or team is no longer configured."""
    lines = []
    for user in user_rows.list_users(conn):
        if user.plan is not None and user.plan not in {DEFAULT_PLAN, *policy.plans}:
            lines.append(
                f'{user.name} is on the plan "{user.plan}", which is not configured: no model is'
                " allowed to them"
            )
        if user.team is not None and user.team not in policy.teams:
            lines.append(
                f'{user.name} is in the team "{user.team}", which is not configured: its rules'
                " do not hold"
            )
    return lines
