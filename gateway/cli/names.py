"""Names of users, plans and teams as they come from a command line."""

import re
from collections.abc import Iterable

import click

from gateway.cli.session import meant
from gateway.domain.plans import DEFAULT_PLAN
from gateway.settings import Settings

_USER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,63}")


def check_user_name(name: str) -> str:
    """Return the name of a new user. Raises BadParameter where it would not fit a label."""
    if _USER.fullmatch(name) is None:
        raise click.BadParameter(
            f'"{name}" must be up to 64 letters, digits and ". _ @ + -", beginning with a letter'
            " or a digit",
            param_hint="NAME",
        )
    return name


def check_plan(plan: str | None, settings: Settings) -> str | None:
    """Return a plan that is configured. Raises BadParameter with those that are."""
    return _known("plan", plan, {DEFAULT_PLAN, *settings.plans})


def check_team(team: str | None, settings: Settings) -> str | None:
    """Return a team that is configured. Raises BadParameter with those that are."""
    return _known("team", team, settings.teams)


def _known(noun: str, name: str | None, known: Iterable[str]) -> str | None:
    names = sorted(known)
    if name is None or name in names:
        return name
    listed = f"known are: {', '.join(names)}" if names else "none is configured"
    cure = meant(name, names, f"add [{noun}s.{name}] to the configuration first")
    raise click.BadParameter(
        f'there is no {noun} "{name}"; {listed}; {cure}', param_hint=f"--{noun}"
    )
