"""Follow every prediction to its end, whether or not anybody asks."""

import logging
from collections.abc import Callable

from gateway.clock import Clock
from gateway.flows.look import Look, PredictionVanished
from gateway.flows.spawn import Spawn
from gateway.ledger import Ledger, LedgerUnavailable, predictions
from gateway.ledger.predictions import Row
from gateway.upstream import Urgency

_log = logging.getLogger(__name__)

AT_ONCE = 20
"""Looks that one worker has under way."""

IDLE_S = 0.5
"""How long a worker rests when nothing is due: what is new is due by then."""


class FollowPredictions:
    """Looks at what is due; the claim inside each look keeps workers apart."""

    def __init__(
        self,
        ledger: Ledger,
        look: Look,
        clock: Clock,
        spawn: Spawn,
        kick: Callable[[], None],
    ) -> None:
        self._ledger = ledger
        self._look = look
        self._clock = clock
        self._spawn = spawn
        self._kick = kick
        self._under_way: set[str] = set()

    async def __call__(self) -> float:
        """Start the looks that are due; returns seconds until the next time. A step of a loop."""
        room = AT_ONCE - len(self._under_way)
        if room <= 0:
            return IDLE_S
        now = self._clock.now()
        limit = room + len(self._under_way)
        due = await self._ledger.read(lambda conn: predictions.due(conn, now=now, limit=limit))
        started = 0
        for row in due:
            if row.id in self._under_way or started >= room:
                continue
            self._under_way.add(row.id)
            started += 1
            self._spawn(self._one(row), f"follow {row.id}")
        return IDLE_S

    async def _one(self, row: Row) -> None:
        try:
            await self._look(row, urgency=Urgency.POLL)
        except PredictionVanished:
            _log.info("prediction %s was erased while it was followed", row.id)
        except LedgerUnavailable as error:
            _log.warning("prediction %s could not be followed: %s", row.id, error)
        finally:
            self._under_way.discard(row.id)
            if len(self._under_way) == AT_ONCE - 1:
                self._kick()
