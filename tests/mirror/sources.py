"""Fake upstreams: one that behaves, and faults as small classes around it."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from gateway.mirror import SourceRefused, SourceUnreachable


def made_bytes(size: int, seed: str = "") -> bytes:
    """Return bytes in which no two stretches are alike, so that a misplaced one shows."""
    return hashlib.shake_128(f"{seed}/{size}".encode()).digest(size)


def _open_gate() -> asyncio.Event:
    gate = asyncio.Event()
    gate.set()
    return gate


@dataclass
class Answer:
    """One response; `cut_at` breaks it off after so many bytes of its body."""

    status: int
    body: bytes
    content_length: int | None
    etag: str | None
    content_type: str | None = "image/png"
    last_modified: str | None = "Sun, 15 Jun 2025 15:06:40 GMT"
    accept_ranges: bool = True
    chunk_size: int = 64 << 10
    cut_at: int | None = None
    end: asyncio.Event | None = None
    gate: asyncio.Event = field(default_factory=_open_gate)
    gate_at: int = 0

    async def chunks(self) -> AsyncIterator[bytes]:
        at = 0
        while at < len(self.body):
            step = self.chunk_size
            if self.cut_at is not None:
                if at >= self.cut_at:
                    raise SourceUnreachable("the connection was reset")
                step = min(step, self.cut_at - at)
            if at >= self.gate_at:
                await self.gate.wait()
            else:
                step = min(step, self.gate_at - at)
            chunk = self.body[at : at + step]
            at += len(chunk)
            yield chunk
            await asyncio.sleep(0)
        if self.end is not None:
            await self.end.wait()


@dataclass
class FakeSource:
    """One file that upstream has, and a log of who asked for what.

    `script` changes the answers, first to last: each takes the honest answer and returns another
    one or raises; when it is used up, answers are honest.
    """

    body: bytes
    etag: str | None = '"v1"'
    lengths: bool = True
    ranges: bool = True
    chunk_size: int = 64 << 10
    script: list[Callable[[Answer], Answer]] = field(default_factory=list)
    asked: list[tuple[int, str | None]] = field(default_factory=list)
    open_now: int = 0
    gate: asyncio.Event = field(default_factory=_open_gate)
    gate_at: int = 0

    @asynccontextmanager
    async def fetch(
        self, url: str, *, start: int = 0, etag: str | None = None
    ) -> AsyncIterator[Answer]:
        self.asked.append((start, etag))
        partial = start > 0 and self.ranges and etag == self.etag
        if partial and start >= len(self.body):
            raise SourceRefused(416)
        body = self.body[start:] if partial else self.body
        answer = Answer(
            status=206 if partial else 200,
            body=body,
            content_length=len(body) if self.lengths else None,
            etag=self.etag,
            accept_ranges=self.ranges,
            chunk_size=self.chunk_size,
            gate=self.gate,
            gate_at=self.gate_at,
        )
        if self.script:
            answer = self.script.pop(0)(answer)
        self.open_now += 1
        try:
            await asyncio.sleep(0)
            yield answer
        finally:
            self.open_now -= 1


def cut(at: int) -> Callable[[Answer], Answer]:
    """Break the connection off after so many bytes of the body."""

    def change(answer: Answer) -> Answer:
        answer.cut_at = at
        return answer

    return change


def truncated(to: int) -> Callable[[Answer], Answer]:
    """End the body early as if it were all."""

    def change(answer: Answer) -> Answer:
        answer.body = answer.body[:to]
        return answer

    return change


def ending_at(end: asyncio.Event) -> Callable[[Answer], Answer]:
    """Leave it open, after the last byte, whether there will be more."""

    def change(answer: Answer) -> Answer:
        answer.end = end
        return answer

    return change


def longer(by: bytes) -> Callable[[Answer], Answer]:
    """Go on after the announced length."""

    def change(answer: Answer) -> Answer:
        answer.body += by
        return answer

    return change


def refused(status: int) -> Callable[[Answer], Answer]:
    """Answer with an error."""

    def change(answer: Answer) -> Answer:
        raise SourceRefused(status)

    return change


def unreachable(answer: Answer) -> Answer:
    """Do not answer at all."""
    raise SourceUnreachable("no route to host")
