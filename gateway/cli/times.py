"""Times as people write and read them."""

from datetime import UTC, datetime

import click

from gateway.cli.commands import Invocation
from gateway.domain import instants
from gateway.domain.instants import instant_of, seconds_of

__all__ = ["duration", "instant", "instant_of", "iso", "seconds_of", "stamp"]


def duration(_: click.Context, __: click.Parameter, text: str | None) -> float | None:
    """Convert an option's duration to seconds."""
    try:
        return None if text is None else seconds_of(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


def instant(ctx: click.Context, _: click.Parameter, text: str | None) -> float | None:
    """Convert an option's time to seconds since 1970."""
    now = ctx.ensure_object(Invocation).clock.now()
    try:
        return None if text is None else instant_of(text, now)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


def stamp(at: float | None) -> str:
    """Write a time for people, to the minute, in UTC; nothing for None."""
    return "" if at is None else datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M")


def iso(at: float | None) -> str | None:
    """Write a time for programs: ISO 8601 in UTC."""
    return None if at is None else instants.iso(at)
