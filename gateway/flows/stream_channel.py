"""One prediction's stream in one process: read upstream if nobody else does, told to its readers.

    upstream → events → ledger (log and files, one transaction) → readers

A claim in the ledger lets one process of all read upstream; the channels of the others follow the
log that it writes, and the first of them to find the claim free reads on. Nothing is shown that is
not logged, so what one reader has seen, every later one can be given.
"""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial

from gateway.clock import Clock
from gateway.domain.sse import Event, EventParser, EventTooLarge, event_urls
from gateway.domain.stream_rest import DONE, rest_of_stream
from gateway.domain.urls import UrlMap
from gateway.flows.look import Look, PredictionVanished
from gateway.flows.spawn import Spawn
from gateway.ledger import Connection, Ledger, LedgerUnavailable, files, predictions, streams
from gateway.ledger.streams import StreamEvent
from gateway.upstream.errors import UpstreamBroken, UpstreamError
from gateway.upstream.line import Urgency
from gateway.upstream.streams import Streams

_log = logging.getLogger(__name__)

CLAIM_S = 10.0
"""How long the others wait for a process that reads upstream and is heard of no more."""

TICK_S = 1.0
HEARTBEAT_S = 15.0
RENEW_S = 3.0
FOLLOW_STEP_S = 0.1
"""How soon an event is noticed that another process has logged."""

SILENT_END_S = 10.0
"""How long a stream may stay silent after its prediction has ended before it is given up."""

FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 5.0
PAGE = 256
TAIL_BYTES = 256 * 1024


class _ClaimLost(Exception):
    """Another process reads this stream now."""


@dataclass(frozen=True, slots=True)
class Rooms:
    """What channels work with."""

    ledger: Ledger
    upstream: Streams
    look: Look
    urls: UrlMap
    clock: Clock
    spawn: Spawn
    files_wanted: Callable[[], None]
    worker_id: str
    linger_s: float


