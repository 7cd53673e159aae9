"""Twenty readers of a large file that is still arriving; prints how many MB the memory grew."""

import asyncio
import hashlib
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from gateway.clock import SystemClock
from gateway.mirror import Mirror
from tests.mirror.process import spawn
from tests.mirror.sources import Answer

PIECES, PIECE = 100, 1 << 20


class Flood(Answer):
    async def chunks(self) -> AsyncIterator[bytes]:
        for number in range(PIECES):
            yield hashlib.shake_128(str(number).encode()).digest(PIECE)
            await asyncio.sleep(0)


class FloodSource:
    @asynccontextmanager
    async def fetch(
        self, url: str, *, start: int = 0, etag: str | None = None
    ) -> AsyncIterator[Flood]:
        yield Flood(status=200, body=b"", content_length=PIECES * PIECE, etag=None)


def resident_mb() -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    (line,) = [line for line in lines if line.startswith("VmRSS")]
    return int(line.split()[1]) / 1024


async def main(home: Path) -> None:
    async with Mirror(home, FloodSource(), SystemClock(), 1 << 40, spawn) as mirror:
        before = most = resident_mb()

        async def read() -> int:
            nonlocal most
            reading = await mirror.open("https://replicate.delivery/film.mp4")
            got = 0
            async for chunk in reading.chunks():
                got += len(chunk)
                most = max(most, resident_mb())
            await reading.aclose()
            return got

        counts = await asyncio.gather(*(read() for _ in range(20)))
        assert counts == [PIECES * PIECE] * 20
        sys.stdout.write(f"{most - before:.1f}\n")


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
