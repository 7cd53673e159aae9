"""Times as people and programs write them: durations, dates, instants."""

import re
from datetime import UTC, datetime

_DURATION = re.compile(r"(\d{1,15}(?:\.\d{1,15})?)\s*([smhd])", re.ASCII)
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_LONGEST_S = 100 * 366 * 86_400
_DAY_S = 86_400


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
        # In UTC it must be a date still: the first and last hours of all time are none elsewhere.
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC).timestamp()
    except (ValueError, OverflowError):
        raise ValueError(
            f'"{text}" is no time: write 7d for the last seven days, or 2026-03-01,'
            " or 2026-03-01T12:00Z"
        ) from None


def iso(at: float) -> str:
    """Write a time for programs: ISO 8601 in UTC, to the millisecond."""
    moment = datetime.fromtimestamp(at, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def date_of(day: int) -> str:
    """Write the day of this number since 1970: "2026-03-01"."""
    return datetime.fromtimestamp(day * _DAY_S, UTC).strftime("%Y-%m-%d")
