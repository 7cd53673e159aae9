"""Brings one file to its last byte, through broken connections, into a part that is held here."""

import logging
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass, replace

from gateway.clock import Clock
from gateway.domain.sources import SourceRefused
from gateway.mirror.arrival import Arrival
from gateway.mirror.disk import Disk
from gateway.mirror.errors import OutputBroken, OutputError
from gateway.mirror.files import FileHeaders, MirrorEvents, NotKept, Unstored
from gateway.mirror.rest import Changed, Rest, open_rest
from gateway.mirror.source import Source, status_of, told
from gateway.mirror.spool import Part
from gateway.mirror.writer import PartWriter

_log = logging.getLogger(__name__)

_WORTH_REPEATING = frozenset({408, 425, 429})
# Attempts in a row that brought no byte; and in all, for a source that brings one byte at a time.
_FRUITLESS_ATTEMPTS = 4
_ALL_ATTEMPTS = 40
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.25, 8.0


class TooShort(Exception):
    """The body ended before the length that was announced."""


class TooLong(Exception):
    """The body went on after the length that was announced."""


class NotKeepable(Exception):
    """The file must not or cannot be kept; it can still be passed on."""

    def __init__(self, reason: NotKept, size: int | None) -> None:
        super().__init__(reason)
        self.outcome = Unstored(reason, size)


@dataclass(frozen=True, slots=True)
class Limits:
    """What may be kept. ``room`` is asked with a size in bytes and answers whether it fits."""

    max_file_bytes: int
    room: Callable[[int], bool]

    def check(self, headers: FileHeaders, at_least: int) -> None:
        """Raise NotKeepable when a file like this, or one that is this long, is not to be kept."""
        expected = at_least if headers.size is None else headers.size
        if expected > self.max_file_bytes:
            raise NotKeepable(NotKept.TOO_LARGE, headers.size)
        if not self.room(expected):
            raise NotKeepable(NotKept.NO_ROOM, headers.size)


class Downloader:
    """Fetches files, one call each; what it needs from outside is named in the constructor."""

    def __init__(
        self,
        source: Source,
        faults: tuple[type[Exception], ...],
        disk: Disk,
        clock: Clock,
        limits: Limits,
        events: MirrorEvents,
    ) -> None:
        self._source = source
        self._faults: tuple[type[Exception], ...] = (
            *faults,
            SourceRefused,
            TooShort,
            TooLong,
            Changed,
        )
        self._disk = disk
        self._clock = clock
        self._limits = limits
        self._events = events

    async def fetch(self, arrival: Arrival, part: Part) -> None:
        """Bring the part to its last byte, telling the arrival; the lock is the caller's.

        Raises OutputGone, OutputUnreachable, OutputBroken (bytes came, but never all of them),
        NotKeepable, and what `Part.write` raises.
        """
        if part.headers is not None and part.trusted and part.size == part.headers.size:
            # An earlier fetcher got all of it and ended before it could be stored.
            arrival.announce(part.file, part.headers)
            arrival.grow(part.size)
            arrival.complete()
            return
        fruitless = 0
        for _ in range(_ALL_ATTEMPTS):
            before = part.size
            try:
                await self._attempt(arrival, part)
            except self._faults as fault:
                self._give_up_if_final(fault)
                if isinstance(fault, Changed | TooLong):
                    await self._disk.run(part.begin_again)
                    arrival.begin_again()
                fruitless = 0 if part.size > before else fruitless + 1
                _log.info(
                    "fetch of %s broke off at byte %d: %r", arrival.key[:12], part.size, fault
                )
                if fruitless >= _FRUITLESS_ATTEMPTS:
                    raise _last_word(fault, part) from fault
                await self._pause(fruitless)
            else:
                return
        raise OutputBroken("upstream broke off too often")

    async def _attempt(self, arrival: Arrival, part: Part) -> None:
        async with open_rest(
            self._source,
            arrival.url,
            start=part.size,
            headers=part.headers,
            known=part.file,
        ) as rest:
            headers = part.headers
            if headers is None or (headers.size is None and rest.headers.size is not None):
                headers = rest.headers
            self._limits.check(headers, part.size)
            if headers is not part.headers:
                await self._disk.run(part.describe, headers)
            arrival.announce(part.file, headers)
            arrival.grow(part.size)
            writer = PartWriter(self._disk, part, arrival.grow)
            try:
                await self._receive(rest, writer, headers, part.size)
                await writer.drain()
            finally:
                await writer.settle()
        if headers.size is None:
            # Now it is known; other processes see by it that nothing more will come.
            told = replace(headers, size=part.size)
            await self._disk.run(part.describe, told)
            arrival.announce(part.file, told)
        elif part.size < headers.size:
            raise TooShort
        arrival.complete()

    async def _receive(self, rest: Rest, writer: PartWriter, headers: FileHeaders, at: int) -> None:
        async with aclosing(rest.chunks()) as chunks:
            async for chunk in chunks:
                at += len(chunk)
                self._events.on_bytes(len(chunk))
                if headers.size is None:
                    self._limits.check(headers, at)
                elif at > headers.size:
                    raise TooLong
                await writer.write(chunk)

    @staticmethod
    def _give_up_if_final(fault: Exception) -> None:
        status = status_of(fault)
        if status is not None and status < 500 and status not in _WORTH_REPEATING:
            raise told(fault) from fault

    async def _pause(self, fruitless: int) -> None:
        longest = min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * 2**fruitless)
        await self._clock.sleep(longest * (0.5 + self._clock.random() / 2))


def _last_word(fault: Exception, part: Part) -> OutputError:
    if part.size or isinstance(fault, TooShort | TooLong | Changed):
        return OutputBroken("upstream broke off")
    return told(fault)
