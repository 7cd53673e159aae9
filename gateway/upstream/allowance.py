"""Sharing the account's allowance between everything that wants to go upstream.

There is no task behind the line: one of those who wait serves it (the leader) until its own turn
has come, and then hands over. So nothing has to be started or ended, and a caller that is cancelled
simply is no longer there.
"""

import asyncio
import logging
import math
from typing import Final

from gateway.clock import Clock
from gateway.upstream.bucket import Correction, Grant, per_second
from gateway.upstream.errors import AllowanceExhausted
from gateway.upstream.hooks import Hooks
from gateway.upstream.line import Line, Signal, Urgency, Waiter
from gateway.upstream.share import Kind, LocalShare, Share

_log = logging.getLogger(__name__)

# The leader looks up this often (seconds): somebody may have joined whose patience ends sooner, and
# another worker may have given tokens back.
_LOOK_UP_S: Final = 0.25
# At most this many at once, so that one worker's line does not empty a bucket that others share.
_MOST_AT_ONCE: Final = 10


class Allowance:
    """Two buckets and a line in front of each."""

    def __init__(
        self,
        *,
        creates_per_minute: float,
        requests_per_minute: float,
        max_queue_s: float,
        clock: Clock,
        share: Share | None = None,
        hooks: Hooks | None = None,
    ) -> None:
        self.max_queue_s = max_queue_s
        self._clock = clock
        self._share: Share = share or LocalShare(
            {Kind.CREATE: creates_per_minute, Kind.REQUEST: requests_per_minute}, clock.now()
        )
        self._hooks = hooks or Hooks()
        self._lines = {kind: Line() for kind in Kind}
        # Granted to somebody who left in the same moment; the next one gets it.
        self._spare = dict.fromkeys(Kind, 0)

    def waiting(self, kind: Kind) -> int:
        """Return how many stand in line in this process."""
        return len(self._lines[kind])

    async def admit(
        self,
        kind: Kind,
        urgency: Urgency,
        user: str | None,
        *,
        deadline: float | None = None,
        again: bool = False,
    ) -> None:
        """Return when one request of this kind may be sent.

        Waits until `deadline` (seconds since 1970; by default `max_queue_s` from now) and then
        raises AllowanceExhausted. `again`: it has had its turn before and upstream said 429, so it
        goes in front of its user's other requests. Cancelling the caller takes it out of the line.
        """
        line = self._lines[kind]
        if not len(line) and await self._take_one(kind):
            return
        if deadline is None:
            deadline = self._clock.now() + self.max_queue_s
        future: asyncio.Future[Signal] = asyncio.get_running_loop().create_future()
        waiter = Waiter(urgency, user, deadline, future)
        line.join(waiter, in_front=again)
        self._tell_depth(kind)
        try:
            signal = await self._wait(kind, line, waiter)
        except BaseException:
            self._spare[kind] += waiter.served
            raise
        finally:
            line.leave(waiter)
            if line.leader is waiter:
                line.hand_over()
            self._tell_depth(kind)
        if signal is Signal.EXPIRED:
            raise AllowanceExhausted(await self._honest_wait(kind, line, waiter))

    async def note(self, kind: Kind, word: Correction) -> None:
        """Take in what upstream said about this kind's allowance.

        Never fails: an answer, perhaps to a paid create, is in somebody's hands at that moment.
        """
        if word.remaining is not None:
            self._hooks.on_ratelimit(kind.value, word.remaining)
        if word.throttled_s is not None:
            self._spare[kind] = 0
        try:
            await self._share.correct(kind, word, self._clock.now())
        except Exception as failure:  # noqa: BLE001 - whatever a share is kept in may fail its own way
            _log.warning("the allowance for %ss was not corrected: %r", kind, failure)

    async def _take_one(self, kind: Kind) -> bool:
        if self._spare[kind]:
            self._spare[kind] -= 1
            return True
        return (await self._share.take(kind, 1, self._clock.now())).granted == 1

    async def _wait(self, kind: Kind, line: Line, waiter: Waiter) -> Signal:
        if line.leader is None:
            line.leader = waiter
            await self._lead(kind, line, waiter)
        while (signal := await waiter.signal) is Signal.LEAD:
            waiter.signal = asyncio.get_running_loop().create_future()
            await self._lead(kind, line, waiter)
        return signal

    async def _lead(self, kind: Kind, line: Line, leader: Waiter) -> None:
        while not leader.signal.done():
            now = self._clock.now()
            want = min(len(line), _MOST_AT_ONCE)
            grant = await self._grant(kind, want, now)
            for _ in range(grant.granted):
                self._serve(kind, line)
            if grant.granted == want and len(line):
                continue
            self._expire(line, self._clock.now())
            if leader.signal.done():
                return
            first = min(waiter.deadline for waiter in line)
            await self._clock.sleep(min(grant.retry_at, first, now + _LOOK_UP_S) - now)

    async def _grant(self, kind: Kind, want: int, now: float) -> Grant:
        spare = min(want, self._spare[kind])
        if spare:
            self._spare[kind] -= spare
            return Grant(spare, now, 60.0)
        return await self._share.take(kind, want, now)

    def _serve(self, kind: Kind, line: Line) -> None:
        waiter = line.serve()
        while waiter is not None and waiter.signal.done():  # cancelled, and not yet gone
            waiter = line.serve()
        if waiter is None:
            self._spare[kind] += 1
            return
        waiter.signal.set_result(Signal.GO)
        waiter.served = True

    @staticmethod
    def _expire(line: Line, now: float) -> None:
        for waiter in [one for one in line if one.deadline <= now]:
            line.leave(waiter)
            if not waiter.signal.done():
                waiter.signal.set_result(Signal.EXPIRED)

    async def _honest_wait(self, kind: Kind, line: Line, waiter: Waiter) -> int:
        now = self._clock.now()
        grant = await self._share.take(kind, 0, now)
        ahead = line.ahead_of(waiter.user, waiter.urgency)
        seconds = max(0.0, grant.retry_at - now) + ahead / per_second(grant.per_minute)
        return max(1, math.ceil(seconds - 1e-3))

    def _tell_depth(self, kind: Kind) -> None:
        if kind is Kind.CREATE:
            self._hooks.on_queue_depth(len(self._lines[kind]))
