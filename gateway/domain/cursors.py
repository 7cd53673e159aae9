"""Cursors of lists: where a page begins, as an opaque word in its URL."""

import base64
import binascii
import math
import re
import struct
from dataclasses import dataclass

# What ids are made of. A database need not be asked about anything else, and one of them refuses
# to be asked about a text with a zero byte in it.
_ID = re.compile(r"[A-Za-z0-9_-]{1,200}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Cursor:
    """A place in a list that is ordered by time and then id, newest first."""

    created_at: float
    id: str
    backwards: bool = False
    """Whether the page is what comes before this place (newer), instead of after it (older)."""


def encode_cursor(cursor: Cursor) -> str:
    """Write a cursor fit for a URL."""
    head = struct.pack(">?d", cursor.backwards, cursor.created_at)
    return base64.urlsafe_b64encode(head + cursor.id.encode()).decode().rstrip("=")


def decode_cursor(text: str) -> Cursor:
    """Read what :func:`encode_cursor` wrote; raises ValueError for anything else."""
    try:
        raw = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
        backwards, created_at = struct.unpack(">?d", raw[:9])
        name = raw[9:].decode("ascii")
    except (binascii.Error, struct.error, UnicodeError) as error:
        raise ValueError("not a cursor of this list") from error
    if (
        not _ID.fullmatch(name)
        or not math.isfinite(created_at)
        or encode_cursor(Cursor(created_at, name, backwards)) != text
    ):
        raise ValueError("not a cursor of this list")
    return Cursor(created_at, name, backwards)
