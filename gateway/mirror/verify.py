"""Compares what a store says with what it holds."""

import hashlib
from collections.abc import AsyncIterator

from gateway.mirror.files import Finding, Problem, StoredFile
from gateway.mirror.store import Store

_PIECE = 1 << 20


async def verify(store: Store) -> AsyncIterator[Finding]:
    """Yield a finding for every file, good ones included, then for what a crash left behind."""
    async for file in store.files():
        yield Finding(file.key, await _problem(store, file), file)
    async for finding in store.remains():
        yield finding


async def _problem(store: Store, file: StoredFile) -> Problem | None:
    opened = await store.open(file.key)
    if opened is None:
        # Gone since it was listed, without bytes, or with too few or too many of them.
        return Problem.BYTES_MISSING
    digest, size = hashlib.sha256(), 0
    try:
        while piece := await opened.content.read(size, _PIECE):
            digest.update(piece)
            size += len(piece)
    finally:
        opened.content.close()
    if size != opened.file.size:
        return Problem.SIZE_DIFFERS
    return None if digest.hexdigest() == opened.file.sha256 else Problem.DIGEST_DIFFERS
