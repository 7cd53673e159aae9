"""Relay a prediction's stream of events: first what is logged, then what is still to come."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial

from gateway.domain import problems
from gateway.domain.documents import facts
from gateway.domain.sse import HEARTBEAT, EventParser, client_event
from gateway.domain.stream_rest import DONE
from gateway.domain.stream_tokens import StreamTokens
from gateway.domain.urls import UrlMap
from gateway.flows.answer import Refused
from gateway.flows.stream_channel import PAGE, Channel, Rooms
from gateway.ledger import Connection, predictions, streams


@dataclass(frozen=True, slots=True)
class StreamRequest:
    """One reader. `origin` is the gateway's in this reader's eyes."""

    prediction_id: str
    last_event_id: str | None
    origin: str


class RelayStream:
    """Serves streams to any number of readers, with one connection upstream for each stream."""

    def __init__(self, rooms: Rooms, tokens: StreamTokens) -> None:
        self._rooms = rooms
        self._tokens = tokens
        self._channels: dict[str, tuple[Channel, asyncio.Task[None]]] = {}
        self._closed = False

    async def find(self, kind: str, token: str) -> str:
        """Return the prediction whose stream is at `/v1/{kind}/{token}`.

        Raises:
            Refused: nobody made this address, or there is nothing behind it any more.
        """
        prediction_id = self._tokens.read(kind, token)
        if prediction_id is None:
            raise Refused(problems.not_found("stream"))
        ledger = self._rooms.ledger
        row, body, known = await ledger.read(partial(_look_up, prediction_id=prediction_id))
        if row is None or body is None or row.removed_at is not None:
            raise Refused(problems.not_found("stream"))
        upstream_url = _stream_url(body, self._rooms.urls)
        if upstream_url is None and known is None:
            if row.settled_at is None:
                raise Refused(problems.not_found("stream"))
            # Its address was made here, so there was one: the document still has what it said.
            upstream_url = ""
        if upstream_url is not None and (known is None or known.upstream_url != upstream_url):
            now = self._rooms.clock.now()
            await ledger.write(
                partial(
                    streams.register,
                    prediction_id=prediction_id,
                    upstream_url=upstream_url,
                    now=now,
                )
            )
        return prediction_id

    async def events(self, request: StreamRequest) -> AsyncGenerator[bytes]:
        """Yield the stream for one reader, event by event, and heartbeats.

        Ends after `done`; earlier only when the gateway is being stopped or the prediction was
        erased. Raises UpstreamBroken, LedgerUnavailable.
        """
        seq = await self._start(request)
        while not self._closed:
            progress = await self._rooms.ledger.read(
                partial(streams.progress, prediction_id=request.prediction_id)
            )
            if progress is None:
                return
            if progress.done_at is not None:
                while page := await self._rooms.ledger.read(
                    partial(
                        streams.events_after,
                        prediction_id=request.prediction_id,
                        seq=seq,
                        limit=PAGE,
                    )
                ):
                    for logged in page:
                        seq = logged.seq
                        yield self._shown(logged.data, request.origin)
                return
            async with aclosing(self._channel(request.prediction_id).follow(seq)) as events:
                async for event in events:
                    if event is None:
                        yield HEARTBEAT
                        continue
                    seq = event.seq
                    yield self._shown(event.data, request.origin)
                    if event.event == DONE:
                        return

    async def close(self) -> None:
        """Let go of all streams; readers' responses end as if they were over."""
        self._closed = True
        tasks = [task for _, task in self._channels.values()]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def _start(self, request: StreamRequest) -> int:
        """Return the place behind which this reader wants to read on."""
        if request.last_event_id is None:
            return 0
        read = self._rooms.ledger.read
        seq = await read(
            partial(
                streams.seq_of,
                prediction_id=request.prediction_id,
                event_id=request.last_event_id,
            )
        )
        if seq is None:
            return 0
        progress = await read(partial(streams.progress, prediction_id=request.prediction_id))
        # Whoever comes back after the end hears of the end again, or would come back for ever.
        if progress is not None and progress.done_at is not None:
            return min(seq, progress.last_seq - 1)
        return seq

    def _channel(self, prediction_id: str) -> Channel:
        known = self._channels.get(prediction_id)
        if known is not None and not known[0].ended:
            return known[0]
        channel = Channel(prediction_id, self._rooms)
        task = self._rooms.spawn(channel.run(), f"stream {prediction_id}: channel")
        self._channels[prediction_id] = (channel, task)
        task.add_done_callback(partial(self._forget, prediction_id))
        return channel

    def _forget(self, prediction_id: str, task: "asyncio.Task[None]") -> None:
        if self._channels.get(prediction_id, (None, None))[1] is task:
            del self._channels[prediction_id]

    def _shown(self, raw: bytes, origin: str) -> bytes:
        # Only what begins with "http", or is JSON that may spell it with escapes, is rewritten.
        if b"http" not in raw and b"\\" not in raw:
            return raw
        events = EventParser().feed(raw)
        return b"".join(client_event(event, self._rooms.urls, origin).raw for event in events)


def _look_up(
    conn: Connection, prediction_id: str
) -> tuple[predictions.Row | None, bytes | None, streams.StreamRow | None]:
    known = predictions.get_with_document(conn, prediction_id)
    if known is None:
        return None, None, None
    return known[0], known[1], streams.get(conn, prediction_id)


def _stream_url(body: bytes, urls: UrlMap) -> str | None:
    """Where upstream has the stream, if it may be read there."""
    told = facts(body).stream_url
    found = None if told is None else urls.stream(told)
    return None if found is None else found.url
