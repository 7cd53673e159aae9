"""What goes on beside the requests."""

from collections.abc import Awaitable, Callable, Iterable
from functools import partial

from gateway.app.process import Process
from gateway.app.storage import Storage
from gateway.flows.count_requests import CountRequests
from gateway.ledger import workers
from gateway.web.identity import KeyRing
from gateway.workers import Kick, run_forever

Loop = tuple[str, Callable[[], Awaitable[float]], Kick | None]
"""Its name, a step that returns seconds until the next one, and what cuts that wait short."""

HEARTBEAT_S = 1.0


def housekeeping(
    process: Process, storage: Storage, keys: KeyRing, count: CountRequests
) -> tuple[Loop, ...]:
    """Return the loops that keep this process and the ledger in step."""

    async def beat() -> float:
        process.metrics.memory_holds("memory", storage.memory.bytes)
        now = process.clock.now()
        await storage.ledger.write(partial(workers.beat, worker_id=process.worker_id, now=now))
        return HEARTBEAT_S

    return (
        ("heartbeat", beat, None),
        ("keys", keys.refresh, None),
        ("key use", keys.record_use, None),
        ("request counts", count.sync, None),
    )


def start_loops(process: Process, loops: Iterable[Loop]) -> None:
    """Start them; they end with the process's tasks."""
    for name, step, kick in loops:
        process.tasks.spawn(
            run_forever(
                name, step, process.clock, kick=kick, on_failure=process.metrics.task_failed
            ),
            name,
            endless=True,
        )
