"""Where somebody stands: what is left of each quota, and when it is whole again."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from gateway.clock import Clock
from gateway.domain.admission import applicable, tightest
from gateway.domain.instants import iso
from gateway.domain.plans import Identity, Metric
from gateway.domain.quota import Standing, ratelimit_headers, seconds_until
from gateway.flows.report_usage import number
from gateway.ledger import Connection, Ledger, LedgerError, predictions, quotas

_log = logging.getLogger(__name__)

Headers = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Limits:
    """Everything that bounds somebody, as it stands at `at`."""

    identity: Identity
    at: float
    running: int
    standings: tuple[Standing, ...]


class ReportLimits:
    """Tells where somebody stands.

    `fresh` knows of requests that this worker has not written down yet.
    """

    def __init__(
        self, ledger: Ledger, clock: Clock, fresh: Callable[[Identity], Sequence[Standing]]
    ) -> None:
        self._ledger = ledger
        self._clock = clock
        self._fresh = fresh

    async def __call__(self, identity: Identity) -> Limits:
        """Gather the standing of every rule, in the order of plan and team."""
        now = self._clock.now()
        running, standings = await self._ledger.read(partial(_read, identity=identity, now=now))
        return Limits(identity, now, running, self._newest(identity, standings))

    async def headers(self, identity: Identity, names: Sequence[str]) -> Headers:
        """Return the ``ratelimit-*`` headers of the tightest limit on models so named.

        None where nothing limits them, or where the ledger cannot be asked: the answer that they
        belong to is not made worse by that.
        """
        rules = applicable(identity.rules, *names)
        if not rules:
            return ()
        now = self._clock.now()
        try:
            found = await self._ledger.read(partial(quotas.standings, rules=rules, at=now))
        except LedgerError as error:
            _log.warning("an answer goes without its limits: %s", error)
            return ()
        standing = tightest(self._newest(identity, found))
        return () if standing is None else ratelimit_headers(standing, now)

    def _newest(self, identity: Identity, standings: Sequence[Standing]) -> tuple[Standing, ...]:
        newer = {(found.subject, found.rule): found for found in self._fresh(identity)}
        return tuple(newer.get((known.subject, known.rule), known) for known in standings)


def _read(conn: Connection, identity: Identity, now: float) -> tuple[int, list[Standing]]:
    return (
        predictions.running_count(conn, identity.user_id),
        quotas.standings(conn, identity.rules, now),
    )


def limits_record(limits: Limits, contact: str) -> dict[str, object]:
    """Write it for programs."""
    identity, plan = limits.identity, limits.identity.plan
    return {
        "user": identity.user_name,
        "team": identity.team,
        "role": identity.role.value,
        "plan": plan.name,
        "models_allow": list(plan.models_allow),
        "models_deny": list(plan.models_deny),
        "trainings": identity.may_train,
        "concurrent_predictions": plan.concurrent_predictions,
        "running": limits.running,
        "contact": contact,
        "limits": [standing_record(standing, limits.at) for standing in limits.standings],
    }


def standing_record(standing: Standing, now: float) -> dict[str, object]:
    """Write where one rule stands: in pieces, seconds or (estimated) dollars."""
    rule = standing.rule

    def amount(units: int) -> int | float:
        return number(rule.metric, units)

    return {
        "metric": rule.metric.value,
        "per": rule.per.value,
        "models": list(rule.models),
        "scope": "team" if standing.shared else "user",
        "limit": amount(rule.limit),
        "used": amount(standing.used),
        "reserved": amount(standing.reserved),
        "remaining": amount(standing.remaining),
        "estimated": rule.metric is Metric.COST_USD,
        "window_start": iso(standing.window.start),
        "resets_at": iso(standing.window.end),
        "resets_in_s": seconds_until(standing.window.end, now),
    }
