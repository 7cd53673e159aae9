"""Reading server-sent events in tests: as they come over a socket, and whole."""

import socket
from dataclasses import dataclass
from urllib.parse import urlsplit

PATIENCE_S = 20.0


@dataclass(frozen=True)
class Event:
    """One event as a client sees it."""

    name: str
    id: str | None
    data: str


def parse(text: str) -> list[Event]:
    """Return the events of a whole stream, comments left out."""
    events = []
    for block in text.split("\n\n"):
        fields: dict[str, list[str]] = {}
        for line in block.split("\n"):
            if line and not line.startswith(":"):
                name, _, value = line.partition(":")
                fields.setdefault(name, []).append(value.removeprefix(" "))
        if fields:
            events.append(
                Event(
                    fields.get("event", ["message"])[0],
                    fields.get("id", [None])[0],
                    "\n".join(fields.get("data", [])),
                )
            )
    return events


class Reader:
    """A client that reads a stream from a bare socket, so that nothing buffers in between."""

    def __init__(self, url: str, *, last_event_id: str | None = None, method: str = "GET") -> None:
        parts = urlsplit(url)
        assert parts.hostname is not None
        self.socket = socket.create_connection((parts.hostname, parts.port or 80), PATIENCE_S)
        lines = [f"{method} {parts.path} HTTP/1.1", f"Host: {parts.netloc}"]
        if last_event_id is not None:
            lines.append(f"Last-Event-ID: {last_event_id}")
        self.socket.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
        self._raw = b""
        self._body = b""
        self.ended = False
        while b"\r\n\r\n" not in self._raw:
            self._receive()
        head, _, self._raw = self._raw.partition(b"\r\n\r\n")
        status, *fields = head.decode("latin-1").split("\r\n")
        self.status = int(status.split()[1])
        self.headers = {
            name.lower(): value.strip() for name, _, value in (f.partition(":") for f in fields)
        }

    def _receive(self) -> None:
        data = self.socket.recv(65536)
        if not data:
            raise ConnectionError("the connection ended in the middle of the response")
        self._raw += data

    def _decode(self) -> None:
        """Move whole chunks of the transfer coding into the body."""
        while True:
            size, line_end, rest = self._raw.partition(b"\r\n")
            if not line_end or len(rest) < int(size, 16) + 2:
                return
            length = int(size, 16)
            self._body += rest[:length]
            self._raw = rest[length + 2 :]
            if length == 0:
                self.ended = True
                return

    @property
    def text(self) -> str:
        """Everything that has arrived so far."""
        return self._body.decode()

    @property
    def events(self) -> list[Event]:
        """The whole events that have arrived so far."""
        whole, _, _ = self.text.rpartition("\n\n")
        return parse(whole)

    def read_until(self, count: int) -> list[Event]:
        """Wait until this many events are here."""
        self._decode()
        while len(self.events) < count:
            assert not self.ended, f"the stream ended after {self.events}"
            self._receive()
            self._decode()
        return self.events

    def read_to_end(self) -> list[Event]:
        """Wait for the end of the response, as the server marks it."""
        self._decode()
        while not self.ended:
            self._receive()
            self._decode()
        return self.events

    def quiet(self, seconds: float = 0.2) -> bool:
        """Return whether nothing arrives for so long (real time)."""
        self.socket.settimeout(seconds)
        try:
            self._receive()
        except TimeoutError:
            return True
        finally:
            self.socket.settimeout(PATIENCE_S)
        self._decode()
        return False

    def close(self) -> None:
        """Leave."""
        self.socket.close()

    def __enter__(self) -> "Reader":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
