"""Large files that exist only while they are sent: reproducible bytes that look random."""

import hashlib
from collections.abc import Iterator
from functools import cache

PIECE_BYTES = 256 * 1024
_POOL_BYTES = 4 * 1024 * 1024
_MARK_BYTES = 32


@cache
def _pool() -> bytes:
    """Return bytes that all blobs are cut from; making them costs a few hundredths of a second."""
    return hashlib.shake_256(b"simulated output").digest(_POOL_BYTES)


def _piece(seed: str, number: int) -> bytes:
    """Return one piece: a mark of its own, then a cut of the pool that begins somewhere else."""
    mark = hashlib.sha256(f"{seed}/{number}".encode()).digest()
    offset = int.from_bytes(mark[:4], "big") % (_POOL_BYTES - PIECE_BYTES)
    return mark + _pool()[offset : offset + PIECE_BYTES - _MARK_BYTES]


def read_blob(seed: str, start: int, stop: int) -> Iterator[bytes]:
    """Yield the bytes from `start` up to `stop` of the blob that belongs to a seed."""
    while start < stop:
        number, offset = divmod(start, PIECE_BYTES)
        piece = _piece(seed, number)[offset : offset + stop - start]
        yield piece
        start += len(piece)


def blob_digest(seed: str, size: int) -> str:
    """Return the hex SHA-256 of a whole blob, for comparing with what arrived."""
    digest = hashlib.sha256()
    for piece in read_blob(seed, 0, size):
        digest.update(piece)
    return digest.hexdigest()
