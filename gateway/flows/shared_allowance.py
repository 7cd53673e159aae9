"""The account's allowance, one for all workers and machines: buckets in the ledger, leases here.

A worker that is given tokens takes a few more than it needs while there are plenty, so that most
requests cost no transaction. What it does not use within half a second is let go: it is less than
upstream would have allowed, never more.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final

from gateway.ledger import Connection, Ledger, allowance
from gateway.ledger.allowance import BucketRow
from gateway.upstream.bucket import Bucket, Correction, Grant, burst, corrected, full, take
from gateway.upstream.share import Kind

LEASE_S: Final = 0.5
"""How long tokens that were taken in advance are good for."""

# The part of what flows in during a lease that one worker takes in advance.
_PART: Final = 0.2


@dataclass(slots=True)
class _Lease:
    tokens: int = 0
    until: float = 0.0
    per_minute: float = 0.0


class SharedAllowance:
    """The upstream room's `Share`, kept in the ledger. Raises LedgerUnavailable."""

    def __init__(self, ledger: Ledger, per_minute: Mapping[Kind, float]) -> None:
        self._ledger = ledger
        self._ceilings = dict(per_minute)
        self._leases = {kind: _Lease(per_minute=rate) for kind, rate in per_minute.items()}

    async def take(self, kind: Kind, want: int, now: float) -> Grant:
        """Take up to `want` tokens, 0 only asks. Never waits for tokens to come."""
        lease = self._leases[kind]
        if now >= lease.until:
            lease.tokens = 0
        if 0 < want <= lease.tokens:
            lease.tokens -= want
            return Grant(want, now, lease.per_minute)
        held, lease.tokens = lease.tokens, 0
        ahead = int(self._ceilings[kind] / 60 * LEASE_S * _PART) if want else 0
        grant, more = await self._ledger.write(
            partial(_take, self._ceilings[kind], kind, want - held if want else 0, ahead, now)
        )
        if want == 0:
            lease.tokens += held
        elif more:
            lease.tokens += more
            lease.until, lease.per_minute = now + LEASE_S, grant.per_minute
        granted = grant.granted + (held if want else 0)
        return Grant(granted, grant.retry_at, grant.per_minute)

    async def correct(self, kind: Kind, word: Correction, now: float) -> None:
        """Take in what upstream said about what is left."""
        if word.throttled_s is not None:
            self._leases[kind].tokens = 0
        elif word.remaining is not None and word.remaining >= burst(self._ceilings[kind]):
            # It says less than what is known: no bucket holds more than that.
            return
        await self._ledger.write(partial(_correct, self._ceilings[kind], kind, word, now))


def _take(
    ceiling: float, kind: Kind, want: int, ahead: int, now: float, conn: Connection
) -> tuple[Grant, int]:
    bucket, now = _held(conn, kind, ceiling, now)
    bucket, grant = take(bucket, ceiling, want, now)
    more = 0
    # In advance only while there are plenty: what is scarce goes to who waits for it.
    if want and grant.granted == want and bucket.tokens >= burst(ceiling) / 2:
        bucket, advance = take(bucket, ceiling, ahead, now)
        more = advance.granted
    if want:
        _keep(conn, kind, bucket)
    return grant, more


def _correct(ceiling: float, kind: Kind, word: Correction, now: float, conn: Connection) -> None:
    bucket, now = _held(conn, kind, ceiling, now)
    _keep(conn, kind, corrected(bucket, ceiling, word, now))


def _held(conn: Connection, kind: Kind, ceiling: float, now: float) -> tuple[Bucket, float]:
    row = allowance.held(conn, kind.value)
    if row is None:
        return full(ceiling, now), now
    if row.blocked_until <= now:
        # Machines' clocks differ a little: what was touched "later" is not filled twice.
        now = max(now, row.updated_at)
    bucket = Bucket(row.tokens, row.updated_at, row.per_minute, row.lowered_at, row.blocked_until)
    return bucket, now


def _keep(conn: Connection, kind: Kind, bucket: Bucket) -> None:
    allowance.put(
        conn,
        kind.value,
        BucketRow(
            bucket.tokens,
            bucket.at,
            bucket.per_minute,
            bucket.lowered_at,
            bucket.blocked_until,
        ),
    )
