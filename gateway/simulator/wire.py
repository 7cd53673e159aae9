"""Requests and replies of the simulated origins, and how a connection is broken on purpose."""

import asyncio
import gzip
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias
from urllib.parse import parse_qsl

import orjson

Json: TypeAlias = "bool | int | float | str | Sequence[Json] | Mapping[str, Json] | None"
JsonObject: TypeAlias = dict[str, Json]
Scope: TypeAlias = MutableMapping[str, Any]  # ASGI's own shape
Message: TypeAlias = MutableMapping[str, Any]  # ASGI's own shape
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]

GZIP_FROM_BYTES = 500


class ClientGone(Exception):
    """The client hung up before its request was complete."""


class BrokenOff(Exception):
    """The answer ends here although it is not complete."""


class BodyTooLarge(Exception):
    """The request's body is longer than the reader allows."""


class BodyNotJson(ValueError):
    """The request's body is not a JSON object."""


class Request:
    """One request as the origins look at it."""

    __slots__ = (
        "body",
        "complete",
        "headers",
        "method",
        "params",
        "path",
        "query",
        "raw_query",
        "receive",
    )

    def __init__(self, scope: Scope, receive: Receive) -> None:
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.raw_query: str = scope["query_string"].decode("latin-1")
        self.headers: tuple[tuple[str, str], ...] = tuple(
            (name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]
        )
        self.query: dict[str, str] = (
            dict(parse_qsl(self.raw_query, keep_blank_values=True)) if self.raw_query else {}
        )
        self.params: dict[str, str] = {}
        self.body: bytes = b""
        self.complete = False
        self.receive = receive

    def header(self, name: str) -> str | None:
        """Return the first header of this (lower-case) name."""
        return next((value for key, value in self.headers if key == name), None)

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield the body as it arrives. Raises ClientGone."""
        while not self.complete:
            message = await self.receive()
            if message["type"] == "http.disconnect":
                raise ClientGone
            self.complete = not message.get("more_body", False)
            if chunk := message.get("body", b""):
                yield chunk

    async def drain(self, limit: int) -> None:
        """Take in the rest of the body, up to a limit, so that the client reads the answer."""
        async for chunk in self.chunks():
            limit -= len(chunk)
            if limit < 0:
                return

    async def read(self, limit: int) -> bytes:
        """Read the whole body into `body`. Raises ClientGone, BodyTooLarge."""
        parts: list[bytes] = []
        size = 0
        async for chunk in self.chunks():
            size += len(chunk)
            if size > limit:
                raise BodyTooLarge
            parts.append(chunk)
        self.body = b"".join(parts)
        return self.body

    async def hung_up(self) -> None:
        """Return when the client is gone. To be asked for after the body was read."""
        while (await self.receive())["type"] != "http.disconnect":
            pass

    def json_object(self) -> JsonObject:
        """Parse the body. Raises BodyNotJson."""
        try:
            value = orjson.loads(self.body)
        except orjson.JSONDecodeError as error:
            raise BodyNotJson(str(error)) from error
        if not isinstance(value, dict):
            raise BodyNotJson("the body is not a JSON object")
        return value


@dataclass(slots=True)
class Reply:
    """One answer: bytes at once, or pieces whose total length may be known beforehand."""

    status: int
    body: bytes = b""
    headers: list[tuple[str, str]] = field(default_factory=list)
    pieces: AsyncIterator[bytes] | None = None
    length: int | None = None
    """Length of `pieces`; None sends them chunked."""

    def set(self, name: str, value: str) -> "Reply":
        """Add a header and return the reply."""
        self.headers.append((name, value))
        return self

    def header_list(self) -> list[tuple[bytes, bytes]]:
        """Return the headers with the length that is really sent."""
        headers = [
            (name.encode("latin-1"), value.encode("latin-1")) for name, value in self.headers
        ]
        length = len(self.body) if self.pieces is None else self.length
        if length is not None and self.status not in (204, 304):
            headers.append((b"content-length", str(length).encode()))
        return headers

    def compress(self) -> None:
        """Gzip the body where that is worth it."""
        if self.pieces is None and len(self.body) >= GZIP_FROM_BYTES:
            self.body = gzip.compress(self.body, compresslevel=1, mtime=0)
            self.set("content-encoding", "gzip")


def json_reply(value: Json, status: int = 200) -> Reply:
    """Return a compact JSON answer."""
    return Reply(status, orjson.dumps(value), [("content-type", "application/json")])


def problem(
    status: int,
    detail: str,
    title: str | None = None,
    *,
    newline: bool = False,
    with_status: bool = True,
    extra: JsonObject | None = None,
) -> Reply:
    """Return an error as the real service words it; members vary from one to the next."""
    body: JsonObject = {}
    if title is not None:
        body["title"] = title
    body["detail"] = detail
    if with_status:
        body["status"] = status
    body.update(extra or {})
    text = orjson.dumps(body) + (b"\n" if newline else b"")
    return Reply(status, text, [("content-type", "application/problem+json")])


async def send_reply(reply: Reply, send: Send, *, head: bool = False) -> None:
    """Send an answer in full; for HEAD only what precedes the body."""
    await send(
        {"type": "http.response.start", "status": reply.status, "headers": reply.header_list()}
    )
    if reply.pieces is not None and not head:
        async for piece in reply.pieces:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
    body = b"" if head or reply.pieces is not None else reply.body
    await send({"type": "http.response.body", "body": body})


def transport_of(scope: Scope) -> asyncio.Transport:
    """Return the connection itself, which the simulator's server puts into every scope."""
    transport: asyncio.Transport = scope["extensions"]["simulator.transport"]
    return transport


async def reset(scope: Scope, receive: Receive) -> None:
    """Break the connection so that the peer sees a reset rather than an end."""
    transport = transport_of(scope)
    connection = transport.get_extra_info("socket")
    if connection is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()
    await gone(receive)


async def gone(receive: Receive) -> None:
    """Wait until the server has noticed that the connection is closed."""
    while (await receive())["type"] != "http.disconnect":
        pass
