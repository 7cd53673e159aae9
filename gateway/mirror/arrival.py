"""A file on its way, as this process sees it: one object that all its readers look at.

Whoever moves it along (the fetch itself, or the look at another process's fetch) tells it; whoever
reads waits on it. Nobody polls.
"""

import asyncio

from gateway.mirror.disk import OpenFile
from gateway.mirror.errors import OutputError
from gateway.mirror.files import FileHeaders, StoredFile, Unstored

Outcome = StoredFile | Unstored | OutputError


class Arrival:
    """How far one file is. Lives on the event loop; nothing here blocks."""

    def __init__(self, key: str, url: str) -> None:
        self.key = key
        self.url = url
        self.file: OpenFile | None = None
        self.headers: FileHeaders | None = None
        self.written = 0
        self.whole = False
        # Counts the beginnings: bytes of one are never mixed with bytes of another.
        self.beginning = 0
        self.outcome: Outcome | None = None
        self.waiting = 0  # readers and others who want it; a look-on without any ends
        self._change = asyncio.Event()

    def announce(self, file: OpenFile, headers: FileHeaders) -> None:
        """Show the headers and where the bytes are; the file stays the caller's to close."""
        if self.file is None or self.file.inode != file.inode:
            self.begin_again()
            self.file = file.share()
        self.headers = headers
        self._wake()

    def begin_again(self) -> None:
        """Forget the bytes so far: others will come."""
        if self.file is not None:
            self.file.close()
            self.file = None
            self.beginning += 1
        self.headers = None
        self.written = 0
        self.whole = False
        self._wake()

    def grow(self, written: int) -> None:
        """Show that this many bytes are here."""
        if written > self.written:
            self.written = written
            self._wake()

    def complete(self) -> None:
        """Show that the bytes so far are all there are, and that their number is right."""
        self.whole = True
        self._wake()

    def end(self, outcome: Outcome) -> None:
        """Show what became of it; the first word counts."""
        if self.outcome is None:
            self.outcome = outcome
            self.whole = self.whole or isinstance(outcome, StoredFile)
            self._let_go()
            self._wake()

    def join(self) -> None:
        """Count one more who wants the file, and who will `leave`."""
        self.waiting += 1

    def leave(self) -> None:
        """Count one less; readers have their own share of the file."""
        self.waiting -= 1
        self._let_go()

    def _let_go(self) -> None:
        if self.outcome is not None and self.waiting == 0 and self.file is not None:
            self.file.close()
            self.file = None

    @property
    def readable(self) -> int:
        """Return how many bytes may be given to readers.

        The last byte of a file of known length is kept back until the end was checked: with it a
        reader would take the file for complete.
        """
        if self.whole or self.headers is None or self.headers.size is None:
            return self.written
        return min(self.written, self.headers.size - 1)

    async def changed(self) -> None:
        """Return at the next change. Whoever calls has just looked, without awaiting since."""
        await self._change.wait()

    async def announced(self) -> None:
        """Return when the headers are here, or will not come."""
        while self.headers is None and self.outcome is None:
            await self.changed()

    async def ended(self) -> Outcome:
        """Return what became of it."""
        while self.outcome is None:
            await self.changed()
        return self.outcome

    def _wake(self) -> None:
        self._change.set()
        self._change = asyncio.Event()
