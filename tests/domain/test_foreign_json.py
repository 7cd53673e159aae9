"""What upstream wrote is read whatever legal JSON it is."""

import json

import pytest

from gateway.domain.documents import View, client_prediction, facts, output_urls
from gateway.domain.endings import with_last_data
from gateway.domain.foreign_json import is_json, load_foreign
from gateway.domain.json_text import MAX_DEPTH, InvalidJson
from tests.domain.known_urls import URLS


@pytest.mark.parametrize("depth", [MAX_DEPTH, MAX_DEPTH + 1, 2_000, 200_000])
def test_a_document_of_any_depth_is_read_around_what_is_deep(depth: int) -> None:
    deep = b'[{"x":"]["},' + b"[" * depth + b"1" + b"]" * depth + b"]"
    document = load_foreign(b'{"id":"a","output":' + deep + b',"status":"succeeded"}')
    assert isinstance(document, dict)
    assert (document["id"], document["status"]) == ("a", "succeeded")
    assert document["output"][0] == {"x": "]["}
    json.dumps(document)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[NaN]",
        b'{"a":}',
        b"[1",
        b'"\xff"',
        b"[" * 300,
        b"[" * 300 + b"]" * 299,
        b"[" * 300 + b"]" * 301,
        b"[" * 300 + b'"\xff"' + b"]" * 300,
        b"[" * 300 + b'"' + b"]" * 300,
    ],
)
def test_what_is_no_json_is_none(body: bytes) -> None:
    assert not is_json(body)
    with pytest.raises(InvalidJson):
        load_foreign(body)


@pytest.mark.parametrize(
    "body", [b'"\\ud83d"', b"1e400", b"9" * 6_000, b"[" * 9_999 + b"]" * 9_999]
)
def test_odd_but_legal_json_is_json(body: bytes) -> None:
    assert is_json(body)


def test_files_are_found_and_rewritten_below_the_depth_that_is_looked_into() -> None:
    url = "https://replicate.delivery/a/b.png"
    deep = b"[" * 3_000 + b'"' + url.encode() + b'"' + b"]" * 3_000
    body = b'{"id":"a","status":"succeeded","output":' + deep + b"}"
    assert facts(body).has_output
    assert output_urls(body, URLS) == (url,)
    shown = client_prediction(body, URLS, View("http://gateway", "a")).body
    assert shown.count(b"[") == 3_000
    assert b'"http://gateway/' in shown


def test_the_last_data_are_put_back_byte_for_byte() -> None:
    output = b"[" * 300 + b'1e400,"\\ud83d"' + b"]" * 300
    last = b'{"output": ' + output + b',"input":{"n":1.0e+5},"logs":"x"}'
    body = with_last_data(b'{"id":"a","output":null,"data_removed":true}', last)
    assert b'"output":' + output in body
    assert b'"input":{"n":1.0e+5}' in body
