"""One process's gateway on its sockets: the server around it, and how it ends.

Ending has an order. New requests are refused and nobody is let in any more; requests that run get
the grace; then connections are closed, work in the background gets what is left of the grace, and
the services are closed. Connections that are kept open are answered 503 meanwhile.
"""

import asyncio
import logging
import math
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import uvicorn
from starlette.types import ASGIApp

from gateway.app import Certificates, CertificateUnusable, Gateway, certificates_of
from gateway.app.tls import LOOK_EVERY_S
from gateway.cli.commands import Failed
from gateway.cli.listening import BACKLOG, Sockets
from gateway.clock import Clock
from gateway.settings import Settings
from gateway.web.protocol import Protocol

_log = logging.getLogger(__name__)

_KEEP_ALIVE_S = 75
"""How long an idle connection is kept: longer than the usual minute of proxies and clients, which
would otherwise send a request into a connection that is just being closed."""


class Serving:
    """Serves on sockets until it is told to end. For one event loop, once."""

    def __init__(
        self,
        settings: Settings,
        sockets: Sockets,
        clock: Clock,
        *,
        multiprocess_dir: Path | None = None,
        publishes: bool = True,
    ) -> None:
        self._settings = settings
        self._sockets = sockets
        self._clock = clock
        self._gateway = Gateway(
            settings, clock, multiprocess_dir=multiprocess_dir, publishes=publishes
        )
        self._certificates = certificates_of(settings, clock)
        self._server = _Server(_configuration(self._gateway))
        self._look_now = asyncio.Event()
        self._ending = asyncio.Event()

    def run(
        self, prepare: Callable[[asyncio.AbstractEventLoop], None], on_ready: Callable[[], None]
    ) -> None:
        """Serve on a loop of its own, and return at the end.

        `prepare` gets the loop, to hang signals on it. `on_ready` is called when requests are
        answered. Raises Failed if the gateway could not start.
        """
        config = self._server.config
        config.load()
        config.ssl = opened(self._certificates)
        self._server.on_ready = on_ready

        async def serve() -> None:
            prepare(asyncio.get_running_loop())
            await self._serve()

        # SystemExit: it could not start, and has logged why.
        with (
            suppress(SystemExit),
            asyncio.Runner(loop_factory=config.get_loop_factory()) as runner,
        ):
            runner.run(serve())
        if not self._server.started:
            raise Failed("the gateway could not start; the reason stands above")

    def drain(self) -> None:
        """Begin to end; what runs may finish within the grace. Again does nothing."""
        if self._ending.is_set():
            return
        self._ending.set()
        self._gateway.drain()
        for server in self._server.servers:
            server.close()  # nobody new is let in; who is connected stays

    def force(self) -> None:
        """End at once; what runs is broken off."""
        self._gateway.drain()
        self._ending.set()
        self._server.force_exit = self._server.should_exit = True

    def look_at_certificates(self) -> None:
        """Take up changed certificate files now, not at the next look."""
        self._look_now.set()

    async def _serve(self) -> None:
        async with asyncio.TaskGroup() as group:
            beside = [group.create_task(self._end_in_order(), name="the end")]
            if self._certificates is not None:
                beside.append(group.create_task(self._watch_certificates(), name="certificates"))
            metrics = None
            if self._sockets.metrics is not None:
                metrics = _Server(_configuration(self._gateway.metrics_only, lifespan=False))
                group.create_task(metrics.serve([self._sockets.metrics]), name="metrics port")
            try:
                await self._server.serve([self._sockets.main])
            finally:
                if metrics is not None:
                    metrics.should_exit = True
                for task in beside:
                    task.cancel()

    async def _end_in_order(self) -> None:
        await self._ending.wait()
        loop = asyncio.get_running_loop()
        end_by = loop.time() + self._settings.server.shutdown_grace_s
        with suppress(TimeoutError):
            async with asyncio.timeout_at(end_by):
                await self._gateway.gate.wait_idle()
        left = max(0, math.ceil(end_by - loop.time()))
        self._server.config.timeout_graceful_shutdown = left
        self._server.should_exit = True

    async def _watch_certificates(self) -> None:
        if self._certificates is None:
            return
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_EVERY_S):
                    await self._look_now.wait()
            self._look_now.clear()
            await asyncio.to_thread(self._certificates.refresh)


def opened(certificates: Certificates | None) -> ssl.SSLContext | None:
    """Return the listener's context, None where nothing is encrypted. Raises Failed."""
    try:
        return None if certificates is None else certificates.open()
    except CertificateUnusable as error:
        raise Failed(f"server.tls: {error}") from error


class _Server(uvicorn.Server):
    """Tells when it is ready, and leaves the signals to its owner."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.servers: list[asyncio.Server] = []
        self.on_ready: Callable[[], None] = lambda: None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self.on_ready()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Do nothing: the library's way ends the process by the signal, before all is tidied up."""
        yield


def _configuration(app: ASGIApp, *, lifespan: bool = True) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        loop="auto",  # uvloop, where there is one
        http=Protocol,
        ws="none",
        lifespan="on" if lifespan else "off",
        interface="asgi3",
        log_config=None,
        access_log=False,  # the gateway writes its own, which knows routes and users
        proxy_headers=False,  # the gateway judges them itself
        server_header=False,
        date_header=True,
        backlog=BACKLOG,
        timeout_keep_alive=_KEEP_ALIVE_S,
    )
