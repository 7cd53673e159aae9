"""Origins on real sockets, which can be taken down and put up again at the same address."""

import asyncio
import socket
from pathlib import Path
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from gateway.simulator.wire import Receive, Scope, Send

_BACKLOG = 2048
_GRACE_S = 0.05


class _Protocol(HttpToolsProtocol):
    """The server's own protocol, which also lets the application see the connection."""

    def on_message_begin(self) -> None:
        super().on_message_begin()
        extensions: dict[str, dict[object, object]] = {}
        scope: dict[str, Any] = self.scope  # type: ignore[assignment]  # ASGI leaves extensions open
        scope["extensions"] = extensions
        scope["extensions"]["simulator.transport"] = self.transport


class BoundOrigin:
    """One application on one address."""

    def __init__(
        self, app: object, host: str, port: int, cert_file: Path | None, key_file: Path | None
    ) -> None:
        self._app = app
        self._host = host
        self._port = port
        self._cert_file = cert_file
        self._key_file = key_file
        self._server: uvicorn.Server | None = None

    @property
    def port(self) -> int:
        """Return the port, which stays the same from the first start on."""
        return self._port

    @property
    def running(self) -> bool:
        """Return whether connections are accepted."""
        return self._server is not None

    async def start(self) -> None:
        """Accept connections. Raises OSError if the port is taken."""
        if self._server is not None:
            return
        listener = self._bind()
        config = uvicorn.Config(
            _typed(self._app),
            http=_Protocol,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            date_header=True,
            proxy_headers=False,
            backlog=_BACKLOG,
            timeout_keep_alive=60,
            timeout_graceful_shutdown=1,
            ssl_certfile=self._cert_file,
            ssl_keyfile=self._key_file,
        )
        config.load()
        server = uvicorn.Server(config)
        server.lifespan = config.lifespan_class(config)
        await server.startup(sockets=[listener])
        self._server = server

    def _bind(self) -> socket.socket:
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        # The protocol is named because asyncio switches Nagle's algorithm off only where it is;
        # otherwise every answer waits for the client's delayed acknowledgement (40 ms).
        listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((self._host, self._port))
        except OSError:
            listener.close()
            raise
        listener.setblocking(False)
        self._port = listener.getsockname()[1]
        return listener

    async def stop(self) -> None:
        """Break all connections and refuse new ones."""
        server, self._server = self._server, None
        if server is None:
            return
        for listener in server.servers:
            listener.close()
        for connection in list(server.server_state.connections):
            connection.transport.abort()
        # The server's own shutdown takes a tenth of a second at least; nothing is left to wait for.
        tasks = list(server.server_state.tasks)
        if tasks:
            # Most end by themselves when they see that the client is gone.
            await asyncio.wait(tasks, timeout=_GRACE_S)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


def _typed(app: object) -> Any:  # uvicorn's own type for applications is not public
    return app


__all__ = ["BoundOrigin", "Receive", "Scope", "Send"]
