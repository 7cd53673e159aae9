"""Everything that the origins received, for tests to count and to read."""

import hashlib
import threading
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from gateway.simulator.wire import Json

KEEP_BODY_BYTES = 64 * 1024
_KEEP_ALL_BODIES_BYTES = 32 * 1024 * 1024


@dataclass(slots=True)
class LoggedRequest:
    """One request. `status` is None until it is answered and 0 if the connection was broken."""

    at: float
    origin: str
    method: str
    path: str
    query: str
    headers: tuple[tuple[str, str], ...]
    operation: str = ""
    status: int | None = None
    body: bytes = b""
    body_size: int = 0
    body_sha256: str = ""
    fault: str = ""
    internal: bool = False
    sent_bytes: int = 0
    """Body bytes of the answer that were handed to the socket."""

    def header(self, name: str) -> str | None:
        """Return the first header of this name."""
        wanted = name.lower()
        return next((value for key, value in self.headers if key == wanted), None)

    @property
    def authorization(self) -> str | None:
        """Return the credentials that came along, if any."""
        return self.header("authorization")

    def keep_body(self, body: bytes, size: int | None = None, sha256: str | None = None) -> None:
        """Remember the body: its beginning, its length and its digest."""
        self.body = body[:KEEP_BODY_BYTES]
        self.body_size = len(body) if size is None else size
        if self.body_size:
            self.body_sha256 = sha256 or hashlib.sha256(body).hexdigest()

    def as_json(self) -> dict[str, Json]:
        """Return this entry for the control origin."""
        return {
            "at": self.at,
            "origin": self.origin,
            "method": self.method,
            "path": self.path,
            "query": self.query,
            "headers": [list(pair) for pair in self.headers],
            "operation": self.operation,
            "status": self.status,
            "body": self.body.decode("utf-8", "replace"),
            "body_size": self.body_size,
            "body_sha256": self.body_sha256,
            "fault": self.fault,
            "internal": self.internal,
            "sent_bytes": self.sent_bytes,
        }


@dataclass(slots=True)
class RequestLog:
    """The latest requests of all origins, oldest first. Safe to read from any thread.

    Requests that the simulation sends to itself (a model that fetches its input) are `internal`
    and left out of every query unless asked for.
    """

    keep: int = 20_000
    _entries: deque[LoggedRequest] = field(default_factory=deque)
    _body_bytes: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, entry: LoggedRequest) -> None:
        """Append an entry; the oldest make room."""
        with self._lock:
            self._entries.append(entry)
            if len(self._entries) > self.keep:
                self._body_bytes -= len(self._entries.popleft().body)

    def keep_body(
        self, entry: LoggedRequest, body: bytes, size: int | None = None, sha256: str | None = None
    ) -> None:
        """Remember a request's body while all bodies together stay small."""
        entry.keep_body(body, size, sha256)
        with self._lock:
            self._body_bytes += len(entry.body)
            if self._body_bytes > _KEEP_ALL_BODIES_BYTES:
                self._forget_bodies()

    def _forget_bodies(self) -> None:
        for entry in self._entries:
            if self._body_bytes <= _KEEP_ALL_BODIES_BYTES // 2:
                return
            self._body_bytes -= len(entry.body)
            entry.body = b""

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._entries.clear()
            self._body_bytes = 0

    def entries(
        self,
        *,
        origin: str | None = None,
        method: str | None = None,
        path: str | None = None,
        path_prefix: str | None = None,
        operation: str | None = None,
        status: int | None = None,
        internal: bool | None = False,
    ) -> list[LoggedRequest]:
        """Return the entries that match everything given; `internal=None` means either."""
        with self._lock:
            entries: Iterable[LoggedRequest] = list(self._entries)
        wanted = {
            "origin": origin,
            "method": method,
            "path": path,
            "operation": operation,
            "status": status,
            "internal": internal,
        }
        for name, value in wanted.items():
            if value is not None:
                entries = [entry for entry in entries if getattr(entry, name) == value]
        if path_prefix is not None:
            entries = [entry for entry in entries if entry.path.startswith(path_prefix)]
        return list(entries)

    def count(
        self,
        *,
        origin: str | None = None,
        method: str | None = None,
        path: str | None = None,
        path_prefix: str | None = None,
        operation: str | None = None,
        status: int | None = None,
        internal: bool | None = False,
    ) -> int:
        """Count the entries that `entries` would return."""
        return len(
            self.entries(
                origin=origin,
                method=method,
                path=path,
                path_prefix=path_prefix,
                operation=operation,
                status=status,
                internal=internal,
            )
        )
