"""Serving until somebody ends it: in this process, or in several."""

import asyncio
import logging
import signal
import socket
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from functools import partial

from gateway.cli.listening import Sockets, for_workers
from gateway.cli.parent import Parent
from gateway.cli.publishing import republish
from gateway.cli.serving import Serving
from gateway.clock import Clock
from gateway.settings import Settings
from gateway.workers import Tasks

_log = logging.getLogger(__name__)


def run_server(
    settings: Settings,
    listener: socket.socket,
    clock: Clock,
    *,
    reload: Callable[[], Settings],
    on_ready: Callable[[], None],
) -> None:
    """Serve on this socket until SIGTERM or SIGINT; the second SIGINT does not wait.

    `reload` reads the configuration anew: called at SIGHUP, may raise Failed. `on_ready` is called
    once, when requests are answered. Raises Failed if the gateway could not start.
    """
    with ExitStack() as stack:
        sockets = Sockets.beside(listener, settings, stack)
        if settings.server.workers == 1:
            _run_alone(settings, sockets, clock, reload, on_ready)
        else:
            shared = replace(sockets, main=stack.enter_context(for_workers(sockets.main)))
            parent = Parent(settings, shared, clock, reload=reload, on_ready=on_ready)
            asyncio.run(parent.run())


def _run_alone(
    settings: Settings,
    sockets: Sockets,
    clock: Clock,
    reload: Callable[[], Settings],
    on_ready: Callable[[], None],
) -> None:
    serving = Serving(settings, sockets, clock)
    tasks = Tasks(clock)
    stopping = False

    def stop(number: int) -> None:
        nonlocal stopping
        if stopping:
            if number == signal.SIGINT:
                serving.force()
            return
        stopping = True
        _log.info("stopping: running requests get %g s", settings.server.shutdown_grace_s)
        serving.drain()

    def reload_now() -> None:
        serving.look_at_certificates()
        tasks.spawn(republish(reload, settings, clock), "reload at SIGHUP")

    def prepare(loop: asyncio.AbstractEventLoop) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, partial(stop, number))
        loop.add_signal_handler(signal.SIGHUP, reload_now)

    serving.run(prepare, on_ready)
