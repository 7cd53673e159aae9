"""What is known of the request at hand: one small typed object instead of loose attributes."""

from dataclasses import dataclass

from starlette.types import Scope

from gateway import log

UNMATCHED = "unmatched"
"""The route of a request that no route wanted. Never its path: clients choose that."""


@dataclass(slots=True)
class Facts:
    """Made by the outermost middleware; handlers fill in what only they know.

    The first block is fixed when the request arrives. `status` is 0 until a response has begun.
    """

    request_id: str
    method: str
    started_at: float  # on the clock's monotonic scale
    client: str  # the peer's address: a proxy's, if there is one

    route: str = UNMATCHED  # the route's template
    user: str = ""
    cache_result: str = ""  # hit, miss, stale, …
    status: int = 0
    bytes_sent: int = 0
    finished: bool = False  # the last byte of the response was handed over
    disconnected: bool = False  # the client left before that

    def identified(self, user_name: str) -> None:
        """Note whose request this is, here and for every log line from now on."""
        self.user = user_name
        log.bind_user(user_name)


def facts(scope: Scope) -> Facts:
    """Return the facts of the request with this scope; raises KeyError outside the middleware."""
    found: Facts = scope["state"]["facts"]
    return found


def keep_facts(scope: Scope, made: Facts) -> None:
    """Keep the facts where `facts` finds them."""
    scope.setdefault("state", {})["facts"] = made


def authorization(scope: Scope) -> str | None:
    """Return the `Authorization` header; None if there is none, or more than one.

    A proxy in front may have read another of them than we would.
    """
    values = [value for name, value in scope["headers"] if name == b"authorization"]
    return values[0].decode("latin-1") if len(values) == 1 else None


def header(scope: Scope, name: bytes) -> str | None:
    """Return the first header of this (lower-case) name."""
    for found, value in scope["headers"]:
        if found == name:
            text: str = value.decode("latin-1")
            return text
    return None
