"""One request for a page, and what a page answers."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from gateway.dashboard.session import Session
from gateway.domain.plans import Identity, Policy
from gateway.flows.answer import Answer, Caller


@dataclass(frozen=True, slots=True)
class Visit:
    """A visitor who has signed in, and what they asked for."""

    identity: Identity
    session: Session
    origin: str
    own_origins: frozenset[str]
    client: str
    """The address that it comes from, for the audit."""
    policy: Policy
    now: float
    path: Mapping[str, str]
    query: Mapping[str, str]
    form: Mapping[str, str]

    @property
    def caller(self) -> Caller:
        """The visitor as the flows know them."""
        return Caller(self.identity, self.origin, self.own_origins, "aborted")


@dataclass(frozen=True, slots=True)
class Page:
    """A template and what it shows."""

    template: str
    values: Mapping[str, object] = field(default_factory=dict)
    status: int = 200


@dataclass(frozen=True, slots=True)
class Redirect:
    """Another address, to be fetched with GET."""

    to: str
    headers: tuple[tuple[str, str], ...] = ()


Reply = Page | Redirect | Answer
Handler = Callable[[Visit], Awaitable[Reply]]


@dataclass(frozen=True, slots=True)
class Place:
    """One method of one address below the prefix; `admin` ones are for that role only."""

    method: str
    path: str
    handler: Handler
    admin: bool = False
