"""How far long work has come, for people who watch it.

A module of its own, so that commands that only read the ledger load nothing of the services.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console


@contextmanager
def progress(doing: str) -> Iterator[Callable[[str, int], None]]:
    """Show on a terminal how far long work has come; elsewhere say nothing until it is done."""
    console = Console(stderr=True)
    counts: dict[str, int] = {}
    if not sys.stderr.isatty():
        yield lambda kind, count: None
        return
    with console.status(doing) as status:

        def told(kind: str, count: int) -> None:
            counts[kind] = counts.get(kind, 0) + count
            done = ", ".join(f"{number:,} {name}" for name, number in counts.items())
            status.update(f"{doing} {done}")

        yield told
