"""An upstream that answers exactly the bytes that a test lays down, and remembers what it got."""

import contextlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Got:
    """One request as it arrived."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Laid:
    """One answer."""

    status: int = 200
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = (("Content-Type", "application/json"),)
    chunked: bool = False


@dataclass
class Scripted:
    """Answers by method and path (without query); 404 for what was not laid down."""

    url: str = ""
    answers: dict[tuple[str, str], Laid | Callable[[Got], Laid]] = field(default_factory=dict)
    got: list[Got] = field(default_factory=list)

    def lay(self, method: str, path: str, answer: Laid | Callable[[Got], Laid]) -> None:
        self.answers[method, path] = answer

    def of(self, method: str, path: str) -> list[Got]:
        """The requests for one path."""
        return [
            got for got in self.got if got.method == method and got.target.split("?")[0] == path
        ]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    scripted: Scripted

    def __getattr__(self, name: str) -> Any:
        if name.startswith("do_"):
            return self._answer
        raise AttributeError(name)

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") == "chunked":
            parts = []
            while size := int(self.rfile.readline(), 16):
                parts.append(self.rfile.read(size + 2)[:-2])
            self.rfile.readline()
            return b"".join(parts)
        return self.rfile.read(int(self.headers.get("Content-Length", "0")))

    def _answer(self) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        got = Got(self.command, self.path, headers, self._body())
        self.scripted.got.append(got)
        missing = Laid(404, b'{"detail":"nothing laid down","status":404}')
        laid = self.scripted.answers.get((got.method, got.target.split("?")[0]), missing)
        laid = laid(got) if callable(laid) else laid
        self.send_response(laid.status)
        for name, value in laid.headers:
            self.send_header(name, value)
        if laid.chunked:
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for start in range(0, len(laid.body), 7):
                piece = laid.body[start : start + 7]
                self.wfile.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
            self.wfile.write(b"0\r\n\r\n")
            return
        named = {name.lower() for name, _ in laid.headers}
        if laid.status not in (204, 304) and "content-length" not in named:
            self.send_header("Content-Length", str(len(laid.body)))
        self.end_headers()
        if laid.status not in (204, 304):
            self.wfile.write(laid.body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextlib.contextmanager
def scripted() -> Iterator[Scripted]:
    """Run one on loopback until the block ends."""
    script = Scripted()
    handler = type("Handler", (_Handler,), {"scripted": script})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    script.url = f"http://127.0.0.1:{server.server_address[1]}"
    account = b'{"type":"organization","username":"acme","name":"Acme","github_url":null}'
    script.lay("GET", "/v1/account", Laid(body=account))
    try:
        yield script
    finally:
        server.shutdown()
        server.server_close()
