"""Faults on purpose: what to break, where, and how often."""

import threading
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from fnmatch import fnmatchcase

from gateway.simulator.wire import Json


class FaultKind(StrEnum):
    """The ways in which an upstream fails."""

    SLOW = "slow"
    """Answer after `seconds`."""
    HANG = "hang"
    """Never answer (until the client gives up)."""
    RESET_BEFORE = "reset_before"
    """Break the connection; nothing was done."""
    RESET_AFTER = "reset_after"
    """Break the connection after the work was done: the answer is lost."""
    TRUNCATE = "truncate"
    """Half of the body (or `after_bytes`), then the end of the connection."""
    RESET_MIDWAY = "reset_midway"
    """Half of the body (or `after_bytes`), then a reset."""
    SERVER_ERROR = "server_error"
    """`status` (500) with the service's own JSON error; nothing was done."""
    BARE_ERROR = "bare_error"
    """`status` (502) with a proxy's HTML page; nothing was done."""
    ERROR_AFTER = "error_after"
    """`status` (502) with a proxy's HTML page after the work was done."""
    THROTTLE = "throttle"
    """429 with `retry_after`."""
    GARBAGE = "garbage"
    """200 with HTML where JSON is due; nothing was done."""
    WRONG_LENGTH = "wrong_length"
    """A body longer by `after_bytes` (16) than its Content-Length says."""
    NO_LENGTH = "no_length"
    """The right body without a Content-Length."""
    STREAM_CUT = "stream_cut"
    """A stream that breaks off after `after_events`."""
    TOKEN_REFUSED = "token_refused"  # noqa: S105 - a name, not a token
    """401 although the token is right."""
    NO_CREDIT = "no_credit"
    """402."""
    NOT_FOUND = "not_found"
    """404, as eventual consistency gives."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault.

    `match` is an operation ("predictions.create", "*.create", "delivery.get", "streams.read"), a
    path ("/v1/predictions/*"), a method and a path ("POST /v1/*"), or "*"; it may contain `*`
    anywhere. `contains` must stand in the request's body. The first `skip` requests that match
    are spared, the next `times` (None: all) are hit.
    """

    kind: FaultKind | str
    match: str = "*"
    times: int | None = 1
    skip: int = 0
    origin: str | None = None
    contains: str = ""
    seconds: float = 1.0
    status: int = 0
    retry_after: int = 7
    after_bytes: int | None = None
    after_events: int = 1

    def __post_init__(self) -> None:
        FaultKind(self.kind)

    def hits(self, origin: str, method: str, path: str, operation: str, body: bytes) -> bool:
        """Return whether this request is one that the fault is for."""
        if self.origin is not None and self.origin != origin:
            return False
        if self.contains and self.contains.encode() not in body:
            return False
        subject = operation
        if self.match.startswith("/"):
            subject = path
        elif " " in self.match:
            subject = f"{method} {path}"
        return fnmatchcase(subject, self.match)

    def as_json(self) -> dict[str, Json]:
        """Return this fault for the control origin."""
        return {**asdict(self), "kind": str(self.kind)}

    @classmethod
    def from_json(cls, value: Mapping[str, Json]) -> "Fault":
        """Read what `as_json` wrote; fields may be left out. Raises TypeError, ValueError."""
        return cls(**value)  # type: ignore[arg-type]  # a wrong type shows as the fault's own error


class Faults:
    """The faults in force. Safe to change and to read from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._armed: list[Fault] = []
        self._hit: list[tuple[Fault, str]] = []

    def add(self, fault: Fault) -> None:
        """Put a fault in force, after those that are already."""
        with self._lock:
            self._armed.append(fault)

    def replace(self, faults: Iterable[Fault]) -> None:
        """Put exactly these faults in force."""
        with self._lock:
            self._armed = list(faults)

    def clear(self) -> None:
        """Lift all faults."""
        with self._lock:
            self._armed.clear()
            self._hit.clear()

    def armed(self) -> list[Fault]:
        """Return what is in force, with the times that are left."""
        with self._lock:
            return list(self._armed)

    def hits(self, kind: FaultKind | str | None = None) -> int:
        """Count the requests that were hit."""
        with self._lock:
            return sum(1 for fault, _ in self._hit if kind is None or fault.kind == kind)

    def take(
        self, origin: str, method: str, path: str, operation: str, body: bytes
    ) -> Fault | None:
        """Return the fault that hits this request, and use it up by one."""
        if not self._armed:
            return None
        with self._lock:
            for index, fault in enumerate(self._armed):
                if not fault.hits(origin, method, path, operation, body):
                    continue
                if fault.skip > 0:
                    self._armed[index] = replace(fault, skip=fault.skip - 1)
                    continue
                if fault.times is not None:
                    if fault.times <= 1:
                        del self._armed[index]
                    else:
                        self._armed[index] = replace(fault, times=fault.times - 1)
                self._hit.append((fault, path))
                return fault
        return None
