"""Server-sent events: read as bytes arrive, written again, output URLs in them rewritten.

The format is that of the HTML standard's event streams. An event that needs no change is passed on
in the very bytes that upstream sent (``Event.raw``), line ends and comments in it included.
Comments between events are dropped, heartbeats being each hop's own business.
"""

import re
from dataclasses import dataclass, replace
from typing import Final

from gateway.domain.documents import rewrite_output_urls, value_urls
from gateway.domain.foreign_json import is_json
from gateway.domain.urls import UrlMap

MAX_EVENT_BYTES: Final = 64 * 1024 * 1024
"""A model's output can come as one ``data:`` URI in one event."""

HEARTBEAT: Final = b": keep-alive\n\n"
"""A comment: clients drop it, and official ones raise on event names that they do not know."""

# The second is many times faster, and right for a stream that has no carriage returns.
_LINE_END: Final = re.compile(rb"\r\n?|\n")
_NEWLINE: Final = re.compile(rb"\n")
_TEXT_LINE_END: Final = re.compile(r"\r\n|\n|\r")
_BOM: Final = b"\xef\xbb\xbf"
_UNTOUCHED: Final = frozenset({"logs", "error"})


class EventTooLarge(ValueError):
    """An event of the stream is larger than anything that is kept in memory."""


@dataclass(frozen=True, slots=True)
class Event:
    """One event. ``raw`` are its bytes for the wire, the blank line at its end included."""

    event: str
    """``message`` when upstream named none."""
    data: str
    id: str | None
    """``None`` when this event had no ``id`` line."""
    retry: int | None
    """Milliseconds."""
    raw: bytes


class EventParser:
    """Turns a stream's bytes into events, however the bytes are cut. One per connection."""

    def __init__(self, max_event_bytes: int = MAX_EVENT_BYTES) -> None:
        self._max = max_event_bytes
        self._buffer = bytearray()
        self._scanned = 0
        """So much of the buffer is known to hold no line end."""
        self._lines: list[bytes] = []
        self._raw: list[bytes] = []
        """The same lines as they came, with their ends, and comments among them."""
        self._size = 0
        self._at_start = True

    def feed(self, data: bytes) -> list[Event]:
        """The events that are complete with these bytes. Raises ``EventTooLarge``."""
        self._buffer += data
        if self._at_start and not self._skip_bom():
            return []
        events: list[Event] = []
        position = 0
        scan = self._scanned
        line_end = _NEWLINE if self._buffer.find(b"\r", scan) < 0 else _LINE_END
        while True:
            end = line_end.search(self._buffer, scan)
            # A carriage return at the very end may be half of a pair: wait for the next byte.
            if end is None or (end[0] == b"\r" and end.end() == len(self._buffer)):
                break
            line = bytes(self._buffer[position : end.start()])
            ending = end[0]
            position = scan = end.end()
            if line.startswith(b":") and not self._lines:
                continue
            self._raw.append(line + ending)
            if line:
                self._size += len(line)
                if not line.startswith(b":"):
                    self._lines.append(line)
                self._check_size(0)
            else:
                if self._lines:
                    events.append(_event(self._lines, b"".join(self._raw)))
                self._lines, self._raw = [], []
                self._size = 0
        del self._buffer[:position]
        self._scanned = max(len(self._buffer) - 1, 0)
        self._check_size(len(self._buffer))
        return events

    @property
    def pending(self) -> bool:
        """Whether the stream, if it ended now, would end in the middle of an event."""
        return bool(self._lines or self._buffer)

    def _check_size(self, rest: int) -> None:
        if self._size + rest > self._max:
            raise EventTooLarge(f"an event of the stream is larger than {self._max} bytes")

    def _skip_bom(self) -> bool:
        if len(self._buffer) < len(_BOM) and _BOM.startswith(self._buffer):
            return False
        self._at_start = False
        if self._buffer.startswith(_BOM):
            del self._buffer[: len(_BOM)]
        return True


def make_event(event: str, data: str, event_id: str | None = None) -> Event:
    """An event of our own."""
    return _rendered(Event(event, data, event_id, None, b""))


def render(event: Event) -> bytes:
    """The event's fields as bytes for the wire, whatever ``raw`` says."""
    lines: list[str] = []
    if event.event != "message":
        lines.append(f"event: {event.event}")
    if event.id is not None:
        lines.append(f"id: {event.id}")
    if event.retry is not None:
        lines.append(f"retry: {event.retry}")
    lines.extend(f"data: {line}" for line in _TEXT_LINE_END.split(event.data))
    return ("\n".join(lines) + "\n\n").encode()


def client_event(event: Event, urls: UrlMap, origin: str) -> Event:
    """The event as a client sees it.

    An output file's URL that is the whole of ``data``, or a string inside its JSON, becomes the
    gateway's. Logs and errors are text and stay.
    """
    if _is_json(event):
        shown = rewrite_output_urls(event.data.encode(), urls, origin).decode()
    elif event.event not in _UNTOUCHED:
        shown = urls.delivery_to_client(event.data, origin)
    else:
        return event
    return event if shown == event.data else _rendered(replace(event, data=shown))


def event_urls(event: Event, urls: UrlMap) -> tuple[str, ...]:
    """The output files that ``client_event`` rewrites, by their upstream URLs, for the mirror."""
    if _is_json(event):
        return value_urls(event.data.encode(), urls)
    file = None if event.event in _UNTOUCHED else urls.delivery(event.data)
    return () if file is None else (file.url,)


def _is_json(event: Event) -> bool:
    """Whether the data is a JSON value that strings can stand in; text may just begin like one."""
    if event.event in _UNTOUCHED or event.data[:1] not in ("{", "[", '"'):
        return False
    return is_json(event.data.encode())


def _rendered(event: Event) -> Event:
    return replace(event, raw=render(event))


def _event(lines: list[bytes], raw: bytes) -> Event:
    name, event_id, retry = "", None, None
    data: list[str] = []
    for line in lines:
        key, _, rest = line.partition(b":")
        value = rest.removeprefix(b" ").decode(errors="replace")
        if key == b"event":
            name = value
        elif key == b"data":
            data.append(value)
        elif key == b"id" and "\0" not in value:
            event_id = value
        elif key == b"retry" and value.isascii() and value.isdigit() and len(value) < 10:
            retry = int(value)
    if raw.endswith(b"\r"):
        # By itself, such an end could still become half of a pair: nobody could read it alone.
        raw = b"\n".join(lines) + b"\n\n"
    return Event(name or "message", "\n".join(data), event_id, retry, raw)
