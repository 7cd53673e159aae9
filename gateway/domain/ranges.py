"""Byte ranges of a request (RFC 9110, section 14), as far as file servers need them."""

import re
from dataclasses import dataclass

_RANGE = re.compile(r"bytes\s*=\s*(\d{0,18})\s*-\s*(\d{0,18})\s*")


@dataclass(frozen=True, slots=True)
class ByteRange:
    """Bytes from `start` up to but not including `end`."""

    start: int
    end: int


class Unsatisfiable(Exception):
    """The file has no byte in this range."""


@dataclass(frozen=True, slots=True)
class RangeAsked:
    """One range as it was asked for: `first-`, `first-last`, or the last bytes (`first` None)."""

    first: int | None
    last: int | None

    def of(self, size: int) -> ByteRange:
        """Return what it means for a file of `size` bytes; raises Unsatisfiable."""
        if self.first is None:
            suffix = min(self.last or 0, size)
            if suffix == 0:
                raise Unsatisfiable
            return ByteRange(size - suffix, size)
        if self.first >= size:
            raise Unsatisfiable
        return ByteRange(self.first, size if self.last is None else min(self.last + 1, size))


def parse_range(header: str | None) -> RangeAsked | None:
    """Read a `Range` header.

    None for what may be ignored and answered with the whole: no header, another unit, several
    ranges, nonsense.
    """
    match = None if header is None else _RANGE.fullmatch(header.strip().lower())
    if match is None or match[1] == match[2] == "":
        return None
    first = int(match[1]) if match[1] else None
    last = int(match[2]) if match[2] else None
    if first is not None and last is not None and last < first:
        return None
    return RangeAsked(first, last)


def still_same(if_range: str | None, etag: str | None, last_modified: str | None) -> bool:
    """Return whether a part may be sent: `If-Range` is absent or names the file as it is.

    Only a strong ETag or the exact date will do.
    """
    if if_range is None:
        return True
    if if_range.startswith("W/"):
        return False
    if if_range.startswith('"'):
        return if_range == etag
    return last_modified is not None and if_range == last_modified
