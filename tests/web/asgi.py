"""A tiny driver of ASGI applications, for what needs no socket."""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field

from starlette.types import ASGIApp, Message, Scope

Headers = Iterable[tuple[str, str]]


@dataclass
class Heard:
    """What an application sent."""

    messages: list[Message] = field(default_factory=list)

    @property
    def status(self) -> int:
        found: int = self.messages[0]["status"]
        return found

    @property
    def headers(self) -> dict[str, str]:
        return {k.decode().lower(): v.decode() for k, v in self.messages[0]["headers"]}

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.messages[1:])

    @property
    def complete(self) -> bool:
        return len(self.messages) > 1 and not self.messages[-1].get("more_body", False)


def make_scope(
    path: str = "/",
    method: str = "GET",
    headers: Headers = (),
    *,
    client: str | None = "198.51.100.7",
    scheme: str = "http",
) -> Scope:
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": method,
        "scheme": scheme,
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [(name.lower().encode(), value.encode("latin-1")) for name, value in headers],
        "client": None if client is None else (client, 50000),
        "server": ("127.0.0.1", 8080),
        "state": {},
    }


class Receiver:
    """Gives the body in pieces; then waits, or says that the client left."""

    def __init__(self, *pieces: bytes, leaves: bool = False, unfinished: bool = False) -> None:
        self._pieces = list(pieces) or [b""]
        self._leaves = leaves
        self._unfinished = unfinished
        self.asked = 0

    async def __call__(self) -> Message:
        self.asked += 1
        if self._pieces:
            piece = self._pieces.pop(0)
            more = bool(self._pieces) or self._unfinished
            return {"type": "http.request", "body": piece, "more_body": more}
        if not self._leaves:
            await asyncio.Event().wait()
        return {"type": "http.disconnect"}


async def call(app: ASGIApp, scope: Scope, receive: Receiver | None = None) -> Heard:
    heard = Heard()

    async def send(message: Message) -> None:
        heard.messages.append(message)

    await app(scope, receive or Receiver(), send)
    return heard
