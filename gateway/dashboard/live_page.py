"""Live: what runs, who waits, what is left of the account's allowance, how upstream does."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from gateway.dashboard.health import UpstreamHealth
from gateway.dashboard.items import Status, status_of
from gateway.dashboard.visit import Page, Place, Reply, Visit
from gateway.ledger import Connection, Ledger, allowance, predictions
from gateway.ledger.gauges import Gauges, gauges
from gateway.ledger.predictions import Filter, Row
from gateway.upstream.bucket import burst, per_second

_MOST_ROWS = 50
_NAMES = {"create": "Creates", "request": "Other requests"}


@dataclass(frozen=True, slots=True)
class Allowance:
    """One of the account's budgets: how many may go now, and who waits here for it."""

    name: str
    left: int
    per_minute: int
    at_once: int
    percent: int
    waiting: int
    blocked_s: float


class LivePage:
    """Answers `/dashboard/live`, for admins."""

    def __init__(
        self,
        ledger: Ledger,
        health: UpstreamHealth,
        waiting: Callable[[str], int],
        most: dict[str, float],
        faults: Callable[[], Awaitable[dict[str, str]]],
    ) -> None:
        """`most` is a minute's allowance by kind, `waiting` counts who waits for it here."""
        self._ledger = ledger
        self._health = health
        self._waiting = waiting
        self._most = most
        self._faults = faults

    def places(self) -> tuple[Place, ...]:
        """Return the addresses."""
        return (Place("GET", "/live", self.show, admin=True),)

    async def show(self, visit: Visit) -> Reply:
        """Show it."""
        now = visit.now

        def look(
            conn: Connection,
        ) -> tuple[Gauges, list[Row], dict[str, allowance.BucketRow | None]]:
            return (
                gauges(conn, now),
                predictions.rows(conn, Filter(running=True), limit=_MOST_ROWS),
                {kind: allowance.seen(conn, kind) for kind in _NAMES},
            )

        counted, rows, buckets = await self._ledger.read(look)
        running: list[tuple[Row, Status]] = [(row, status_of(row, now)) for row in rows]
        faults = await self._faults()
        return Page(
            "live.html",
            {
                "counted": counted,
                "in_flight": sum(counted.in_flight.values()),
                "rows": running,
                "allowances": [self._allowance(kind, buckets[kind], now) for kind in _NAMES],
                "upstream": self._health.seen(),
                "faults": faults,
                "most_rows": _MOST_ROWS,
            },
        )

    def _allowance(self, kind: str, bucket: allowance.BucketRow | None, now: float) -> Allowance:
        per_minute = self._most[kind] if bucket is None else bucket.per_minute
        at_once = burst(per_minute)
        left = at_once
        blocked = 0.0
        if bucket is not None:
            passed = max(0.0, now - bucket.updated_at)
            left = max(0.0, min(at_once, bucket.tokens + passed * per_second(per_minute)))
            blocked = max(0.0, bucket.blocked_until - now)
        return Allowance(
            name=_NAMES[kind],
            left=int(left),
            per_minute=int(per_minute),
            at_once=int(at_once),
            percent=round(100 * left / at_once),
            waiting=self._waiting(kind),
            blocked_s=blocked,
        )
