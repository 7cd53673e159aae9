"""A look at a running prediction: one request upstream, however many ask.

Within a process those who come while a look is under way share it. Across workers and machines a
claim in the ledger lets one of them ask; the others wait for what it writes down. While there is a
crowd in front of the account's allowance, readers are served from the account's list.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import Enum

from gateway.clock import Clock
from gateway.domain.documents import NotAPrediction
from gateway.domain.endings import LOST_AFTER_S
from gateway.domain.json_text import InvalidJson
from gateway.flows.known_predictions import KnownPredictions
from gateway.flows.observe import Observe
from gateway.flows.read_statuses import ReadStatuses, statuses_do
from gateway.flows.spawn import Spawn
from gateway.ledger import Connection, Ledger, predictions
from gateway.ledger.predictions import Row
from gateway.metrics import Metrics
from gateway.upstream.client import Upstream
from gateway.upstream.errors import AllowanceExhausted, UpstreamError
from gateway.upstream.line import Urgency
from gateway.upstream.operations import OPERATIONS

_log = logging.getLogger(__name__)

CLAIM_S = 30.0
"""How long a claim holds if its holder never comes back."""

PATIENCE_S = 5.0
"""How long readers wait for a look before they are shown what is known."""

POLL_PATIENCE_S = 2.0
"""How long a look that nobody waits for stands in line: a reader may come and want it sooner."""

STEP_S = 0.05

_MOVED_ON = "what has moved on: "
"""Each has a place in line of its own, beside the users'."""

_UNLISTED = "what the list does not tell"
"""All of these have one place in line together."""


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


@dataclass(frozen=True, slots=True)
class _UnderWay:
    """A look that others may join. `patience` ends when readers stop waiting for it."""

    task: "asyncio.Task[Looked]"
    patience: "asyncio.Task[None]"
    urgency: Urgency
    force: bool

    def serves(self, *, force: bool) -> bool:
        """Return whether somebody who asks now may have this look's answer."""
        return self.force or not force


