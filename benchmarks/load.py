"""A load generator that costs little itself: prebuilt requests on kept connections."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import cast
from urllib.parse import urlsplit


@dataclass(frozen=True, slots=True)
class Run:
    """What a measurement saw. `cpu_s` is the server's, filled in by whoever knows its process."""

    answers: int
    bytes: int
    seconds: float
    cpu_s: float = 0.0

    @property
    def per_second(self) -> float:
        return self.answers / self.seconds

    @property
    def cpu_us(self) -> float:
        """The server's processor time for one answer, in microseconds."""
        return self.cpu_s * 1e6 / self.answers


class Unexpected(Exception):
    """A server answered something that is not what is measured."""


class _Line(asyncio.Protocol):
    """One connection: sends the request, counts the answer, sends it again."""

    def __init__(
        self, request: bytes, more: Callable[[], bool], done: asyncio.Future[None]
    ) -> None:
        self._request = request
        self._more = more
        self._done = done
        self._head = b""
        self._left = -1
        self.answers = 0
        self.bytes = 0
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # Not every loop's transports are subclasses of asyncio's.
        self._transport = cast("asyncio.Transport", transport)
        self._next()

    def _next(self) -> None:
        assert self._transport is not None
        if self._more():
            self._transport.write(self._request)
        else:
            self._transport.close()

    def data_received(self, data: bytes) -> None:
        try:
            self._take(data)
        except Unexpected as error:
            self._end(error)

    def _take(self, data: bytes) -> None:
        if self._left < 0:
            self._head += data
            head, found, body = self._head.partition(b"\r\n\r\n")
            if not found:
                return
            if head[9:10] != b"2":
                raise Unexpected((head + body)[:400].decode("latin-1"))
            self._head, self._left = b"", _length(head)
            data = body
        self.bytes += len(data)
        self._left -= len(data)
        if self._left == 0:
            self._left = -1
            self.answers += 1
            self._next()

    def _end(self, error: Exception) -> None:
        if not self._done.done():
            self._done.set_exception(error)
        if self._transport is not None:
            self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._done.done():
            if self._more():
                self._done.set_exception(exc or Unexpected("the connection was closed"))
            else:
                self._done.set_result(None)


def _length(head: bytes) -> int:
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return int(line[15:])
    raise Unexpected("an answer without content-length: " + head[:300].decode("latin-1"))


def request(method: str, url: str, headers: dict[str, str], body: bytes = b"") -> bytes:
    """Return a whole request, as it goes over the wire."""
    where = urlsplit(url)
    lines = [f"{method} {where.path} HTTP/1.1", f"Host: {where.netloc}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    if body:
        lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + body


async def for_a_while(url: str, wire: bytes, clients: int, seconds: float) -> Run:
    """Ask again and again for so many seconds."""
    until = time.perf_counter() + seconds
    return await _run(url, wire, clients, lambda: time.perf_counter() < until)


async def so_often(url: str, wire: bytes, clients: int, times: int) -> Run:
    """Ask so many times."""
    left = iter(range(times))
    return await _run(url, wire, clients, lambda: next(left, None) is not None)


def _same(line: _Line) -> _Line:
    return line


async def _run(url: str, wire: bytes, clients: int, more: Callable[[], bool]) -> Run:
    loop = asyncio.get_running_loop()
    where = urlsplit(url)
    assert where.hostname is not None
    assert where.port is not None
    started = time.perf_counter()
    lines = []
    for _ in range(clients):
        line = _Line(wire, more, loop.create_future())
        await loop.create_connection(partial(_same, line), where.hostname, where.port)
        lines.append(line)
    await asyncio.gather(*(line._done for line in lines))
    seconds = time.perf_counter() - started
    answers, size = sum(line.answers for line in lines), sum(line.bytes for line in lines)
    return Run(answers, size, seconds)
