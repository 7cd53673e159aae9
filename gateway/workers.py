"""Background work: started, named, held and ended in one place.

A task that nobody holds can be collected in the middle of its work, and one whose exception nobody
reads fails without a trace. So every task of the gateway is started by :class:`Tasks`, and every
loop runs in :func:`run_forever`, which outlives the failures of its steps.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import TypeVar

from gateway.clock import Clock

_log = logging.getLogger(__name__)

T = TypeVar("T")

CANCEL_GRACE_S = 5.0
"""How long cancelled tasks get to tidy up before they are given up, in seconds."""

MAX_BACKOFF_S = 30.0
"""The longest pause between two attempts of a loop whose steps keep failing, in seconds."""


class Kick:
    """Wakes a loop that waits by the clock. Belongs to one event loop.

    A kick given while nobody waits is kept, so the next wait returns at once; several are one.
    """

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def kick(self) -> None:
        """Wake the waiting loop, or the next one to wait."""
        self._event.set()

    async def wait(self, clock: Clock, seconds: float) -> bool:
        """Return after `seconds` on `clock`, or at a kick; True tells that it was a kick."""
        if self._event.is_set():
            await asyncio.sleep(0)  # others get their turn, however often a loop is kicked
        else:
            kicked = asyncio.create_task(self._event.wait(), name="kick")
            slept = asyncio.ensure_future(clock.sleep(max(0.0, seconds)))
            try:
                await asyncio.wait((kicked, slept), return_when=asyncio.FIRST_COMPLETED)
            finally:
                kicked.cancel()
                slept.cancel()
        was_kicked = self._event.is_set()
        self._event.clear()
        return was_kicked


class Tasks:
    """The tasks of one process.

    `on_failure` gets the name of each task that died of an exception (for a metric); it must not
    raise.
    """

    def __init__(self, clock: Clock, on_failure: Callable[[str], None] | None = None) -> None:
        self._clock = clock
        self._on_failure = on_failure
        self._work: set[asyncio.Task[object]] = set()
        self._loops: set[asyncio.Task[object]] = set()
        self._closed = False

    def spawn(
        self, work: Coroutine[object, object, T], name: str, *, endless: bool = False
    ) -> asyncio.Task[T]:
        """Start `work` and hold it until it has ended; its exception is logged.

        `endless` work (a loop) is not waited for by `close`, only cancelled.

        Raises:
            RuntimeError: after `close`, since nobody would end the task.
        """
        if self._closed:
            work.close()
            raise RuntimeError(f"{name!r} cannot be started: the tasks have been closed")
        task = asyncio.create_task(work, name=name)
        held = self._loops if endless else self._work
        held.add(task)
        task.add_done_callback(self._ended)
        return task

    def __len__(self) -> int:
        return len(self._work) + len(self._loops)

    @property
    def names(self) -> list[str]:
        """Return the names of what runs now, sorted: for logs and tests."""
        return sorted(task.get_name() for task in self._work | self._loops)

    async def close(self, grace_s: float) -> None:
        """Let work finish for up to `grace_s` seconds, then cancel what is left and all loops.

        Loops run until the end of the grace, since the work may depend on them. Work that running
        work starts in that time is waited for as well.
        """
        deadline = asyncio.create_task(self._clock.sleep(grace_s), name="shutdown grace")
        try:
            while self._work and not deadline.done():
                await asyncio.wait({deadline, *self._work}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            deadline.cancel()
            self._closed = True
        if self._work:
            _log.warning(
                "stopping work that did not finish in time: %s",
                ", ".join(sorted(task.get_name() for task in self._work)),
            )
        left = self._work | self._loops
        for task in left:
            task.cancel()
        if left:
            _, stuck = await asyncio.wait(left, timeout=CANCEL_GRACE_S)
            for task in stuck:
                _log.error(
                    "task %r does not end when cancelled; it is left behind", task.get_name()
                )

    def _ended(self, task: asyncio.Task[object]) -> None:
        self._work.discard(task)
        self._loops.discard(task)
        if task.cancelled():
            return
        error = task.exception()
        if error is not None:
            _log.error("task %r failed", task.get_name(), exc_info=error)
            if self._on_failure is not None:
                self._on_failure(task.get_name())


async def run_forever(
    name: str,
    step: Callable[[], Awaitable[float]],
    clock: Clock,
    *,
    kick: Kick | None = None,
    on_failure: Callable[[str], None] | None = None,
    max_backoff_s: float = MAX_BACKOFF_S,
) -> None:
    """Call `step` again and again until cancelled; it returns the seconds until the next call.

    A `kick` cuts that wait short. A step that raises is logged and repeated after a back-off with
    jitter (1, 2, 4 … up to `max_backoff_s` seconds, each halved by chance), which a kick does not
    cut short: whoever kicks cannot know that the loop is in trouble.
    """
    kick = kick or Kick()
    failures = 0
    while True:
        try:
            pause = await step()
        except asyncio.CancelledError:
            # Somebody else's cancellation, met in an await of the step, must not end this loop.
            if _being_cancelled():
                raise
            failures += 1
            _log.warning("loop %r: a step was cancelled from within", name)
        except Exception:  # noqa: BLE001 - a loop never ends by itself; the log has the traceback
            failures += 1
            _log.exception("loop %r: a step failed (%d in a row)", name, failures)
        else:
            failures = 0
            await kick.wait(clock, pause)
            continue
        if on_failure is not None:
            on_failure(name)
        limit = min(max_backoff_s, 2.0 ** min(failures - 1, 10))
        await clock.sleep(limit * (0.5 + clock.random() / 2))


def _being_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
