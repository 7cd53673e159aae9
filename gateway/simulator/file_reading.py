"""Bytes for answers: pieces of files, and the ranges that clients ask for."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

from gateway.simulator.blobs import PIECE_BYTES


class UnsatisfiableRange(ValueError):
    """The range begins behind the end."""


async def file_pieces(path: Path, start: int, stop: int) -> AsyncIterator[bytes]:
    """Yield a part of a file."""
    with path.open("rb") as source:
        source.seek(start)
        left = stop - start
        while left > 0:
            piece = await asyncio.to_thread(source.read, min(PIECE_BYTES, left))
            if not piece:
                return
            left -= len(piece)
            yield piece


def parse_range(header: str | None, size: int) -> tuple[int, int] | None:
    """Return start and stop of a single byte range, or None where the whole is to be sent.

    Raises UnsatisfiableRange.
    """
    unit, _, text = (header or "").partition("=")
    first, dash, last = text.strip().partition("-")
    if unit.strip() != "bytes" or not dash or "," in text:
        return None
    if not (first + last).isdigit():
        return None
    if not first:
        if int(last) == 0:
            raise UnsatisfiableRange
        return max(0, size - int(last)), size
    start, stop = int(first), min(size, int(last) + 1 if last else size)
    if start >= size:
        raise UnsatisfiableRange
    return (start, stop) if start < stop else None
