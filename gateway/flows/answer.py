"""What a flow hands back to the web layer."""

from dataclasses import dataclass

from gateway.domain.plans import Identity
from gateway.domain.problems import Problem


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer: status, headers for the client (lower-case names), body."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes
    attempt: str | None = None
    """The create that this tells the outcome of: whether it arrives is to be noted."""


class Refused(Exception):
    """The gateway's own "no", as the contract words it."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.title)
        self.problem = problem


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, and in which form URLs are understood on the other side."""

    identity: Identity
    origin: str
    """The gateway's origin in this client's eyes; URLs in answers begin with it."""
    own_origins: frozenset[str]
    """Every origin that, in this client's requests, means this gateway."""
    aborted_as: str
    """How this client reads `aborted`: "aborted" or "canceled"."""
