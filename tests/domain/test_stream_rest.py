"""The end of a stream made from the document: what is missing, and nothing twice."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.sse import EventParser
from gateway.domain.stream_rest import rest_of_stream

WORDS = ["The", " quick", "", " brown\n\n", " fox", "🦙"]


def document(output: object, status: str = "succeeded", **more: object) -> bytes:
    return json.dumps({"id": "p", "status": status, "output": output, **more}).encode()


def told(body: bytes, logged: list[str], last_id: str | None = "7:3") -> list[tuple[str, str]]:
    events = rest_of_stream(body, logged, last_id, error_told=False)
    # What is made here reads like what upstream sends.
    raw = b"".join(event.raw for event in events)
    assert [(event.event, event.data) for event in EventParser().feed(raw)] == [
        (event.event, event.data) for event in events
    ]
    return [(event.event, event.data) for event in events]


@given(
    st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\r\0"))), st.integers(0, 99)
)
def test_what_was_logged_and_the_rest_are_the_whole_text(tokens: list[str], cut: int) -> None:
    whole = "".join(tokens)
    logged = [whole[: cut % (len(whole) + 1)]]
    rest = told(document(tokens), logged)
    assert logged[0] + "".join(data for name, data in rest if name == "output") == whole
    assert rest[-1] == ("done", "{}")


def test_tokens_are_told_as_they_were_cut() -> None:
    assert told(document(WORDS), []) == [
        *(("output", word) for word in WORDS if word),
        ("done", "{}"),
    ]
    assert told(document(WORDS), WORDS[:2])[0] == ("output", " brown\n\n")


def test_files_are_told_once() -> None:
    files = ["https://replicate.delivery/a/1.webp", "https://replicate.delivery/a/2.webp"]
    assert told(document(files), files[:1]) == [("output", files[1]), ("done", "{}")]
    assert told(document(files), ["data:image/webp;base64,AA"])[0] == ("output", files[1])
    assert told(document(files[0]), []) == [("output", files[0]), ("done", "{}")]


@pytest.mark.parametrize(
    ("body", "end"),
    [
        (document(None, "canceled"), [("done", '{"reason":"canceled"}')]),
        (document(None, "aborted"), [("done", '{"reason":"canceled"}')]),
        (
            document(None, "failed", error="out of paint"),
            [("error", '{"detail":"out of paint"}'), ("done", '{"reason":"error"}')],
        ),
        (document({"n": 1}), [("output", '{"n":1}'), ("done", "{}")]),
    ],
)
def test_every_end_is_told_as_upstream_tells_it(body: bytes, end: list[tuple[str, str]]) -> None:
    assert told(body, []) == end


def test_ids_go_on_counting_and_are_never_missing() -> None:
    for last_id, first in (("1699:41", "1699:42"), (None, "rest:1"), ("odd", "odd:1")):
        events = rest_of_stream(document(["a", "b"]), [], last_id, error_told=False)
        assert events[0].id == first
        assert len({event.id for event in events}) == 3
