"""Serving: the socket, the server on it, the signals, and the end."""

import asyncio
import errno
import logging
import math
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial

import uvicorn

from gateway.app import Gateway, policy_of
from gateway.cli.commands import Failed
from gateway.cli.config import strays
from gateway.clock import Clock
from gateway.ledger import Connection, Ledger, LedgerError, published
from gateway.settings import Settings
from gateway.web.protocol import Protocol

_log = logging.getLogger(__name__)

BACKLOG = 2048
"""Connections that may wait to be accepted."""

_KEEP_ALIVE_S = 75
"""How long an idle connection is kept: longer than the usual minute of proxies and clients, which
would otherwise send a request into a connection that is just being closed."""


def bind(host: str, port: int) -> socket.socket:
    """Take an address. Raises Failed with the cause and the cure, on one line."""
    try:
        family, _, _, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except OSError as error:
        raise Failed(f'there is no address "{host}" here: {error.strerror}; set --host') from error
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(address)
        # From here on nobody else gets the address; clients that come early wait.
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise Failed(_why_not(host, port, error)) from error
    listener.setblocking(False)
    return listener


def _why_not(host: str, port: int, error: OSError) -> str:
    match error.errno:
        case errno.EADDRINUSE:
            return (
                f"port {port} is in use, perhaps by another gateway: stop that program,"
                f" or choose another port with --port"
            )
        case errno.EACCES:
            return f"port {port} is not for everybody: choose one from 1024 on with --port"
        case errno.EADDRNOTAVAIL:
            return f"{host} is not an address of this machine: choose another with --host"
        case _:
            return f"{host} port {port} cannot be listened on: {error.strerror}; see --host, --port"


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
    gateway = Gateway(settings, clock)
    server = _Server(_configuration(gateway, settings), on_ready)
    # SystemExit: it could not start, and has logged why.
    with (
        suppress(SystemExit),
        asyncio.Runner(loop_factory=server.config.get_loop_factory()) as runner,
    ):
        runner.run(_serve(server, gateway, listener, clock, reload))
    if not server.started:
        raise Failed("the gateway could not start; the reason stands above")


def _configuration(gateway: Gateway, settings: Settings) -> uvicorn.Config:
    tls = settings.server.tls
    if tls.mode == "local-ca":
        raise Failed('server.tls.mode = "local-ca" is not available yet: use "files" or "off"')
    encrypted = tls.mode == "files"
    return uvicorn.Config(
        gateway,
        loop="auto",  # uvloop, where there is one
        http=Protocol,  # uvicorn's own, with bounded heads and errors in the gateway's shape
        ws="none",
        lifespan="on",
        interface="asgi3",
        log_config=None,
        access_log=False,  # the gateway writes its own, which knows routes and users
        proxy_headers=False,  # the gateway judges them itself
        server_header=False,
        date_header=True,
        backlog=BACKLOG,
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=math.ceil(settings.server.shutdown_grace_s),
        ssl_certfile=tls.cert_file if encrypted else None,
        ssl_keyfile=tls.key_file if encrypted else None,
    )


class _Server(uvicorn.Server):
    """Tells when it is ready, and leaves the signals to its owner."""

    def __init__(self, config: uvicorn.Config, on_ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_ready = on_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._on_ready()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Do nothing: the library's way ends the process by the signal, before all is tidied up."""
        yield


async def _serve(
    server: _Server,
    gateway: Gateway,
    listener: socket.socket,
    clock: Clock,
    reload: Callable[[], Settings],
) -> None:
    loop = asyncio.get_running_loop()
    reload_wanted = asyncio.Event()

    def stop(number: int) -> None:
        if not server.should_exit:
            _log.info(
                "stopping: running requests get %g s", gateway.settings.server.shutdown_grace_s
            )
        gateway.gate.drain()
        server.handle_exit(number, None)

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, partial(stop, number))
    loop.add_signal_handler(signal.SIGHUP, reload_wanted.set)

    async def reloading() -> None:
        while True:
            await reload_wanted.wait()
            reload_wanted.clear()
            await _publish(reload, clock)

    async with asyncio.TaskGroup() as group:
        reloader = group.create_task(reloading(), name="reload at SIGHUP")
        try:
            await server.serve([listener])
        finally:
            reloader.cancel()


async def _publish(reload: Callable[[], Settings], clock: Clock) -> None:
    """Read the configuration anew and let every worker know; what is wrong with it is logged."""
    try:
        settings = await asyncio.to_thread(reload)
    except Failed as error:
        for line in error.message.splitlines():
            _log.error("not reloaded: %s", line)
        return
    policy = policy_of(settings)

    def work(conn: Connection) -> list[str]:
        published.publish(conn, policy.to_json(), clock.now())
        return list(strays(conn, policy))

    storage = settings.storage
    try:
        async with Ledger(storage.database_url, clock, folder=storage.data_dir) as ledger:
            warnings = await ledger.write(work, durable=True)
    except LedgerError as error:
        _log.error("not reloaded: %s", error)
        return
    for line in warnings:
        _log.warning("%s", line)
    _log.info("reloaded: plans, teams, prices and contact hold from now on")
