"""What the room reports about itself; whoever assembles the gateway ties it to metrics."""

from collections.abc import Callable
from dataclasses import dataclass


def _nothing(*_: object) -> None:
    """Report to nobody."""


@dataclass(frozen=True, slots=True)
class Hooks:
    """Callables that must return at once and must not raise."""

    on_request: Callable[[str, str, float], None] = _nothing
    """(operation's name, status, seconds to the answer's head); one call per attempt. Without an
    answer the status is ``unreachable``, ``broken``, ``timeout`` or ``cancelled``."""

    on_token_refused: Callable[[int], None] = _nothing
    """(status of an answer that does not accept the gateway's own token: 401 or 403)."""

    on_ratelimit: Callable[[str, int], None] = _nothing
    """(``create`` or ``request``, what upstream says is left of the account's allowance)."""

    on_queue_depth: Callable[[int], None] = _nothing
    """(number of creates waiting in line in this process)."""
