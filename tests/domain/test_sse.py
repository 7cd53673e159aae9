"""Server-sent events."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.origins import UpstreamOrigins, parse_origin_pattern
from gateway.domain.sse import (
    HEARTBEAT,
    Event,
    EventParser,
    EventTooLarge,
    client_event,
    event_urls,
    make_event,
    render,
)
from gateway.domain.urls import StreamTokens, UrlMap

URLS = UrlMap(
    UpstreamOrigins(
        "https://api.replicate.com", (parse_origin_pattern("https://replicate.delivery"),), ()
    ),
    StreamTokens(b"s" * 32),
)
ORIGIN = "https://gw.example.org"
FILE = "https://replicate.delivery/a.png"
SHOWN = f"{ORIGIN}/replicate/delivery/replicate.delivery/a.png"

fields = st.text(st.characters(exclude_characters="\r\n\0", exclude_categories=["Cs"]), max_size=8)
events = st.builds(
    make_event,
    fields.filter(lambda name: name not in ("", "message")),
    st.lists(fields, max_size=4).map("\n".join),
    st.none() | fields,
)


def test_a_stream_is_read() -> None:
    parser = EventParser()
    stream = (
        b"event: output\nid: 1:0\ndata: Hello\n\n: ping\n\nevent:output\r\nid:2\r\ndata: a\r\n"
        b"data:  b\r\n\r\ndata\nunknown: x\nretry: 500\n\nevent: done\ndata: {}\n\ndata: cut"
    )
    got = [(e.event, e.data, e.id, e.retry) for e in parser.feed(stream)]
    assert got == [
        ("output", "Hello", "1:0", None),
        ("output", "a\n b", "2", None),
        ("message", "", None, 500),
        ("done", "{}", None, None),
    ]
    assert parser.pending


def test_upstreams_lines_are_passed_on_as_they_were() -> None:
    (event,) = EventParser().feed(b"id:7\nevent:output\n: comment\ndata:x\nfuture: y\n\n")
    assert event.raw == b"id:7\nevent:output\n: comment\ndata:x\nfuture: y\n\n"


@given(st.lists(events, max_size=5), st.data(), st.sampled_from([b"\n", b"\r\n", b"\r"]))
def test_events_come_out_the_same_however_the_bytes_are_cut(
    sent: list[Event], data: st.DataObject, line_end: bytes
) -> None:
    stream = b"".join(HEARTBEAT + event.raw for event in sent).replace(b"\n", line_end)
    if line_end == b"\r":
        stream += b":"  # a lone carriage return ends a line once something else follows
    cuts = data.draw(st.lists(st.integers(0, len(stream)), max_size=8).map(sorted))
    parser = EventParser()
    got: list[Event] = []
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        got += parser.feed(stream[start:end])
    # They are passed on as they came; ends that nobody could read alone become plain ones.
    kept = b"\r\n" if line_end == b"\r\n" else b"\n"
    assert got == [replace(event, raw=event.raw.replace(b"\n", kept)) for event in sent]
    # And what was logged is read again as what it was.
    assert [EventParser().feed(event.raw) for event in got] == [[event] for event in got]


def test_comments_between_events_are_dropped_and_those_inside_kept() -> None:
    stream = b": hello\r\n\r\n: id\r\ndata: a\r\n: inside\r\ndata: b\r\n\r\n: bye\r\n\r\n"
    (event,) = EventParser().feed(stream)
    assert event.raw == b"data: a\r\n: inside\r\ndata: b\r\n\r\n"
    assert event.data == "a\nb"


def test_comments_inside_an_event_count_for_its_size() -> None:
    parser = EventParser(max_event_bytes=100)
    parser.feed(b"data: a\n")
    with pytest.raises(EventTooLarge):
        parser.feed(b": still here\n" * 100)


@given(events)
def test_what_is_rendered_reads_back(event: Event) -> None:
    (read,) = EventParser().feed(render(event))
    assert read == event


def test_a_byte_order_mark_is_skipped_even_in_pieces() -> None:
    parser = EventParser()
    assert parser.feed(b"\xef") == []
    assert parser.feed(b"\xbb") == []
    (event,) = parser.feed(b"\xbfdata: x\n\n")
    assert event.data == "x"
    (plain,) = EventParser().feed(b"data: x\n\n")
    assert plain.data == "x"


def test_an_id_with_a_null_and_a_retry_in_words_are_ignored() -> None:
    (event,) = EventParser().feed(b"id: a\0b\nretry: soon\ndata: x\n\n")
    assert (event.id, event.retry) == (None, None)


@pytest.mark.parametrize("stream", [b"data: " + b"x" * 200, b"data: x\n" * 40, b"x" * 200])
def test_an_event_is_bounded(stream: bytes) -> None:
    with pytest.raises(EventTooLarge):
        EventParser(max_event_bytes=100).feed(stream)
    parser = EventParser(max_event_bytes=100)

    def feed_byte_by_byte() -> None:
        for index in range(len(stream)):
            parser.feed(stream[index : index + 1])

    with pytest.raises(EventTooLarge):
        feed_byte_by_byte()


def test_comments_alone_do_not_add_up() -> None:
    assert EventParser(max_event_bytes=100).feed(b": ping\n" * 1000) == []


def test_many_small_events_are_not_one_large_one() -> None:
    assert len(EventParser(max_event_bytes=100).feed(b"data: x\n\n" * 1000)) == 1000


def test_broken_utf8_is_replaced_in_data_and_kept_on_the_wire() -> None:
    (event,) = EventParser().feed(b"data: \xff\n\n")
    assert event.data == "\ufffd"
    assert event.raw == b"data: \xff\n\n"


@pytest.mark.parametrize(
    ("data", "shown"),
    [
        (FILE, SHOWN),
        (json.dumps([FILE, "x"]), json.dumps([SHOWN, "x"])),
        (json.dumps({"a": {"b": FILE}, "n": 1}, indent=1), None),
        (f'"{FILE}"', f'"{SHOWN}"'),
    ],
)
def test_output_files_in_data_are_rewritten(data: str, shown: str | None) -> None:
    event = make_event("output", data, "1")
    result = client_event(event, URLS, ORIGIN)
    assert result.data == (shown or data.replace(FILE, SHOWN))
    assert result.id == "1"
    assert EventParser().feed(result.raw) == [result]
    assert event_urls(event, URLS) == (FILE,)


@pytest.mark.parametrize(
    "data", ["", "Hello", f"see {FILE}", f" {FILE}", f"[{FILE}", "{", '"', "[1]", "https://x.org/a"]
)
def test_other_data_stays(data: str) -> None:
    event = make_event("output", data)
    assert client_event(event, URLS, ORIGIN) is event
    assert event_urls(event, URLS) == ()


@pytest.mark.parametrize("name", ["logs", "error"])
@pytest.mark.parametrize("data", [FILE, json.dumps([FILE])])
def test_logs_and_errors_stay(name: str, data: str) -> None:
    event = make_event(name, data)
    assert client_event(event, URLS, ORIGIN) is event
    assert event_urls(event, URLS) == ()


def test_data_of_our_own_may_hold_any_line_end() -> None:
    (event,) = EventParser().feed(make_event("output", "a\r\nb\rc\n").raw)
    assert event.data == "a\nb\nc\n"


@given(st.lists(st.binary(max_size=30), max_size=10))
def test_no_bytes_break_the_reading(chunks: list[bytes]) -> None:
    parser = EventParser()
    for chunk in chunks:
        for event in parser.feed(chunk):
            client_event(event, URLS, ORIGIN)
