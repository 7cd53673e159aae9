"""The sockets on which the gateway listens: taken once, before anything else is begun."""

import errno
import socket
import sys
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Self

from gateway.cli.commands import Failed
from gateway.settings import Settings

BACKLOG = 2048
"""Connections that may wait to be accepted."""


@dataclass(frozen=True, slots=True)
class Sockets:
    """What a gateway listens on; workers share them."""

    main: socket.socket
    metrics: socket.socket | None = None

    @classmethod
    def beside(cls, main: socket.socket, settings: Settings, stack: ExitStack) -> Self:
        """Take the metrics port as well, where one is wanted. Raises Failed."""
        server = settings.server
        if not server.metrics_port:
            return cls(main)
        names = ("server.metrics_host", "server.metrics_port")
        metrics = bind(server.metrics_host, server.metrics_port, *names)
        return cls(main, stack.enter_context(metrics))

    def close(self) -> None:
        """Let go of both; workers that have them keep them."""
        for listener in (self.main, self.metrics):
            if listener is not None:
                listener.close()


def bind(
    host: str, port: int, host_name: str = "--host", port_name: str = "--port"
) -> socket.socket:
    """Take an address. Raises Failed with the cause and the cure, on one line."""
    try:
        family, _, _, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except OSError as error:
        raise Failed(
            f'there is no address "{host}" here: {error.strerror}; set {host_name}'
        ) from error
    # The protocol is named, since loops look at it before they turn Nagle's delay off: 40 ms.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(address)
        # From here on nobody else gets the address; clients that come early wait.
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise Failed(_why_not(host, port, error, host_name, port_name)) from error
    listener.setblocking(False)
    return listener


_BALANCES = sys.platform == "linux"
"""Whether the system spreads connections over sockets of one address. Of workers that share a
single socket, the busiest one takes nearly all: it is awake, and accepts until none is left."""


def for_workers(listener: socket.socket) -> socket.socket:
    """Return what workers are given in the place of a socket that one process would listen on.

    Where the system balances it holds the address, without listening: each worker opens a socket of
    its own beside it, which ends with the worker, so that nobody waits for one that has crashed.
    """
    if not _BALANCES:
        return listener
    address = listener.getsockname()
    # It was listening, so nobody else had the address; others could share it only from now on.
    listener.close()
    return _beside(listener.family, address)


def of_worker(listener: socket.socket) -> socket.socket:
    """Return the socket on which this worker listens, given what `for_workers` returned."""
    return _beside(listener.family, listener.getsockname()) if _BALANCES else listener


# An address is what its family says: two parts or four.
def _beside(family: int, address: Any) -> socket.socket:
    found = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    found.bind(address)
    found.setblocking(False)
    return found


def inherited(fd: int) -> socket.socket:
    """Return the socket behind a descriptor that the parent left open."""
    found = socket.socket(fileno=fd)
    # Not every system can tell the protocol, and without it Nagle's delay stays.
    listener = socket.socket(found.family, found.type, socket.IPPROTO_TCP, fileno=found.detach())
    listener.setblocking(False)
    return listener


def _ways(port_name: str) -> str:
    if port_name != "--port":
        return port_name
    return '--port 9000, make serve ARGS="--port 9000" or GATEWAY_SERVER__PORT=9000'


def _why_not(host: str, port: int, error: OSError, host_name: str, port_name: str) -> str:
    match error.errno:
        case errno.EADDRINUSE:
            return (
                f"port {port} is in use, perhaps by another gateway: stop that program,"
                f" or choose another port with {_ways(port_name)}"
            )
        case errno.EACCES:
            return f"port {port} is not for everybody: choose one from 1024 on with {port_name}"
        case errno.EADDRNOTAVAIL:
            return f"{host} is not an address of this machine: choose another with {host_name}"
        case _:
            return (
                f"{host} port {port} cannot be listened on: {error.strerror};"
                f" see {host_name}, {port_name}"
            )
