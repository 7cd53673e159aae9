"""The account's allowance: so many creates and so many other requests in any sixty seconds.

The real service says 600 and 3,000 a minute with short bursts above; with little credit left six
a minute and one a second.
"""

import math
from collections import deque
from dataclasses import dataclass, field

WINDOW_S = 60.0
BURST = 1.1


@dataclass(slots=True)
class Allowance:
    """What is left, as the answer's headers tell it."""

    admitted: bool
    remaining: int
    reset_s: int
    retry_after_s: int


@dataclass(slots=True)
class SlidingWindow:
    """Remembers when each request of the last sixty seconds came."""

    _times: deque[float] = field(default_factory=deque)

    def take(self, now: float, limit: int, per_second: int | None = None) -> Allowance:
        """Count one request in if it fits; one that does not fit is not counted."""
        while self._times and self._times[0] <= now - WINDOW_S:
            self._times.popleft()
        ceiling = limit if per_second is not None else math.ceil(limit * BURST)
        wait = 0.0
        if len(self._times) >= ceiling:
            wait = self._times[len(self._times) - ceiling] + WINDOW_S - now
        if per_second is not None and len(self._times) >= per_second:
            wait = max(wait, self._times[-per_second] + 1.0 - now)
        if wait <= 0:
            self._times.append(now)
        reset = self._times[0] + WINDOW_S - now if self._times else 0.0
        return Allowance(
            admitted=wait <= 0,
            remaining=max(0, limit - len(self._times)),
            reset_s=math.ceil(reset),
            retry_after_s=max(1, math.ceil(wait)),
        )
