"""Drop the copies of what was erased, whoever erased it and on whatever machine."""

from collections.abc import Callable
from functools import partial

from gateway.cache import Cache
from gateway.clock import Clock
from gateway.flows.observe import cache_key
from gateway.ledger import Ledger, predictions

LOOK_EVERY_S = 0.25
AGAIN_AFTER_S = 3.0
"""Whoever read a document just before it was erased may have kept it just after: so once more."""

_OVERLAP_S = 10.0
_AT_START_S = 7 * 86_400.0
_PAGE = 1000


class ForgetErased:
    """A step of a loop: watches the revision, which grows with every erasure.

    Memory is emptied as a whole; from the cache on disk, which each machine has for itself, goes
    what the ledger lists as erased since the last look, and at the first one in the last week.
    """

    def __init__(
        self,
        ledger: Ledger,
        cache: Cache,
        clock: Clock,
        forget: Callable[[], None],
        revision: Callable[[], int],
    ) -> None:
        self._ledger = ledger
        self._cache = cache
        self._clock = clock
        self._forget = forget
        self._revision = revision
        self._seen: int | None = None
        self._since = clock.now() - _AT_START_S
        self._again_at: float | None = None

    async def __call__(self) -> float:
        """Forget what there is to forget; returns seconds until the next look."""
        revision, now = self._revision(), self._clock.now()
        again = self._again_at is not None and now >= self._again_at
        if revision == self._seen and not again:
            return LOOK_EVERY_S
        self._forget()
        since = self._since
        while True:
            found = await self._ledger.read(
                partial(predictions.removed_since, since=since, limit=_PAGE)
            )
            for prediction_id, _ in found:
                await self._cache.delete(cache_key(prediction_id))
            if len(found) < _PAGE or found[-1][1] <= since:
                break
            since = found[-1][1]
        # Again: what was still on disk may have been taken into memory meanwhile.
        self._forget()
        self._since = now - _OVERLAP_S
        self._again_at = None if again and revision == self._seen else now + AGAIN_AFTER_S
        self._seen = revision
        return LOOK_EVERY_S
