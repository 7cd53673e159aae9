"""The states of a prediction or training, and which way they move."""

from typing import Final

TERMINAL: Final = frozenset({"succeeded", "failed", "canceled", "aborted"})
"""What nothing follows. ``aborted`` ended before it ran, for example past its ``Cancel-After``."""

_RANKS: Final = {"starting": 0, "processing": 1}


def is_terminal(status: str) -> bool:
    """Whether a prediction in this state has ended."""
    return status in TERMINAL


def status_rank(status: str) -> int:
    """0, 1 or 2: a snapshot with a lower rank than the stored one is older, whenever it came.

    A state that is new to us counts as running: it hides no ending and undoes none.
    """
    return 2 if status in TERMINAL else _RANKS.get(status, 1)
