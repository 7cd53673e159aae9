"""One worker process of a machine, for tests: reads a file through a mirror and says what it got.

Upstream is a gate in the file system: ``gate`` holds how many bytes may pass, ``asked`` gets a line
for each request. Lines on stdout: ``open``, ``got N`` for each piece, ``sha DIGEST`` at the end.
"""

import asyncio
import contextlib
import hashlib
import json
import sys
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from gateway.clock import SystemClock
from gateway.mirror import Mirror, OutputError
from tests.mirror.sources import Answer, made_bytes

URL = "https://replicate.delivery/xezq/abc/out-0.png"
SIZE = 2_000_000


class GatedSource:
    def __init__(self, home: Path) -> None:
        self._home = home
        self._body = made_bytes(SIZE)

    @asynccontextmanager
    async def fetch(
        self, url: str, *, start: int = 0, etag: str | None = None
    ) -> AsyncIterator["GatedAnswer"]:
        note(self._home / "asked", json.dumps([start, etag]))
        body = self._body[start:]
        yield GatedAnswer(
            status=206 if start else 200,
            body=body,
            content_length=len(body),
            etag='"v1"',
            home=self._home,
            start=start,
        )


class GatedAnswer(Answer):
    def __init__(self, *, home: Path, start: int, **fields: Any) -> None:
        super().__init__(**fields)
        self._home = home
        self._start = start

    async def chunks(self) -> AsyncIterator[bytes]:
        at = self._start
        while at < SIZE:
            until = min(allowed(self._home), at + 100_000)
            if until > at:
                yield self.body[at - self._start : until - self._start]
                at = until
            else:
                await asyncio.sleep(0.005)


def allowed(home: Path) -> int:
    with contextlib.suppress(FileNotFoundError, ValueError):
        return int((home / "gate").read_text())
    return 0


def note(path: Path, line: str) -> None:
    with path.open("a") as file:
        file.write(line + "\n")


def spawn(work: Coroutine[object, object, None], name: str) -> "asyncio.Task[None]":
    return asyncio.get_running_loop().create_task(work, name=name)


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


async def main(home: Path, what: str) -> None:
    async with Mirror(home / "mirror", GatedSource(home), SystemClock(), 1 << 30, spawn) as mirror:
        if what == "ensure":
            say("open")
            try:
                file = await mirror.ensure(URL)
            except OutputError as fault:
                say(f"failed {type(fault).__name__}")
            else:
                say(f"stored {file.size}")
            return
        if what == "delete":
            say(f"deleted {await mirror.delete(URL)}")
            return
        reading = await mirror.open(URL)
        say("open")
        digest = hashlib.sha256()
        got = 0
        try:
            async for chunk in reading.chunks():
                digest.update(chunk)
                got += len(chunk)
                say(f"got {got}")
            say(f"sha {digest.hexdigest()}")
        except OutputError as fault:
            say(f"failed {type(fault).__name__}")
        finally:
            await reading.aclose()
        await mirror.ensure(URL)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
