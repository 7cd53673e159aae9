"""How flows start work that outlives the request: through whoever holds and ends tasks."""

import asyncio
from collections.abc import Coroutine
from typing import Protocol, TypeVar

T = TypeVar("T")


class Spawn(Protocol):
    """Starts a task that its owner names, holds and ends."""

    def __call__(
        self, work: Coroutine[object, object, T], name: str
    ) -> asyncio.Task[T]:  # pragma: no cover
        """Start `work`."""
