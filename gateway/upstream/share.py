"""Where a worker's part of the account's allowance comes from.

One process keeps the buckets in memory (:class:`LocalShare`). Several workers and machines need one
that they all draw from; whoever writes it keeps :class:`~gateway.upstream.bucket.Bucket` rows and
applies the same functions to them, best in small leases so that not every request is a transaction.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Protocol

from gateway.upstream.bucket import Bucket, Correction, Grant, corrected, full, take


class Kind(StrEnum):
    """Upstream counts creates and all other requests apart."""

    CREATE = "create"
    REQUEST = "request"


class Share(Protocol):
    """The buckets, wherever they are kept."""

    async def take(self, kind: Kind, want: int, now: float) -> Grant:
        """Take up to `want` tokens, 0 only asks. Never waits for tokens to come."""

    async def correct(self, kind: Kind, word: Correction, now: float) -> None:
        """Take in what upstream said about what is left."""


class LocalShare:
    """Buckets in this process's memory, full at the start."""

    def __init__(self, per_minute: Mapping[Kind, float], now: float) -> None:
        self._ceilings = dict(per_minute)
        self._buckets = {kind: full(rate, now) for kind, rate in per_minute.items()}

    async def take(self, kind: Kind, want: int, now: float) -> Grant:
        """Take up to `want` tokens."""
        self._buckets[kind], grant = take(self._buckets[kind], self._ceilings[kind], want, now)
        return grant

    async def correct(self, kind: Kind, word: Correction, now: float) -> None:
        """Take in what upstream said about what is left."""
        self._buckets[kind] = corrected(self._buckets[kind], self._ceilings[kind], word, now)

    def bucket(self, kind: Kind) -> Bucket:
        """Return the state, to look at."""
        return self._buckets[kind]
