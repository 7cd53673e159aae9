"""The only source of time and randomness.

Everything that asks what time it is, waits, or needs an unguessable name gets a :class:`Clock`.
Tests and the simulator hand in one whose hands they move themselves; so an hour's expiry is a test
of microseconds, and a race is replayed rather than waited for.
"""

import asyncio
import random
import secrets
import time
from typing import Protocol

_ID_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"


class Clock(Protocol):
    """Time, waiting and randomness, as one seam."""

    def now(self) -> float:
        """Return the wall time in seconds since 1970 (UTC). Comparable between processes."""

    def monotonic(self) -> float:
        """Return seconds on a clock that never goes back. Comparable within one process only."""

    async def sleep(self, seconds: float) -> None:
        """Return after this many seconds have passed on this clock."""

    def random(self) -> float:
        """Return a number in [0, 1), for jitter: never for secrets."""

    def new_id(self) -> str:
        """Return a fresh 26-character lower-case name, unguessable and fit for URLs."""

    def secret(self, size: int) -> bytes:
        """Return this many bytes fit for keys."""


class SystemClock:
    """The machine's own clock."""

    def now(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(max(0.0, seconds))

    def random(self) -> float:
        return random.random()

    def new_id(self) -> str:
        return "".join(_ID_ALPHABET[byte & 31] for byte in secrets.token_bytes(26))

    def secret(self, size: int) -> bytes:
        return secrets.token_bytes(size)
