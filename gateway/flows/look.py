"""A look at a running prediction: one request upstream, however many ask.

Within a process those who come while a look is under way share it. Across workers and machines a
claim in the ledger lets one of them ask; the others wait for what it writes down.
"""

import asyncio
import logging
from dataclasses import dataclass, replace
from enum import Enum

from gateway.clock import Clock
from gateway.domain.documents import NotAPrediction
from gateway.domain.endings import LOST_AFTER_S
from gateway.domain.json_text import InvalidJson
from gateway.flows.observe import Observe
from gateway.flows.spawn import Spawn
from gateway.ledger import Ledger, predictions
from gateway.ledger.predictions import Row
from gateway.metrics import Metrics
from gateway.upstream.client import Upstream
from gateway.upstream.errors import UpstreamError
from gateway.upstream.line import Urgency
from gateway.upstream.operations import OPERATIONS

_log = logging.getLogger(__name__)

CLAIM_S = 30.0
"""How long a claim holds if its holder never comes back."""

PATIENCE_S = 5.0
"""How long others wait for the holder of a claim before they show what is known."""

STEP_S = 0.05


class PredictionVanished(Exception):
    """The prediction was erased while it was being looked at."""


class How(Enum):
    """Where an answer about a running prediction comes from."""

    SNAPSHOT = "snapshot"
    LOOKED = "looked"
    COLLAPSED = "collapsed"
    STALE = "stale"


@dataclass(frozen=True, slots=True)
class Looked:
    """What a look brought."""

    row: Row
    body: bytes
    how: How


class Look:
    """Asks upstream about single predictions, on behalf of everybody who wants to know."""

    def __init__(
        self,
        ledger: Ledger,
        upstream: Upstream,
        observe: Observe,
        clock: Clock,
        metrics: Metrics,
        spawn: Spawn,
        worker_id: str,
        poll_interval_s: float,
    ) -> None:
        self._ledger = ledger
        self._upstream = upstream
        self._observe = observe
        self._clock = clock
        self._metrics = metrics
        self._spawn = spawn
        self._worker_id = worker_id
        self._poll_interval_s = poll_interval_s
        self._under_way: dict[str, asyncio.Task[Looked]] = {}

    async def __call__(self, row: Row, *, force: bool = False, urgency: Urgency) -> Looked:
        """Return what is known of a running prediction, no older than the poll interval.

        With `force` the answer is younger than the question. Never raises for upstream's faults:
        then the last snapshot comes back, and says that it is stale.
        """
        joined = self._under_way.get(row.id)
        if joined is not None:
            looked = await asyncio.shield(joined)
            self._metrics.polls_saved.inc()
            return replace(looked, how=How.COLLAPSED) if looked.how is How.LOOKED else looked
        task = self._spawn(self._look(row.id, force=force, urgency=urgency), f"look {row.id}")
        self._under_way[row.id] = task
        task.add_done_callback(lambda _: self._under_way.pop(row.id, None))
        return await asyncio.shield(task)

    async def _look(self, prediction_id: str, *, force: bool, urgency: Urgency) -> Looked:
        now = self._clock.now()
        not_newer_than = now if force else now - self._poll_interval_s
        claimed = await self._ledger.write(
            lambda conn: predictions.claim_look(
                conn,
                prediction_id,
                now=now,
                not_newer_than=not_newer_than,
                until=now + CLAIM_S,
                by=self._worker_id,
            )
        )
        row, body = await self._known(prediction_id)
        if row.settled_at is not None or (not claimed and row.snapshot_at > not_newer_than):
            self._metrics.polls_saved.inc()
            return Looked(row, body, How.SNAPSHOT)
        if not claimed:
            return await self._await_holder(row, body, not_newer_than)
        return await self._ask(row, body, urgency)

    async def _ask(self, row: Row, body: bytes, urgency: Urgency) -> Looked:
        name = "trainings.get" if row.kind == "training" else "predictions.get"
        asked = OPERATIONS[name]
        try:
            answer = await self._upstream.call(asked, f"/v1/{row.kind}s/{row.id}", urgency=urgency)
            if answer.status == 200:
                observed = await self._observe(row, answer.body, final=True)
                return Looked(observed.row, observed.body, How.LOOKED)
            if answer.status == 404:
                return await self._missing(row, body)
            _log.warning("prediction %s: upstream answered %d", row.id, answer.status)
        except (UpstreamError, InvalidJson, NotAPrediction) as error:
            _log.warning("prediction %s: the look failed: %s", row.id, error)
        # The claim is kept for one interval, so that a failing upstream is not asked more often
        # than a healthy one.
        await self._pause(row)
        return Looked(row, body, How.STALE)

    async def _missing(self, row: Row, body: bytes) -> Looked:
        now = self._clock.now()
        since = await self._ledger.write(lambda conn: predictions.note_missing(conn, row.id, now))
        if now - since >= LOST_AFTER_S:
            observed = await self._observe.lost(row)
            return Looked(observed.row, observed.body, How.LOOKED)
        await self._pause(row)
        return Looked(row, body, How.STALE)

    async def _pause(self, row: Row) -> None:
        until = self._clock.now() + self._poll_interval_s
        await self._ledger.write(
            lambda conn: predictions.release_look(conn, row.id, by=self._worker_id, until=until)
        )

    async def _await_holder(self, row: Row, body: bytes, not_newer_than: float) -> Looked:
        deadline = self._clock.monotonic() + PATIENCE_S
        while self._clock.monotonic() < deadline:
            await self._clock.sleep(STEP_S)
            row, body = await self._known(row.id)
            if row.settled_at is not None or row.snapshot_at > not_newer_than:
                self._metrics.polls_saved.inc()
                return Looked(row, body, How.COLLAPSED)
            if row.look_until is None or row.look_until <= self._clock.now():
                break
        return Looked(row, body, How.STALE)

    async def _known(self, prediction_id: str) -> tuple[Row, bytes]:
        known = await self._ledger.read(
            lambda conn: predictions.get_with_document(conn, prediction_id)
        )
        if known is None:
            raise PredictionVanished(prediction_id)
        return known
