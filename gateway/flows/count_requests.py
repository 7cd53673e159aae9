"""Quotas on `requests`: counted in memory, written down once a second.

So a cached answer costs no database write. What is given up for that is in the contract: a rule
may overshoot by what arrives in a second (on other workers), and a crash may lose the last second.
Rules per second and per minute are refused for everything but cancels and one's own affairs;
longer ones spare the reading of one's own predictions, so that nobody loses sight of what is paid.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from gateway.clock import Clock
from gateway.domain import problems
from gateway.domain.admission import Demand, QuotaRefused, decide
from gateway.domain.models import rule_applies
from gateway.domain.plans import Identity, Metric, Per, QuotaRule
from gateway.domain.quota import SHORT, Standing, Window, window
from gateway.flows.answer import Refused
from gateway.flows.warn_of_quotas import WarnOfQuotas
from gateway.ledger import Ledger, quotas
from gateway.metrics import Metrics

SYNC_EVERY_S = 1.0

_ONE = Demand(predictions=0, requests=1)


@dataclass(slots=True)
class _Count:
    """One rule's counter in one window, as this worker knows it."""

    identity: Identity
    """Whose request was counted last: a team's warning says who."""
    rule: QuotaRule
    subject: str
    window: Window
    written: int = 0
    """What the ledger said at the last writing: everybody's requests."""
    fresh: int = 0
    """This worker's own, not written yet."""

    @property
    def standing(self) -> Standing:
        return Standing(self.rule, self.subject, self.window, self.written + self.fresh)


class CountRequests:
    """Counts every request of a key's owner, and refuses where a rule says so."""

    def __init__(self, ledger: Ledger, clock: Clock, metrics: Metrics, warn: WarnOfQuotas) -> None:
        self._ledger = ledger
        self._clock = clock
        self._metrics = metrics
        self._warn = warn
        self._counts: dict[tuple[str, str, str, float], _Count] = {}

    async def admit(
        self,
        identity: Identity,
        *,
        spared: frozenset[Per],
        contact: str,
        names: Sequence[str] = (),
    ) -> None:
        """Count one request, unless a rule refuses it.

        `spared` are the windows whose rules do not refuse this kind of request; `names` what it
        names of models and deployments: a rule for some models counts only what names one of them.

        Raises:
            Refused: 429 or 402; a refused request is not counted.
        """
        rules = _rules(identity, *names)
        if not rules:
            return
        now = self._clock.now()
        counts = [await self._count(identity, rule, subject, now) for rule, subject in rules]
        binding = [count.standing for count in counts if count.rule.per not in spared]
        decision = decide(binding, 0, None, _ONE, now)
        if isinstance(decision, QuotaRefused):
            self._metrics.quota_rejected(identity.user_name, Metric.REQUESTS)
            raise Refused(problems.refusal(decision, contact, now))
        for count in counts:
            count.fresh += 1
        await self._warn.requested(identity, [count.standing for count in counts])

    def admit_now(self, identity: Identity, *, spared: frozenset[Per]) -> bool:
        """Count one request if that can be done without waiting and no rule refuses it.

        Where it returns False nothing was counted, and :meth:`admit` has the answer.
        """
        rules = _rules(identity)
        if not rules:
            return True
        now = self._clock.now()
        counts = []
        for rule, subject in rules:
            key = (subject, rule.per.value, rule.models_key, window(rule.per, now).start)
            count = self._counts.get(key)
            if count is None:
                return False
            count.identity, count.rule = identity, rule
            counts.append(count)
        binding = [count.standing for count in counts if count.rule.per not in spared]
        if isinstance(decide(binding, 0, None, _ONE, now), QuotaRefused):
            return False
        for count in counts:
            count.fresh += 1
        return True

    def standings(self, identity: Identity) -> Sequence[Standing]:
        """Return what this worker knows of the caller's rules on requests."""
        now = self._clock.now()
        found = []
        for rule, subject in identity.rules:
            if rule.metric is Metric.REQUESTS:
                count = self._counts.get(
                    (subject, rule.per.value, rule.models_key, window(rule.per, now).start)
                )
                if count is not None:
                    found.append(Standing(rule, subject, count.window, count.standing.used))
        return found

    async def sync(self) -> float:
        """Write down what is new and learn the others'; a step of a loop."""
        now = self._clock.now()
        for key in [key for key, count in self._counts.items() if count.window.end <= now]:
            await self._write([self._counts.pop(key)])
        await self._write(list(self._counts.values()))
        return SYNC_EVERY_S

    async def _write(self, counts: list[_Count]) -> None:
        by_window: dict[float, list[_Count]] = {}
        for count in counts:
            if count.rule.per is not Per.SECOND:
                by_window.setdefault(count.window.start, []).append(count)
        for start, together in by_window.items():
            added = [(count.rule, count.subject, count.fresh) for count in together]
            known = await self._ledger.write(partial(quotas.add_requests, counts=added, at=start))
            for count, (_, _, number), standing in zip(together, added, known, strict=True):
                count.fresh -= number
                count.written = standing.used
                # Stored answers are counted without waiting (`admit_now`): this tells of them.
                await self._warn.requested(count.identity, [standing])

    async def _count(self, identity: Identity, rule: QuotaRule, subject: str, now: float) -> _Count:
        span = window(rule.per, now)
        key = (subject, rule.per.value, rule.models_key, span.start)
        count = self._counts.get(key)
        if count is None:
            written = 0
            if rule.per is not Per.SECOND:
                known = await self._ledger.read(
                    partial(quotas.standings, rules=[(rule, subject)], at=now)
                )
                written = known[0].used
            count = self._counts.setdefault(key, _Count(identity, rule, subject, span, written))
        count.identity, count.rule = identity, rule
        return count


def _rules(identity: Identity, *names: str) -> list[tuple[QuotaRule, str]]:
    return [
        (rule, subject)
        for rule, subject in identity.rules
        if rule.metric is Metric.REQUESTS and (not rule.models or rule_applies(rule, *names))
    ]


READS_OF_ONES_OWN = frozenset(Per) - SHORT
"""Windows that spare the reading of one's own predictions."""

NEVER_REFUSED = frozenset(Per)
"""For cancels and one's own affairs: counted, never refused."""
