"""The parent of several workers: starts them on one address, replaces them, ends them.

It serves nothing itself. Workers are fresh programs, so that each has its own loop, threads and
database connections from the beginning.
"""

import asyncio
import logging
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

from gateway.app import certificates_of
from gateway.cli.commands import Failed
from gateway.cli.listening import Sockets
from gateway.cli.publishing import publish, republish
from gateway.cli.serving import opened
from gateway.cli.worker import CERTIFICATES, DRAIN, FORCE, READY, Orders
from gateway.clock import Clock
from gateway.ledger import LedgerError
from gateway.metrics import MULTIPROCESS_VARIABLE, prepare_workers_dir, worker_ended
from gateway.settings import Settings, process_environment

_log = logging.getLogger(__name__)

_SETTLED_AFTER_S = 60.0
"""A worker that lived so long did not end because of how it was started."""

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 1.0, 30.0
_KILL_AFTER_GRACE_S = 15.0
"""Beyond the grace, for closing what is open."""


class _Worker:
    """One worker's process, and the line to it."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.pid = process.pid

    def say(self, word: str) -> None:
        """Tell it what to do; one that has ended does not hear."""
        if self._process.stdin is not None and not self._process.stdin.is_closing():
            self._process.stdin.write(f"{word}\n".encode())

    async def ended(self, on_ready: Callable[[], None]) -> int:
        """Wait for its end; returns its status, below 0 the signal that ended it."""
        if self._process.stdout is not None:
            async for line in self._process.stdout:
                if line == READY:
                    on_ready()
        return await self._process.wait()

    def kill(self) -> None:
        """End it as a power cut does."""
        with suppress(ProcessLookupError):
            self._process.kill()


class Parent:
    """Keeps so many workers alive as the settings say. For one event loop, once."""

    def __init__(
        self,
        settings: Settings,
        sockets: Sockets,
        clock: Clock,
        *,
        reload: Callable[[], Settings],
        on_ready: Callable[[], None],
    ) -> None:
        self._settings = settings
        self._sockets = sockets
        self._clock = clock
        self._reload = reload
        self._on_ready = on_ready
        self._metrics_dir: Path = settings.storage.data_dir / "metrics"
        self._orders = Orders.of(sockets, self._metrics_dir, settings).line()
        self._alive: set[_Worker] = set()
        self._missing = settings.server.workers
        self._failed = False
        self._stopping = asyncio.Event()
        self._reload_wanted = asyncio.Event()

    async def run(self) -> None:
        """Serve until SIGTERM or SIGINT; the second SIGINT does not wait.

        Raises Failed if no worker could start, or the ledger cannot be used.
        """
        loop = asyncio.get_running_loop()
        for ending in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(ending, partial(self._stop, ending))
        loop.add_signal_handler(signal.SIGHUP, self._reload_wanted.set)
        # Once and for all workers: a fault is told once, and a new authority is made by one.
        opened(certificates_of(self._settings, self._clock))
        try:
            # Here and not by the workers: one that replaces another must not bring back old plans.
            for line in await publish(self._settings, self._settings, self._clock):
                _log.warning("%s", line)
            prepare_workers_dir(self._metrics_dir)
        except (LedgerError, OSError) as error:
            raise Failed(f"the gateway could not start: {error}") from error
        async with asyncio.TaskGroup() as group:
            reloading = group.create_task(self._reloading(), name="reload at SIGHUP")
            async with asyncio.TaskGroup() as keepers:
                for number in range(1, self._settings.server.workers + 1):
                    keepers.create_task(self._keep(number), name=f"worker {number}")
            reloading.cancel()
        if self._failed:
            raise Failed("the gateway could not start; the reason stands above")

    def _stop(self, number: int) -> None:
        if self._stopping.is_set():
            if number == signal.SIGINT:
                self._tell(FORCE)
            return
        grace_s = self._settings.server.shutdown_grace_s
        _log.info("stopping: running requests get %g s", grace_s)
        self._begin_to_end(grace_s)

    def _begin_to_end(self, grace_s: float) -> None:
        self._stopping.set()
        self._sockets.close()  # as long as anybody holds them, clients would wait for an answer
        self._tell(DRAIN)
        asyncio.get_running_loop().call_later(grace_s + _KILL_AFTER_GRACE_S, self._kill)

    def _tell(self, word: str) -> None:
        for worker in self._alive:
            worker.say(word)

    def _kill(self) -> None:
        for worker in self._alive:
            _log.error("worker process %d does not end: killed", worker.pid)
            worker.kill()

    async def _reloading(self) -> None:
        while True:
            await self._reload_wanted.wait()
            self._reload_wanted.clear()
            await republish(self._reload, self._settings, self._clock)
            self._tell(CERTIFICATES)

    async def _keep(self, number: int) -> None:
        """Keep one worker alive, whatever ends it, until all are to end."""
        failures = 0
        ready = False

        def now_ready() -> None:
            nonlocal ready
            if not ready:
                ready = True
                self._one_more_is_ready()

        while not self._stopping.is_set():
            began = self._clock.monotonic()
            worker = await self._start()
            try:
                status = await worker.ended(now_ready)
            finally:
                self._alive.discard(worker)
            worker_ended(self._metrics_dir, worker.pid)
            if self._stopping.is_set():
                return
            if not ready and self._missing == self._settings.server.workers:
                self._failed = True
                self._begin_to_end(0)
                return
            lived = self._clock.monotonic() - began
            failures = 0 if lived >= _SETTLED_AFTER_S else failures + 1
            # The first time at once; who keeps ending gets ever longer pauses.
            pause = 0.0
            if failures > 1:
                pause = min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * 2.0 ** min(failures - 2, 10))
            _log.error(
                "worker %d (process %d) ended %s after %.1f s; another one starts in %g s",
                *(number, worker.pid, _by(status), lived, pause),
            )
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._stopping.wait()

    def _one_more_is_ready(self) -> None:
        self._missing -= 1
        if self._missing == 0:
            self._on_ready()

    async def _start(self) -> _Worker:
        environment = {**process_environment(), MULTIPROCESS_VARIABLE: str(self._metrics_dir)}
        listeners = (self._sockets.main, self._sockets.metrics)
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "gateway.cli.worker"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            pass_fds=[listener.fileno() for listener in listeners if listener is not None],
            env=environment,
            start_new_session=True,
        )
        worker = _Worker(process)
        if process.stdin is not None:
            process.stdin.write(self._orders)
        self._alive.add(worker)
        if self._stopping.is_set():
            worker.say(DRAIN)
        return worker


def _by(status: int) -> str:
    if status >= 0:
        return f"with status {status}"
    try:
        return f"by {signal.Signals(-status).name}"
    except ValueError:
        return f"by signal {-status}"
