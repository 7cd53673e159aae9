"""Follow every prediction to its end, whether or not anybody asks."""

import logging
from collections.abc import Callable, Sequence
from functools import partial

from gateway.clock import Clock
from gateway.flows.look import CLAIM_S, Look, PredictionVanished
from gateway.flows.read_statuses import Listed, ReadStatuses, statuses_do
from gateway.flows.spawn import Spawn
from gateway.ledger import Connection, Ledger, LedgerUnavailable, predictions
from gateway.ledger.predictions import Row
from gateway.upstream import Urgency

_log = logging.getLogger(__name__)

AT_ONCE = 20
"""Looks that one worker has under way."""

MOST_DUE = 1000
"""How many predictions one worker takes from the list at a time."""

IDLE_S = 0.5
"""How long a worker rests when nothing is due: what is new is due by then."""


class FollowPredictions:
    """Looks at what is due: one by one, or through the account's list where that costs less.

    The claims, on each look or on all that a list is read for, keep workers apart. What is left
    behind by a worker that died is due like everything else.
    """

    def __init__(
        self,
        ledger: Ledger,
        look: Look,
        statuses: ReadStatuses,
        clock: Clock,
        spawn: Spawn,
        kick: Callable[[], None],
        worker_id: str,
    ) -> None:
        self._ledger = ledger
        self._look = look
        self._statuses = statuses
        self._clock = clock
        self._spawn = spawn
        self._kick = kick
        self._worker_id = worker_id
        self._under_way: set[str] = set()
        self._looks = 0
        self._listing = False
        self._unlisted: set[str] = set()
        """Due, and the list told nothing of them the last time."""

    async def __call__(self) -> float:
        """Start the looks that are due; returns seconds until the next time. A step of a loop."""
        now = self._clock.now()
        due = await self._ledger.read(partial(predictions.due, now=now, limit=MOST_DUE))
        due = [row for row in due if row.id not in self._under_way]
        self._unlisted &= {row.id for row in due}
        if not self._listing:
            listable = [row for row in due if statuses_do(row) and row.id not in self._unlisted]
            listed = await self._statuses.pays_for(listable)
            if listed:
                together = [row for row in listable if row.id in listed]
                self._under_way |= listed
                self._listing = True
                self._spawn(self._together(together), "follow through the list")
                due = [row for row in due if row.id not in listed]
        for row in due[: max(0, AT_ONCE - self._looks)]:
            self._start(row, _urgency(row))
        return IDLE_S

    def _start(self, row: Row, urgency: Urgency) -> None:
        self._under_way.add(row.id)
        self._looks += 1
        self._spawn(self._one(row, urgency), f"follow {row.id}")

    async def _together(self, rows: Sequence[Row]) -> None:
        moved_on: Sequence[Row] = ()
        try:
            now = self._clock.now()
            claimed = await self._ledger.write(
                partial(
                    predictions.claim_looks,
                    prediction_ids=[row.id for row in rows],
                    now=now,
                    until=now + CLAIM_S,
                    by=self._worker_id,
                )
            )
            mine = [row for row in rows if row.id in claimed]
            listed = Listed()
            if mine:
                listed = await self._statuses.many(mine, min(map(_urgency, mine)), read=False)
            left = [row for row in mine if row.id not in listed.confirmed]
            await self._ledger.write(partial(_release, left, self._worker_id))
            moved_on = [row for row in left if row.id in listed.moved_on]
            # Asked for singly in their turn, whatever the reason: most of them still run.
            self._unlisted |= {row.id for row in left} - listed.moved_on
        except LedgerUnavailable as error:
            _log.warning("predictions could not be followed through the list: %s", error)
            moved_on = ()
        finally:
            self._listing = False
            self._under_way.difference_update(row.id for row in rows)
        for row in moved_on:
            # It has most likely ended: somebody is to be charged, or told.
            self._start(row, Urgency.READ)

    async def _one(self, row: Row, urgency: Urgency) -> None:
        try:
            await self._look(row, urgency=urgency)
        except PredictionVanished:
            _log.info("prediction %s was erased while it was followed", row.id)
        except LedgerUnavailable as error:
            _log.warning("prediction %s could not be followed: %s", row.id, error)
        finally:
            self._under_way.discard(row.id)
            self._looks -= 1
            if self._looks == AT_ONCE - 1:
                self._kick()


def _urgency(row: Row) -> Urgency:
    """Who has named a webhook waits as much as who asks."""
    return Urgency.POLL if row.webhook is None else Urgency.READ


def _release(rows: Sequence[Row], by: str, conn: Connection) -> None:
    for row in rows:
        predictions.release_look(conn, row.id, by=by)
