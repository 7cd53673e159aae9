"""Counting an allowance: a bucket of tokens that upstream's own word corrects.

Pure: the time is an argument, so the same arithmetic serves a bucket in memory and one that several
workers share. Times are seconds since 1970, rates are requests a minute.
"""

import math
from dataclasses import dataclass, replace
from typing import Final

# A burst is three seconds' worth. Upstream lets short bursts through, without saying how short.
_BURST_S: Final = 3.0
# Upstream's strictest mode (little credit left) is six a minute: never believe in less.
_FLOOR_PER_MINUTE: Final = 6.0
_RECOVERY_S: Final = 60.0
_LONGEST_BLOCK_S: Final = 3600.0
# Sums of waits come out a hair short of a whole token.
_HAIR: Final = 1e-4


@dataclass(frozen=True, slots=True)
class Grant:
    """What was taken. `retry_at` is when there may be more, if less than wanted was granted."""

    granted: int
    retry_at: float
    per_minute: float
    """The rate believed in at the moment: for guessing how long a line takes."""


@dataclass(frozen=True, slots=True)
class Correction:
    """What upstream said: in ``ratelimit-remaining``, or with a 429."""

    remaining: int | None = None
    throttled_s: float | None = None
    """How long upstream wants nothing more of this kind; only a 429 says it."""


@dataclass(frozen=True, slots=True)
class Bucket:
    """The state to keep. `per_minute` is the learned rate, never above the configured one."""

    tokens: float
    at: float
    per_minute: float
    lowered_at: float = 0.0
    blocked_until: float = 0.0


def full(per_minute: float, now: float) -> Bucket:
    """Return the bucket to begin with."""
    return Bucket(burst(per_minute), now, per_minute)


def burst(per_minute: float) -> float:
    """Return how many may go at once."""
    return max(1.0, per_minute * _BURST_S / 60)


def per_second(per_minute: float) -> float:
    """Return the rate of refilling: with it, no sixty seconds ever see more than `per_minute`."""
    return max(per_minute - burst(per_minute) + 1, per_minute * 0.5) / 60


def take(bucket: Bucket, ceiling: float, want: int, now: float) -> tuple[Bucket, Grant]:
    """Take up to `want` tokens; `ceiling` is the configured rate a minute."""
    bucket = _refilled(bucket, ceiling, now)
    if now < bucket.blocked_until:
        return bucket, Grant(0, bucket.blocked_until, bucket.per_minute)
    granted = max(0, min(want, math.floor(bucket.tokens + _HAIR)))
    left = bucket.tokens - granted
    missing = max(0.0, 1 - left)
    return (
        replace(bucket, tokens=left),
        Grant(granted, now + missing / per_second(bucket.per_minute), bucket.per_minute),
    )


def corrected(bucket: Bucket, ceiling: float, word: Correction, now: float) -> Bucket:
    """Believe upstream: it counts what others do with the account as well."""
    bucket = _refilled(bucket, ceiling, now)
    if word.throttled_s is not None:
        return _throttled(bucket, ceiling, word.throttled_s, now)
    if word.remaining is None:
        return bucket
    # No waiting for ``ratelimit-reset``, even at 0: it tells when all is back, not when some is,
    # and a 429 costs nothing.
    return replace(bucket, tokens=min(bucket.tokens, float(word.remaining)))


def _throttled(bucket: Bucket, ceiling: float, seconds: float, now: float) -> Bucket:
    # Many requests are refused together: they are one lesson, not many.
    first_of_its_kind = now >= bucket.blocked_until and now >= bucket.lowered_at + 1
    if first_of_its_kind:
        lowered = max(min(ceiling, _FLOOR_PER_MINUTE), bucket.per_minute / 2)
        bucket = replace(bucket, per_minute=lowered)
    return replace(_blocked(bucket, now + seconds, now), lowered_at=now)


def _blocked(bucket: Bucket, until: float, now: float) -> Bucket:
    until = max(bucket.blocked_until, min(until, now + _LONGEST_BLOCK_S))
    # One may go as soon as the block ends, to find out; the others follow at the learned rate.
    return replace(bucket, tokens=1.0, at=until, blocked_until=until)


def _refilled(bucket: Bucket, ceiling: float, now: float) -> Bucket:
    rate, lowered_at = min(bucket.per_minute, ceiling), bucket.lowered_at
    while rate < ceiling and now - lowered_at >= _RECOVERY_S:
        rate = min(ceiling, rate * 2)
        lowered_at += _RECOVERY_S
    passed = now - bucket.at
    if passed <= 0 < bucket.blocked_until - now:
        return replace(bucket, per_minute=rate, lowered_at=lowered_at)
    tokens = min(burst(rate), bucket.tokens + max(0.0, passed) * per_second(rate))
    return replace(bucket, tokens=tokens, at=now, per_minute=rate, lowered_at=lowered_at)