class Channel:
    """A stream with readers. `run` ends with the stream, or some time after its last reader."""

    def __init__(self, prediction_id: str, rooms: Rooms) -> None:
        self._id = prediction_id
        self._rooms = rooms
        self._readers = 0
        self._left_at = rooms.clock.monotonic()
        self._last_seq = 0
        self._tail: deque[StreamEvent] = deque()
        self._tail_bytes = 0
        self._news = asyncio.Event()
        self._beats = 0
        self._told_at = self._beat_at = rooms.clock.monotonic()
        self._claimed_at: float | None = None
        self._reading: asyncio.Task[bool] | None = None
        self._failed = False
        self.ended = False
        """Nothing more comes through this channel."""

    async def follow(self, after: int) -> AsyncGenerator[StreamEvent | None]:
        """Yield the events behind the place `after` as they come; None is a heartbeat.

        Ends after the event `done`, or when the channel is closed. Raises UpstreamBroken when the
        rest cannot be had.
        """
        self._readers += 1
        try:
            seq, beats = after, self._beats
            while True:
                news = self._news
                page = self._recent(seq)
                if page is None:
                    page = await self._rooms.ledger.read(
                        partial(streams.events_after, prediction_id=self._id, seq=seq, limit=PAGE)
                    )
                for event in page:
                    seq = event.seq
                    yield event
                    if event.event == DONE:
                        return
                if page:
                    continue
                if self.ended:
                    if self._failed:
                        raise UpstreamBroken("the stream broke off")
                    return
                if self._beats > beats:
                    yield None
                beats = self._beats
                await news.wait()
        finally:
            self._readers -= 1
            self._left_at = self._rooms.clock.monotonic()

    async def run(self) -> None:
        """Bring the stream to its readers until it is over or nobody has read it for a while."""
        spawn = self._rooms.spawn
        working = spawn(self._work(), f"stream {self._id}")
        keeping = spawn(self._keep(), f"stream {self._id}: keep")
        both = {working, keeping}
        try:
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        finally:
            # From here on nobody may join: there is no await before it is said.
            self.ended = True
            self._failed = any(
                task.done() and not task.cancelled() and task.exception() is not None
                for task in both
            )
            for task in both:
                task.cancel()
            self._tell()
            await asyncio.wait(both)

    async def _work(self) -> None:
        rooms = self._rooms
        while True:
            try:
                progress = await rooms.ledger.read(
                    partial(streams.progress, prediction_id=self._id)
                )
                if progress is None:
                    return
                self._advance(progress.last_seq)
                if progress.done_at is not None:
                    return
                until = progress.claimed_until
                free = until is None or until <= rooms.clock.now()
                if free and await self._claim() and await self._lead():
                    return
                pause = FOLLOW_STEP_S
            except LedgerUnavailable as error:
                _log.warning("stream of %s: %s", self._id, error)
                pause = TICK_S
            await rooms.clock.sleep(pause)

    async def _keep(self) -> None:
        """Renew the claim, let readers' connections be heard of; return when nobody is left."""
        rooms = self._rooms
        while True:
            await rooms.clock.sleep(TICK_S)
            now = rooms.clock.monotonic()
            leading = self._claimed_at is not None
            if self._readers == 0 and now - self._left_at >= (rooms.linger_s if leading else 0):
                return
            if now - max(self._told_at, self._beat_at) >= HEARTBEAT_S:
                self._beat_at = now
                self._beats += 1
                self._tell()
            try:
                if self._claimed_at is not None and now - self._claimed_at >= RENEW_S:
                    await self._claim()
                    await self._give_up_silence(now)
            except LedgerUnavailable as error:
                _log.warning("stream of %s: the claim was not renewed: %s", self._id, error)

    async def _give_up_silence(self, now: float) -> None:
        if self._reading is None or now - self._told_at < SILENT_END_S:
            return
        row = await self._rooms.ledger.read(partial(predictions.get, prediction_id=self._id))
        ended_at = None if row is None else row.settled_at
        if ended_at is not None and self._rooms.clock.now() - ended_at >= SILENT_END_S:
            self._reading.cancel()

    async def _claim(self) -> bool:
        rooms = self._rooms
        now = rooms.clock.now()
        claimed = await rooms.ledger.write(
            partial(
                streams.claim,
                prediction_id=self._id,
                now=now,
                until=now + CLAIM_S,
                by=rooms.worker_id,
            )
        )
        if claimed:
            self._claimed_at = rooms.clock.monotonic()
        return claimed

    async def _lead(self) -> bool:
        """Read upstream, as often as it breaks off, until the log ends with `done`.

        False if somebody else does that now.
        """
        rooms, failures = self._rooms, 0
        try:
            while True:
                before = self._last_seq
                if await self._read():
                    return True
                if self._last_seq > before:
                    failures = 0
                    continue
                if await self._finish():
                    return True
                failures += 1
                await rooms.clock.sleep(
                    min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2 ** min(failures - 1, 10))
                )
        except _ClaimLost:
            _log.info("stream of %s: another process reads on", self._id)
            return False
        finally:
            self._claimed_at = None
            await rooms.ledger.write(
                partial(streams.release, prediction_id=self._id, by=rooms.worker_id)
            )

    async def _read(self) -> bool:
        """Read from upstream once; False if that ended too early."""
        reading = self._rooms.spawn(self._read_upstream(), f"stream {self._id}: read")
        self._reading = reading
        try:
            await asyncio.wait({reading})
        finally:
            self._reading = None
            if not reading.done():
                reading.cancel()
                await asyncio.wait({reading})
        if reading.cancelled():
            _log.warning("stream of %s: silent after the prediction's end", self._id)
            return False
        return reading.result()

    async def _read_upstream(self) -> bool:
        rooms = self._rooms
        row = await rooms.ledger.read(partial(streams.get, prediction_id=self._id))
        last_id = await rooms.ledger.read(partial(streams.last_id, prediction_id=self._id))
        if row is None:
            raise _ClaimLost
        # So many events are here already, should upstream begin at the beginning again.
        repeats = self._last_seq if last_id is None else 0
        resuming = last_id is not None
        try:
            async with rooms.upstream.open_stream(row.upstream_url, last_id) as answer:
                parser = EventParser()
                async with aclosing(answer.chunks()) as chunks:
                    async for chunk in chunks:
                        events = parser.feed(chunk)
                        if repeats:
                            dropped = min(repeats, len(events))
                            events, repeats = events[dropped:], repeats - dropped
                        if resuming and events:
                            events = await self._unknown(events)
                            resuming = not events
                        if events and await self._take(events):
                            return True
            _log.info("stream of %s: upstream ended it too early", self._id)
        except (UpstreamError, EventTooLarge) as error:
            _log.info("stream of %s: %s", self._id, error)
        return False

    async def _unknown(self, events: Sequence[Event]) -> list[Event]:
        """Leave out the first events if they are in the log: upstream began too early."""
        for index, event in enumerate(events):
            if event.id is None:
                return list(events[index:])
            known = await self._rooms.ledger.read(
                partial(streams.seq_of, prediction_id=self._id, event_id=event.id)
            )
            if known is None:
                return list(events[index:])
        return []

    async def _take(self, events: Sequence[Event]) -> bool:
        """Log events, then let the readers have them; True if the last of them is the end."""
        rooms = self._rooms
        names = [event.event for event in events]
        ended = DONE in names
        if ended:
            events = events[: names.index(DONE) + 1]
        now = rooms.clock.now()
        urls = [url for event in events for url in event_urls(event, rooms.urls)]

        def log(conn: Connection) -> bool:
            rows = [(event.id, event.event, event.raw) for event in events]
            logged = streams.log(
                conn,
                self._id,
                rooms.worker_id,
                rows,
                after=self._last_seq,
                now=now,
                until=now + CLAIM_S,
                ended=ended,
            )
            if logged:
                # Before any reader has the address, so that it works from the moment it is seen.
                files.register(conn, self._id, urls, now)
            return logged

        if not await rooms.ledger.write(log):
            raise _ClaimLost
        for event in events:
            self._last_seq += 1
            self._tail.append(StreamEvent(self._last_seq, event.id, event.event, event.raw))
            self._tail_bytes += len(event.raw)
        while self._tail_bytes > TAIL_BYTES:
            self._tail_bytes -= len(self._tail.popleft().data)
        self._told_at = rooms.clock.monotonic()
        self._tell()
        if urls:
            rooms.files_wanted()
        if ended:
            rooms.spawn(self._settle(), f"stream {self._id}: settle")
        return ended

    async def _settle(self) -> None:
        """Look at the prediction whose stream has just ended."""
        try:
            row = await self._rooms.ledger.read(partial(predictions.get, prediction_id=self._id))
            if row is not None and row.settled_at is None:
                await self._rooms.look(row, force=True, urgency=Urgency.READ)
        except (PredictionVanished, LedgerUnavailable) as error:
            _log.warning("the end of stream %s settled nothing: %s", self._id, error)

    async def _finish(self) -> bool:
        """End the log from the settled prediction; False while it still runs."""
        ledger = self._rooms.ledger
        known = await ledger.read(partial(predictions.get_with_document, prediction_id=self._id))
        if known is None:
            raise _ClaimLost
        row, body = known
        try:
            if row.settled_at is None:
                looked = await self._rooms.look(row, urgency=Urgency.READ)
                row, body = looked.row, looked.body
            if row.settled_at is None:
                return False
            outputs, last_id, error_told = await self._logged()
            events = rest_of_stream(body, outputs, last_id, error_told=error_told)
        except PredictionVanished as error:
            raise _ClaimLost from error
        return bool(events) and await self._take(events)

    async def _logged(self) -> tuple[list[str], str | None, bool]:
        outputs: list[str] = []
        last_id, error_told, seq = None, False, 0
        while page := await self._rooms.ledger.read(
            partial(streams.events_after, prediction_id=self._id, seq=seq, limit=PAGE)
        ):
            for logged in page:
                seq = logged.seq
                last_id = logged.event_id or last_id
                error_told = error_told or logged.event == "error"
                if logged.event == "output":
                    outputs += [event.data for event in EventParser().feed(logged.data)]
        return outputs, last_id, error_told

    def _recent(self, seq: int) -> Sequence[StreamEvent] | None:
        """Return the events behind a place from memory; None if they must be read."""
        if seq >= self._last_seq:
            return ()
        if not self._tail or self._tail[0].seq > seq + 1:
            return None
        return [self._tail[place] for place in range(seq - self._last_seq, 0)]

    def _advance(self, last_seq: int) -> None:
        if last_seq > self._last_seq:
            self._last_seq = last_seq
            self._tail.clear()
            self._tail_bytes = 0
            self._told_at = self._rooms.clock.monotonic()
            self._tell()

    def _tell(self) -> None:
        self._news.set()
        self._news = asyncio.Event()