class _Sent:
    """When a question went out: what its answer shows is no older, and may be no younger."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.at = clock.now()

    def taken(self) -> Sequence[tuple[str, str]]:
        self.at = self._clock.now()
        return ()

    def lost(self) -> None:
        """Nothing to do: it will go out again."""


class Look:
    """Asks upstream about single predictions, on behalf of everybody who wants to know."""

    def __init__(
        self,
        ledger: Ledger,
        upstream: Upstream,
        observe: Observe,
        statuses: ReadStatuses,
        known: KnownPredictions,
        clock: Clock,
        metrics: Metrics,
        spawn: Spawn,
        worker_id: str,
        poll_interval_s: float,
        crowded: Callable[[], bool],
    ) -> None:
        self._ledger = ledger
        self._upstream = upstream
        self._observe = observe
        self._statuses = statuses
        self._predictions = known
        self._clock = clock
        self._metrics = metrics
        self._spawn = spawn
        self._worker_id = worker_id
        self._poll_interval_s = poll_interval_s
        self._crowded = crowded
        self._under_way: dict[str, _UnderWay] = {}

    async def __call__(self, row: Row, *, force: bool = False, urgency: Urgency) -> Looked:
        """Return what is known of a running prediction, no older than the poll interval.

        With `force` the answer is younger than the question. Never raises for upstream's faults:
        then the last snapshot comes back, and says that it is stale; so it does for a reader
        (`urgency` READ) when the look takes too long, which goes on.
        """
        while (joined := self._under_way.get(row.id)) is not None and joined.serves(force=force):
            looked = await self._wait(row, joined, urgency)
            # What came to nothing because nobody was waiting is tried again by one who is.
            if looked.how is How.STALE and joined.task.done() and joined.urgency > urgency:
                continue
            self._metrics.polls_saved.inc()
            return replace(looked, how=How.COLLAPSED) if looked.how is How.LOOKED else looked
        return await self._wait(row, self._start(row, force=force, urgency=urgency), urgency)

    def _start(self, row: Row, *, force: bool, urgency: Urgency) -> _UnderWay:
        task = self._spawn(self._look(row.id, force=force, urgency=urgency), f"look {row.id}")
        patience = self._spawn(self._clock.sleep(PATIENCE_S), "patience")
        begun = self._under_way[row.id] = _UnderWay(task, patience, urgency, force)

        def ended(_: object) -> None:
            patience.cancel()
            if self._under_way.get(row.id) is begun:
                del self._under_way[row.id]

        task.add_done_callback(ended)
        return begun

    async def _wait(self, row: Row, begun: _UnderWay, urgency: Urgency) -> Looked:
        if urgency is Urgency.READ and not begun.task.done():
            either: list[asyncio.Task[Looked] | asyncio.Task[None]] = [begun.task, begun.patience]
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if not begun.task.done():
                return Looked(*await self._known(row.id), How.STALE)
        return await asyncio.shield(begun.task)

    async def _look(self, prediction_id: str, *, force: bool, urgency: Urgency) -> Looked:
        now = self._clock.now()
        not_newer_than = now if force else now - self._poll_interval_s
        deadline = now + PATIENCE_S
        claimed = await self._claim(prediction_id, not_newer_than)
        row, body = await self._known(prediction_id)
        how = How.SNAPSHOT
        while not claimed:
            if row.settled_at is not None or row.snapshot_at > not_newer_than:
                self._metrics.polls_saved.inc()
                return Looked(row, body, how)
            now = self._clock.now()
            held_until = row.look_until or now
            if now >= deadline or now < held_until <= now + self._poll_interval_s:
                # Held for so short a time it is not being asked about: the last look failed.
                return Looked(row, body, How.STALE)
            if now >= held_until:
                claimed = await self._claim(prediction_id, not_newer_than)
            else:
                # Somebody else asks, in another worker or for another reason.
                how = How.COLLAPSED
                await self._clock.sleep(STEP_S)
            row, body = await self._known(prediction_id)
        return await self._ask(row, body, urgency, force=force)

    async def _claim(self, prediction_id: str, not_newer_than: float) -> bool:
        now = self._clock.now()
        return await self._ledger.write(
            lambda conn: predictions.claim_look(
                conn,
                prediction_id,
                now=now,
                not_newer_than=not_newer_than,
                until=now + CLAIM_S,
                by=self._worker_id,
            )
        )

    async def _ask(self, row: Row, body: bytes, urgency: Urgency, *, force: bool) -> Looked:
        read = urgency is Urgency.READ
        asked_at = self._clock.now()
        name = "trainings.get" if row.kind == "training" else "predictions.get"
        try:
            through_list = read and not force and self._crowded() and statuses_do(row)
            turn = row.user_id if read else None
            if through_list:
                listed = await self._statuses.one(row)
                if row.id in listed.confirmed:
                    return Looked(replace(row, snapshot_at=asked_at), body, How.LOOKED)
                # What has moved on, most likely to its end, is not behind all that have not.
                turn = _MOVED_ON + row.id if row.id in listed.moved_on else _UNLISTED
            sent = _Sent(self._clock)
            answer = await self._upstream.call(
                OPERATIONS[name],
                f"/v1/{row.kind}s/{row.id}",
                urgency=urgency,
                user=turn,
                max_wait_s=None if read else POLL_PATIENCE_S,
                turn=sent,
            )
            if answer.status == 200:
                observed = await self._observe(row, answer.body, final=True, read=read, at=sent.at)
                return Looked(observed.row, observed.body, How.LOOKED)
            if answer.status == 404:
                return await self._missing(row, body)
            _log.warning("prediction %s: upstream answered %d", row.id, answer.status)
        except AllowanceExhausted:
            _log.info("prediction %s: no room for a look now", row.id)
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
        now = self._clock.now()
        until = now + self._poll_interval_s
        again = now + self._observe.next_look(row, now, read=False)

        def change(conn: Connection) -> None:
            predictions.look_at(conn, row.id, again)
            predictions.release_look(conn, row.id, by=self._worker_id, until=until)

        await self._ledger.write(change)

    async def _known(self, prediction_id: str) -> tuple[Row, bytes]:
        known = await self._predictions(prediction_id)
        if known is None:
            raise PredictionVanished(prediction_id)
        return known
