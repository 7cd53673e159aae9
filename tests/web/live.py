"""A real server on a socket, in a thread: for streams, departures and broken-off responses."""

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass

import uvicorn
from starlette.types import ASGIApp


@dataclass(frozen=True)
class Address:
    host: str
    port: int


@contextlib.contextmanager
def serve(app: ASGIApp) -> Iterator[Address]:
    config = uvicorn.Config(
        app,
        host="127.0.0.1",
        port=0,
        log_config=None,
        access_log=False,
        lifespan="off",
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=5,
        ws="none",
    )
    server = uvicorn.Server(config)
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    deadline = time.monotonic() + 20
    while not server.started:
        assert time.monotonic() < deadline, "the server did not start"
        time.sleep(0.005)
    try:
        yield Address("127.0.0.1", listener.getsockname()[1])
    finally:
        server.should_exit = True
        thread.join(20)
        listener.close()


def talk(address: Address, request: bytes, *, leave_after: bytes | None = None) -> bytes:
    """Send bytes and return all that comes until the server closes, or until `leave_after` came."""
    with socket.create_connection((address.host, address.port), timeout=20) as connection:
        connection.sendall(request)
        heard = b""
        while True:
            part = connection.recv(65536)
            if not part:
                return heard
            heard += part
            if leave_after is not None and leave_after in heard:
                return heard
