"""Where output files come from, as the mirror sees it.

The mirror does not speak HTTP. Whoever does (the upstream room, a test) offers these shapes.
Neither imports the other; the exceptions that mean "no" stand in the domain, below both.
"""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from gateway.domain.sources import SourceRefused
from gateway.mirror.errors import OutputGone, OutputUnreachable

_GONE = frozenset({404, 410})


class SourceResponse(Protocol):
    """One answer of upstream to a GET, its body not yet read.

    The body must be the file's own bytes (asked for with ``Accept-Encoding: identity``): its length
    is compared with ``content_length``, and a resumed one is joined to what is already here.
    """

    @property
    def status(self) -> int:
        """200 for the whole file, 206 for the part from ``start`` on; others mean a refusal."""

    @property
    def content_type(self) -> str | None:
        """Return ``Content-Type`` as upstream wrote it."""

    @property
    def content_length(self) -> int | None:
        """Return the number of bytes of *this* body (of a 206: of the rest), None if not told."""

    @property
    def etag(self) -> str | None:
        """Return ``ETag`` as upstream wrote it, quotes and ``W/`` included."""

    @property
    def last_modified(self) -> str | None:
        """Return ``Last-Modified`` as upstream wrote it."""

    @property
    def accept_ranges(self) -> bool:
        """Return whether upstream said ``Accept-Ranges: bytes``."""

    def chunks(self) -> AsyncIterator[bytes]:
        """Yield the body as it arrives; raises the source's own fault when it breaks off."""


class Source(Protocol):
    """Fetches one file. Opening raises, or returns a response whose status says the refusal."""

    def fetch(
        self, url: str, *, start: int = 0, etag: str | None = None
    ) -> AbstractAsyncContextManager[SourceResponse]:
        """Ask for the file, or for its rest (``Range: bytes=start-`` with ``If-Range: etag``)."""


def status_of(fault: Exception) -> int | None:
    """Return the status with which upstream refused, None when it did not answer at all."""
    return fault.status if isinstance(fault, SourceRefused) else None


def told(fault: Exception) -> OutputGone | OutputUnreachable:
    """Return what a fault of the source means to somebody who wants the file."""
    status = status_of(fault)
    if status in _GONE:
        return OutputGone("upstream no longer has the file")
    if status is not None:
        return OutputUnreachable(f"upstream answered {status}", status)
    return OutputUnreachable("upstream cannot be reached")
