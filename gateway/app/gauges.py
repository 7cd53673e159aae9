"""Numbers about now, worked out while the metrics page is made."""

import asyncio
import shutil
from collections.abc import Callable
from concurrent.futures import TimeoutError as TookTooLong
from pathlib import Path

from gateway.clock import Clock
from gateway.domain.plans import Policy
from gateway.flows.show_people import identity_of
from gateway.ledger import Connection, Ledger, LedgerUnavailable, quotas, users
from gateway.ledger.gauges import Gauges as Counted
from gateway.ledger.gauges import gauges
from gateway.metrics import Gauges, Source, Unreadable

_ANSWER_WITHIN_S = 5.0

_Ratios = dict[tuple[str, str, str], float]


def of_ledger(
    ledger: Ledger,
    clock: Clock,
    policy: Callable[[], Policy],
    loop: asyncio.AbstractEventLoop,
) -> Source:
    """Return what asks the ledger; it is called in a thread, `loop` is the ledger's."""

    def look(conn: Connection) -> tuple[Counted, _Ratios]:
        now = clock.now()
        return gauges(conn, now), quota_ratios(conn, policy(), now)

    async def read() -> tuple[Counted, _Ratios]:
        async with asyncio.timeout(_ANSWER_WITHIN_S):
            return await ledger.read(look)

    def source() -> Gauges:
        try:
            asked = asyncio.run_coroutine_threadsafe(read(), loop)
            counted, ratios = asked.result(_ANSWER_WITHIN_S + 1)
        except (LedgerUnavailable, TookTooLong, RuntimeError) as error:
            # RuntimeError: the loop ended while the page was being made.
            reason = str(error) or f"no answer in {_ANSWER_WITHIN_S:g} s"
            raise Unreadable(f"the ledger: {reason}") from error
        return Gauges(
            predictions_in_flight=counted.in_flight,
            quota_used_ratio=ratios,
            creates_in_doubt=counted.creates_in_doubt,
            follower_lag_seconds=counted.follower_lag_s,
            outbox_pending=counted.outbox_pending,
            outbox_oldest_seconds=counted.outbox_oldest_s,
        )

    return source


def of_machine(
    folder: Path, mirror_bytes: Callable[[], int], cache_bytes: Callable[[], int]
) -> Source:
    """Return what measures the disk and what is on it."""

    def source() -> Gauges:
        try:
            return Gauges(
                disk_free_bytes=shutil.disk_usage(folder).free,
                mirror_stored_bytes=mirror_bytes(),
                cache_bytes={"disk": cache_bytes()},
            )
        except OSError as error:
            raise Unreadable(f"the disk: {error}") from error

    return source


def quota_ratios(conn: Connection, policy: Policy, now: float) -> _Ratios:
    """Return how full each user's quotas are: by user's name, metric and window.

    Only what was asked for in the present window is there: a rule that nobody has met yet is at 0.
    """
    counters = {row.key: row for row in quotas.counters_at(conn, now)}
    ratios: _Ratios = {}
    if not counters:
        return ratios
    for user in users.list_users(conn):
        if user.disabled:
            continue
        for rule, subject in identity_of(user, policy).rules:
            row = counters.get((subject, rule.metric, rule.per, rule.models_key))
            if row is None:
                continue
            taken = row.used + row.reserved
            key = (user.name, rule.metric.value, rule.per.value)
            ratios[key] = max(ratios.get(key, 0.0), taken / rule.limit if rule.limit else 1.0)
    return ratios
