"""A request of the API whose operation and sender are known."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from starlette.types import Receive, Scope

from gateway.flows.answer import Answer, Caller
from gateway.upstream.operations import Match


@dataclass(frozen=True, slots=True)
class Asking:
    """One request whose operation and sender are known."""

    match: Match
    caller: Caller
    contact: str
    scope: Scope
    receive: Receive


Handler = Callable[[Asking], Awaitable[Answer]]
