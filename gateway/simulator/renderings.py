"""Finished files of small models, kept for a while so that each is made once."""

import asyncio
import hashlib
from collections import OrderedDict
from dataclasses import dataclass

from gateway.simulator.scripts import OutputFile

_KEEP_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Rendering:
    """A file's bytes and the MD5 that its ETag is made of."""

    content: bytes
    md5: str


class Renderings:
    """The latest files by name; one that was dropped is made again, byte for byte the same."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, Rendering] = OrderedDict()
        self._kept_bytes = 0
        self._making = asyncio.Lock()

    async def get(self, key: str, file: OutputFile) -> Rendering:
        """Return a file's bytes; the first time they are made in a thread."""
        if (kept := self._kept.get(key)) is not None:
            self._kept.move_to_end(key)
            return kept
        async with self._making:
            if (kept := self._kept.get(key)) is not None:
                return kept
            content = b"" if file.render is None else await asyncio.to_thread(file.render)
            made = Rendering(content, hashlib.md5(content, usedforsecurity=False).hexdigest())
            self._kept[key] = made
            self._kept_bytes += len(content)
            while self._kept_bytes > _KEEP_BYTES and len(self._kept) > 1:
                self._kept_bytes -= len(self._kept.popitem(last=False)[1].content)
        return made
