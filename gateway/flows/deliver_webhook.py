"""Deliver what stands in the outbox: at least once, signed, until it has arrived or is given up."""

import logging
from collections.abc import Callable, Mapping
from functools import partial

from gateway.clock import Clock
from gateway.domain.backoff import webhook_delay
from gateway.domain.plans import Team
from gateway.domain.webhooks import headers
from gateway.flows.spawn import Spawn
from gateway.ledger import Ledger, LedgerUnavailable, outbox, users
from gateway.ledger.outbox import OutboxRow
from gateway.metrics import Metrics
from gateway.upstream.webhook_sender import Delivered, Failed, WebhookSender

_log = logging.getLogger(__name__)

AT_ONCE = 50
"""Predictions whose events one worker delivers at a time."""

IDLE_S = 1.0

GRACE_S = 5.0
"""How much longer than its delivery a claim holds."""


class DeliverWebhooks:
    """Claims events that are due, posts them and notes what came of it.

    Events of one prediction go out one after the other, in their order; a failed one is not waited
    for. A claim keeps other workers away; if its holder dies the event is sent again, under the
    same `webhook-id`.
    """

    def __init__(
        self,
        ledger: Ledger,
        sender: WebhookSender,
        clock: Clock,
        metrics: Metrics,
        spawn: Spawn,
        worker_id: str,
        *,
        teams: Callable[[], Mapping[str, Team]],
        kick: Callable[[], None],
        timeout_s: float,
        max_attempts: int,
    ) -> None:
        self._ledger = ledger
        self._sender = sender
        self._clock = clock
        self._metrics = metrics
        self._spawn = spawn
        self._worker_id = worker_id
        self._teams = teams
        self._kick = kick
        # Connecting, TLS and the answer each have the time.
        self._longest_s = 3 * timeout_s
        self._max_attempts = max_attempts
        self._lines: dict[str, list[tuple[OutboxRow, float]]] = {}

    async def __call__(self) -> float:
        """Start what is due; returns seconds until the next time. A step of a loop."""
        room = AT_ONCE - len(self._lines)
        if room <= 0:
            return IDLE_S
        now = self._clock.now()
        until = now + self._longest_s + GRACE_S
        claimed = await self._ledger.write(
            partial(outbox.claim_due, now=now, limit=room, until=until, by=self._worker_id)
        )
        for event in claimed:
            line = self._lines.setdefault(event.prediction_id or event.id, [])
            line.append((event, until))
            if len(line) == 1:
                self._spawn(self._work_off(event.prediction_id or event.id), "webhooks")
        return 0.0 if len(claimed) == room else IDLE_S

    async def _work_off(self, name: str) -> None:
        line = self._lines[name]
        try:
            while line:
                event, until = line[0]
                # If those before it have used up its time, it is claimed again later.
                if self._clock.now() + self._longest_s <= until:
                    await self._deliver(event)
                del line[0]
        except LedgerUnavailable as error:
            _log.warning("webhooks: what came of a delivery could not be noted: %s", error)
        finally:
            del self._lines[name]
            self._kick()

    async def _deliver(self, event: OutboxRow) -> None:
        secret = await self._secret(event)
        if secret is None:
            await self._given_up(event, Failed("nobody is left to sign for"))
            return
        signed = headers(secret, event.id, int(self._clock.now()), event.body)
        outcome = await self._sender.deliver(
            event.url, [("content-type", "application/json"), *signed], event.body
        )
        if isinstance(outcome, Delivered):
            await self._ledger.write(
                partial(
                    outbox.delivered,
                    event_id=event.id,
                    now=self._clock.now(),
                    status=outcome.status,
                )
            )
            self._metrics.webhook_delivery("delivered")
        elif event.attempts + 1 >= self._max_attempts:
            await self._given_up(event, outcome)
        else:
            delay = webhook_delay(event.attempts + 1, self._clock.random())
            await self._ledger.write(
                partial(
                    outbox.failed,
                    event_id=event.id,
                    next_attempt_at=self._clock.now() + delay,
                    error=outcome.reason,
                    status=outcome.status,
                )
            )
            self._metrics.webhook_delivery("failed")

    async def _given_up(self, event: OutboxRow, failure: Failed) -> None:
        await self._ledger.write(
            partial(
                outbox.dead,
                event_id=event.id,
                now=self._clock.now(),
                error=failure.reason,
                status=failure.status,
            )
        )
        self._metrics.webhook_delivery("dead")
        _log.warning(
            "webhook %s (%s) is a dead letter after %d attempts: %s",
            event.id,
            event.event,
            event.attempts + 1,
            failure.reason,
        )

    async def _secret(self, event: OutboxRow) -> str | None:
        if event.user_id is not None:
            user_id = event.user_id
            user = await self._ledger.read(lambda conn: users.get_user(conn, user_id))
            return None if user is None else user.webhook_secret
        team = self._teams().get(event.team or "")
        return None if team is None else team.webhook_secret
