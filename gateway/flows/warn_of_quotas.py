"""Warn a team before a quota hurts: at 80 % and at 100 %, once in each window.

The warning is queued in the transaction that crosses the line, and delivered like a webhook, signed
with the team's own secret. It is about the team's rules and about its members' own. Windows of a
second or a minute are left out: those are for waiting, not for warning.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence

from gateway.clock import Clock
from gateway.domain.admission import QuotaRefused
from gateway.domain.instants import iso
from gateway.domain.models import rule_applies
from gateway.domain.plans import (
    Identity,
    Metric,
    Overrides,
    Policy,
    QuotaRule,
    Role,
    effective_plan,
)
from gateway.domain.quota import SHORT, Standing
from gateway.flows.report_limits import standing_record
from gateway.ledger import Connection, Ledger, outbox, quotas, users
from gateway.ledger.outbox import OutboxEvent
from gateway.ledger.predictions import Row

LATEST_S = 86_400.0
"""How long after a window's end the team is still told what ended up in it."""

THRESHOLDS = (80, 100)
"""Per cent of a limit, used and reserved together."""

EVENT = "quota.warning"

_MOST_SAID = 10_000


class WarnOfQuotas:
    """Queues warnings for teams that name a webhook; costs nothing for all others."""

    def __init__(
        self,
        ledger: Ledger,
        clock: Clock,
        policy: Callable[[], Policy],
        queued: Callable[[], None],
    ) -> None:
        self._ledger = ledger
        self._clock = clock
        self._policy = policy
        self._queued = queued
        self._said: set[str] = set()

    def created(self, conn: Connection, identity: Identity, names: Sequence[str]) -> None:
        """Warn of what a create that upstream took has brought about."""
        if self._address(identity.team) is not None:
            self._weigh(conn, identity, names, self._clock.now())

    def settled(self, conn: Connection, row: Row) -> None:
        """Warn of what the truth about a prediction has brought about."""
        if self._address(row.team) is None:
            return
        policy = self._policy()
        user = users.get_user(conn, row.user_id)
        team = policy.teams[row.team or ""]
        if user is None:
            plan = effective_plan(policy, None, row.team)
        else:
            overrides = Overrides.from_json(user.overrides)
            plan = effective_plan(policy, user.plan, row.team, overrides)
        identity = Identity(
            user_id=row.user_id,
            user_name=row.user_name,
            team=row.team,
            role=Role.MEMBER,
            key_id="",
            plan=plan,
            team_rules=team.rules,
        )
        # What it took counts in the windows of its creation, which may be over by now.
        self._weigh(conn, identity, row.names, row.charged_at)

    def refused(self, conn: Connection, identity: Identity, refusal: QuotaRefused) -> None:
        """Warn that a quota has begun to refuse, though a part of it may be left."""
        if self._address(identity.team) is not None:
            self._queue(conn, identity, [refusal.standing], refused=True)

    async def requested(self, identity: Identity, standings: Iterable[Standing]) -> None:
        """Warn of rules on requests, which are counted outside any transaction."""
        if self._address(identity.team) is None:
            return
        news = [
            standing
            for standing in standings
            if any(name not in self._said for name, _ in _crossed(standing, refused=False))
        ]
        if news:
            await self._ledger.write(lambda conn: self._queue(conn, identity, news))
            if len(self._said) > _MOST_SAID:
                self._said.clear()  # the ledger knows them still
            for standing in news:
                self._said.update(name for name, _ in _crossed(standing, refused=False))

    def _weigh(self, conn: Connection, identity: Identity, names: Sequence[str], at: float) -> None:
        rules: list[tuple[QuotaRule, str]] = [
            (rule, subject)
            for rule, subject in identity.rules
            if rule.metric is not Metric.REQUESTS
            and rule.per not in SHORT
            and rule_applies(rule, *names)
        ]
        oldest = self._clock.now() - LATEST_S
        found = quotas.standings(conn, rules, at) if rules else []
        self._queue(conn, identity, [each for each in found if each.window.end > oldest])

    def _queue(
        self,
        conn: Connection,
        identity: Identity,
        standings: Iterable[Standing],
        *,
        refused: bool = False,
    ) -> None:
        url = self._address(identity.team)
        if url is None:
            return
        now = self._clock.now()
        events = [
            OutboxEvent(
                id=f"msg_{hashlib.sha256(once.encode()).hexdigest()[:32]}",
                event=EVENT,
                url=url,
                body=_body(identity, standing, percent, now),
                team=identity.team,
                once=once,
            )
            for standing in standings
            for once, percent in _crossed(standing, refused=refused)
        ]
        if outbox.enqueue(conn, events, now):
            self._queued()

    def _address(self, team: str | None) -> str | None:
        known = None if team is None else self._policy().teams.get(team)
        return None if known is None or known.webhook_secret is None else known.webhook


def _crossed(standing: Standing, *, refused: bool) -> list[tuple[str, int]]:
    """Name the lines that a standing has crossed, the same in every worker and on every try."""
    rule = standing.rule
    if rule.per in SHORT or rule.limit == 0:
        return []
    place = f"{standing.subject}:{rule.metric}:{rule.per}:{rule.models_key}"
    return [
        (f"quota:{place}:{standing.window.start:.0f}:{percent}", percent)
        for percent in THRESHOLDS
        if refused or standing.taken * 100 >= rule.limit * percent
    ]


def _body(identity: Identity, standing: Standing, percent: int, now: float) -> bytes:
    rule = standing.rule
    whose = identity.team if standing.shared else identity.user_name
    words = "used up" if percent == 100 else f"{percent} % used"
    return json.dumps(
        {
            "type": EVENT,
            "timestamp": iso(now),
            "data": {
                "team": identity.team,
                "whose": {"kind": "team" if standing.shared else "user", "name": whose},
                "threshold_percent": percent,
                "used_percent": round(100 * standing.taken / rule.limit, 1),
                "text": f"{whose}: {standing.describe()} is {words}",
                **standing_record(standing, now),
            },
        },
        ensure_ascii=False,
    ).encode()
