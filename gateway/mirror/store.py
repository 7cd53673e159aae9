"""Where whole files are kept: the seam between the mirror and a folder or an object store.

A store knows nothing of fetching. It is handed files that are complete and checked, and a file that
it has either is there with all its bytes or is not there at all.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from gateway.mirror.files import Finding, StoredFile, Usage


class StoredBytes(Protocol):
    """The bytes of one stored file, readable until closed even if it is deleted meanwhile."""

    async def read(self, start: int, size: int) -> bytes:
        """Return up to ``size`` bytes from ``start`` on; none at all only at the end."""

    def close(self) -> None:
        """Let the bytes go."""


@dataclass(frozen=True, slots=True)
class OpenedFile:
    """A stored file opened for reading; whoever gets it closes ``content``."""

    file: StoredFile
    content: StoredBytes


class StoreFull(Exception):
    """The store has no room for this file."""


class Store(Protocol):
    """Keeps whole files under their keys. All methods may be used by several processes at once."""

    async def start(self) -> None:
        """Make ready; raises OSError when the place cannot be used."""

    async def close(self) -> None:
        """Let everything go; files that readers hold stay readable."""

    async def get(self, key: str) -> StoredFile | None:
        """Return what is known of a file, None if it is not here."""

    async def open(self, key: str) -> OpenedFile | None:
        """Open a file for reading, None if it is not here."""

    async def put(self, file: StoredFile, path: Path) -> None:
        """Keep the bytes at ``path`` as this file, durably; replaces an earlier one whole.

        The store may move the file at ``path`` away or leave it there. Raises StoreFull, OSError.
        """

    async def delete(self, key: str) -> bool:
        """Remove a file; returns whether it was here."""

    def files(self) -> AsyncIterator[StoredFile]:
        """Yield all files, in no order; says nothing of the state of their bytes."""

    def remains(self) -> AsyncIterator[Finding]:
        """Yield what a crash can leave behind: bytes without a sidecar and the reverse."""

    def usage(self) -> Usage:
        """Return what is stored, counted along the way: cheap enough for every scrape."""

    async def recount(self) -> None:
        """Count anew what is stored, while others go on changing it; may take minutes."""
