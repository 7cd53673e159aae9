"""Times as people write and read them."""

import re
from datetime import UTC, datetime

import click

from gateway.cli.commands import Invocation

_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*([smhd])")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_LONGEST_S = 100 * 366 * 86_400


def seconds_of(text: str) -> float:
    """Read a duration such as "90s", "15m", "12h" or "30d". Raises ValueError."""
    found = _DURATION.fullmatch(text.strip().lower())
    if found is None:
        raise ValueError(f'"{text}" is no duration: write 90s, 15m, 12h or 30d')
    seconds = float(found[1]) * _SECONDS[found[2]]
    if not 0 < seconds <= _LONGEST_S:
        raise ValueError(f'"{text}" must be more than nothing and at most a hundred years')
    return seconds


def instant_of(text: str, now: float) -> float:
    """Read a time: a duration before now, or a date or time (UTC unless it says otherwise).

    Raises ValueError.
    """
    if _DURATION.fullmatch(text.strip().lower()):
        return now - seconds_of(text)
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        raise ValueError(
            f'"{text}" is no time: write 7d for the last seven days, or 2026-03-01,'
            " or 2026-03-01T12:00Z"
        ) from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


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
    if at is None:
        return None
    moment = datetime.fromtimestamp(at, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
