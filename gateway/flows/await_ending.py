"""Wait for predictions to end whose output is with their user already.

Replicate answers a blocking create with the whole output while the status still says `processing`
(recorded 2025-06). A program that runs one model after the other would find the slot of the last
one taken, though for it that one is over.
"""

from functools import partial

from gateway.clock import Clock
from gateway.domain.documents import NotAPrediction, facts
from gateway.flows.look import Look, PredictionVanished
from gateway.ledger import Ledger, predictions
from gateway.upstream.line import Urgency

ANSWERED_S = 10.0
"""How long after its answer a prediction counts as about to end, in seconds."""

PATIENCE_S = 2.0
"""How long a create waits for such an end, in seconds."""

_PAUSE_S = 0.1


class AwaitEnding:
    """Sees to the end of what a user was answered a moment ago."""

    def __init__(self, ledger: Ledger, look: Look, clock: Clock) -> None:
        self._ledger = ledger
        self._look = look
        self._clock = clock

    async def __call__(self, user_id: str) -> bool:
        """Return whether one of the user's predictions has ended; at once if none is about to."""
        now = self._clock.now()
        while True:
            answered = await self._ledger.read(
                partial(predictions.answered, user_id=user_id, since=now - ANSWERED_S)
            )
            ending = [row for row, body in answered if _has_output(body)]
            if not ending or self._clock.now() >= now + PATIENCE_S:
                return False
            for row in ending:
                try:
                    looked = await self._look(row, force=True, urgency=Urgency.READ)
                except PredictionVanished:
                    return True
                if looked.row.settled_at is not None:
                    return True
            await self._clock.sleep(_PAUSE_S)


def _has_output(body: bytes) -> bool:
    try:
        return facts(body).has_output
    except NotAPrediction:
        return False  # erased while it runs
