"""The line in front of a bucket: by urgency, then in turn between users, then by arrival."""

import asyncio
from collections import OrderedDict, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum, IntEnum, auto
from typing import Final

ONE_IN: Final = 10
"""Where reads never leave off, one turn in so many is a poll's: what nobody asks for must end too,
before upstream deletes its files."""


class Urgency(IntEnum):
    """Who goes first when not everybody can go at once."""

    ACT = 0
    """Creates and cancels: money and the user's patience depend on them."""
    READ = 1
    """A client waits for the answer."""
    POLL = 2
    """Nobody waits: the gateway's own looks."""


class Signal(Enum):
    """What a waiter is told."""

    GO = auto()
    EXPIRED = auto()
    LEAD = auto()
    """Serve the line until your own turn comes."""


@dataclass(slots=True, eq=False)
class Waiter:
    """One request in line, until `deadline` (seconds since 1970)."""

    urgency: Urgency
    user: str | None
    deadline: float
    signal: asyncio.Future[Signal]
    served: bool = False


_Users = OrderedDict[str | None, deque[Waiter]]


@dataclass(slots=True)
class Line:
    """Not safe between threads; nothing here awaits, so each call is whole."""

    leader: Waiter | None = None
    _ranks: dict[Urgency, _Users] = field(
        default_factory=lambda: {urgency: OrderedDict() for urgency in Urgency}
    )
    _length: int = 0
    _reads: int = 0
    """How many reads have been served since a poll last had its turn, or none was waiting."""

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[Waiter]:
        for users in self._ranks.values():
            for queue in users.values():
                yield from queue

    def join(self, waiter: Waiter, *, in_front: bool = False) -> None:
        """Stand at the end of one's user's queue; in front, if one has waited there before."""
        queue = self._ranks[waiter.urgency].setdefault(waiter.user, deque())
        if in_front:
            queue.appendleft(waiter)
        else:
            queue.append(waiter)
        self._length += 1

    def leave(self, waiter: Waiter) -> None:
        """Go away; nothing happens to one who is not in line."""
        users = self._ranks[waiter.urgency]
        queue = users.get(waiter.user)
        if queue is None or waiter not in queue:
            return
        queue.remove(waiter)
        self._length -= 1
        if not queue:
            del users[waiter.user]

    def serve(self) -> Waiter | None:
        """Take out whose turn it is; its user's next one stands behind all other users."""
        urgency = next((rank for rank, users in self._ranks.items() if users), None)
        if urgency is None:
            return None
        if urgency is Urgency.READ:
            self._reads = self._reads + 1 if self._ranks[Urgency.POLL] else 0
            if self._reads >= ONE_IN:
                urgency = Urgency.POLL
        if urgency is Urgency.POLL:
            self._reads = 0
        users = self._ranks[urgency]
        user, queue = next(iter(users.items()))
        waiter = queue.popleft()
        self._length -= 1
        if queue:
            users.move_to_end(user)
        else:
            del users[user]
        return waiter

    def ahead_of(self, user: str | None, urgency: Urgency) -> int:
        """Count who would go before one more request of this user."""
        before = sum(
            len(queue)
            for rank, users in self._ranks.items()
            if rank < urgency
            for queue in users.values()
        )
        users = self._ranks[urgency]
        own = len(users.get(user, ()))
        return before + sum(
            own if name == user else min(len(queue), own + 1) for name, queue in users.items()
        )

    def hand_over(self) -> None:
        """Make somebody who still waits the leader."""
        self.leader = next((waiter for waiter in self if not waiter.signal.done()), None)
        if self.leader is not None:
            self.leader.signal.set_result(Signal.LEAD)
