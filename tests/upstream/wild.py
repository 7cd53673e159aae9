"""A TCP server that behaves as badly as a test wants, and remembers what it was sent."""

import asyncio
import contextlib
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

Handler = Callable[["Conversation"], Awaitable[None]]


@dataclass
class Seen:
    """One request as it arrived."""

    head: bytes
    body: bytes = b""

    @property
    def line(self) -> str:
        return self.head.split(b"\r\n")[0].decode()

    def header(self, name: str) -> str | None:
        values = self.all(name)
        return values[0] if values else None

    def all(self, name: str) -> list[str]:
        lines = self.head.decode("latin-1").split("\r\n")[1:]
        pairs = [line.partition(":")[::2] for line in lines if line]
        return [value.strip() for key, value in pairs if key.lower() == name]


@dataclass
class Conversation:
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    server: "WildServer"

    async def request(self) -> Seen:
        """Read one whole request."""
        seen = Seen(await self.reader.readuntil(b"\r\n\r\n"))
        self.server.requests.append(seen)
        if (length := seen.header("content-length")) is not None:
            seen.body = await self.reader.readexactly(int(length))
        elif seen.header("transfer-encoding") == "chunked":
            while size := int(await self.reader.readline(), 16):
                seen.body += (await self.reader.readexactly(size + 2))[:-2]
            await self.reader.readline()
        return seen

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def answer(
        self, body: bytes = b"{}", *, status: int = 200, headers: tuple[str, ...] = ()
    ) -> None:
        """Send a proper answer."""
        names = {line.partition(":")[0].lower() for line in headers}
        lines = [f"HTTP/1.1 {status} Some", *headers]
        if "content-type" not in names:
            lines.append("Content-Type: application/json")
        if not names & {"content-length", "transfer-encoding"}:
            lines.append(f"Content-Length: {len(body)}")
        await self.send("\r\n".join([*lines, "", ""]).encode("latin-1") + body)

    def reset(self) -> None:
        """Break the connection off with a reset instead of an end."""
        raw = self.writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


@dataclass
class WildServer:
    handler: Handler
    requests: list[Seen] = field(default_factory=list)
    connections: int = 0
    port: int = 0
    scheme: str = "http"

    @property
    def origin(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                await self.handler(Conversation(reader, writer, self))
        except asyncio.CancelledError:
            pass  # the test is over, and what hung need not hang any longer
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError, ssl.SSLError, asyncio.CancelledError):
                await writer.wait_closed()


@contextlib.asynccontextmanager
async def wild(
    handler: Handler, *, context: ssl.SSLContext | None = None
) -> AsyncIterator[WildServer]:
    """Run a server whose connections are each handled by `handler`, and closed when it returns."""
    server = WildServer(handler, scheme="https" if context else "http")
    tasks: set[asyncio.Task[None]] = set()

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(server._serve(reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    listening = await asyncio.start_server(connected, "127.0.0.1", 0, ssl=context)
    server.port = listening.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listening.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def always(body: bytes = b"{}", *, status: int = 200, headers: tuple[str, ...] = ()) -> Handler:
    """Answer every request on every connection in the same way."""

    async def handler(talk: Conversation) -> None:
        while True:
            await talk.request()
            await talk.answer(body, status=status, headers=headers)

    return handler


def each(*steps: Callable[[Conversation], Awaitable[None]]) -> Handler:
    """Answer the first request with the first step and so on, over however many connections."""
    left = list(steps)

    async def handler(talk: Conversation) -> None:
        while left:
            await talk.request()
            await left.pop(0)(talk)

    return handler


def says(
    body: bytes = b"{}", *, status: int = 200, headers: tuple[str, ...] = ()
) -> Callable[[Conversation], Awaitable[None]]:
    """One answer, as a step."""

    async def step(talk: Conversation) -> None:
        await talk.answer(body, status=status, headers=headers)

    return step
