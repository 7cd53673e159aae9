"""Bodies are read as text and edited in place."""

import contextlib
import json
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.domain.json_text import (
    MAX_DEPTH,
    DuplicateKey,
    InvalidJson,
    drop_members,
    item_spans,
    load,
    member_spans,
    parse_object,
    replace_spans,
    set_members,
    string_spans,
)

scalars = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
)
texts = st.text(st.characters(exclude_categories=["Cs"])) | st.text('"\\/{}[],: \n\tu00e9abc')
documents = st.recursive(
    scalars | texts,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(texts, inner, max_size=5),
    max_leaves=12,
)
objects = st.dictionaries(texts, documents, max_size=4)
layouts = st.sampled_from(
    [
        {"separators": (",", ":")},
        {"indent": 2},
        {"separators": (" ,\t", " : "), "ensure_ascii": False},
    ]
)


Layout = dict[str, object]


def written(document: object, layout: Layout) -> bytes:
    return json.dumps(document, **layout).encode()  # type: ignore[arg-type]  # layouts vary


Path = tuple[str | int, ...]


def strings_of(value: object, path: Path = ()) -> Iterator[tuple[Path, str]]:
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from strings_of(item, (*path, index))
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from strings_of(item, (*path, key))


@given(documents, layouts)
def test_string_spans_are_what_a_json_parser_finds(document: object, layout: Layout) -> None:
    body = written(document, layout)
    spans = list(string_spans(body))
    assert [(span.path, span.value) for span in spans] == list(strings_of(document))
    for span in spans:
        assert json.loads(body[span.start : span.end]) == span.value


@settings(max_examples=60)
@given(objects, layouts)
def test_member_spans_are_the_members(document: dict[str, object], layout: Layout) -> None:
    body = written(document, layout)
    members = member_spans(body)
    assert {m.name: json.loads(body[m.start : m.end]) for m in members} == document
    for member in members:
        assert body[member.key_start : member.key_start + 1] == b'"'
        assert body[member.start : member.end].strip() == body[member.start : member.end]


@given(st.lists(documents, max_size=5), layouts)
def test_item_spans_are_the_items(document: list[object], layout: Layout) -> None:
    body = written(document, layout)
    assert [json.loads(body[start:end]) for start, end in item_spans(body)] == document


@settings(max_examples=60)
@given(objects, layouts, st.data())
def test_dropping_members_leaves_the_others_byte_for_byte(
    document: dict[str, object], layout: Layout, data: st.DataObject
) -> None:
    body = written(document, layout)
    names = data.draw(st.sets(st.sampled_from(sorted(document)) | texts) if document else st.none())
    names = names or set()
    result = drop_members(body, names)
    assert json.loads(result) == {k: v for k, v in document.items() if k not in names}
    kept = {m.name: result[m.key_start : m.end] for m in member_spans(result)}
    before = {m.name: body[m.key_start : m.end] for m in member_spans(body)}
    assert kept == {name: text for name, text in before.items() if name not in names}
    if not names & set(document):
        assert result == body


@settings(max_examples=60)
@given(objects, layouts, objects)
def test_setting_members_leaves_the_others_byte_for_byte(
    document: dict[str, object], layout: Layout, values: dict[str, object]
) -> None:
    body = written(document, layout)
    result = set_members(body, values)
    assert json.loads(result) == document | values
    after = {m.name: result[m.key_start : m.end] for m in member_spans(result)}
    for member in member_spans(body):
        if member.name not in values:
            assert after[member.name] == body[member.key_start : member.end]


def test_setting_replaces_where_it_stands_and_adds_at_the_end() -> None:
    body = b'{ "a" : 1.50 , "b":2 }\n'
    assert set_members(body, {"b": [1], "c": None}) == b'{ "a" : 1.50 , "b":[1],"c":null }\n'
    assert set_members(b"{ }", {"a": "é"}) == '{"a":"é" }'.encode()


def test_repeated_members_are_all_dropped_and_all_replaced() -> None:
    body = b'{"a":1,"b":2,"\\u0061":3}'
    assert drop_members(body, {"a"}) == b'{"b":2}'
    assert set_members(body, {"a": 0}) == b'{"a":0,"b":2,"\\u0061":0}'


def test_edits_that_overlap_are_refused() -> None:
    with pytest.raises(ValueError, match="overlap"):
        replace_spans(b"abcdef", [(0, 3, b"x"), (2, 4, b"y")])


@given(documents, layouts)
def test_load_agrees_with_a_json_parser(document: object, layout: Layout) -> None:
    body = written(document, layout)
    loaded = load(body)
    assert json.dumps(loaded) == json.dumps(document) or any(
        isinstance(number, float) for number in numbers_of(loaded)
    )
    assert list(strings_of(loaded)) == list(strings_of(document))


def numbers_of(value: object) -> Iterator[float]:
    if isinstance(value, int | float):
        yield value
    elif isinstance(value, list):
        for item in value:
            yield from numbers_of(item)
    elif isinstance(value, dict):
        for item in value.values():
            yield from numbers_of(item)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[1]",
        b"null",
        b'"text"',
        b"{",
        b'{"a":1,}',
        b'{"a":NaN}',
        b'{"a":Infinity}',
        b'{"a":-Infinity}',
        b'{"a":"\xff"}',
        b'\xef\xbb\xbf{"a":1}',
        b'{"a":"line\nbreak"}',
        '{"a":1}'.encode("utf-16"),
        b'{"a":1}{"b":2}',
        b"{'a':1}",
        b'{"a":01}',
        b'{"a":"\\x41"}',
    ],
)
def test_what_is_not_a_json_object_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidJson) as caught:
        parse_object(body)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("body", [b'{"a":1,"a":1}', b'{"a":1,"b":{},"\\u0061":2}'])
def test_a_repeated_top_level_key_is_refused(body: bytes) -> None:
    with pytest.raises(DuplicateKey, match='"a"'):
        parse_object(body)


def test_a_key_repeated_further_down_is_not_ours_to_judge() -> None:
    assert parse_object(b'{"input":{"a":1,"a":2}}') == {"input": {"a": 2}}


def test_depth_is_bounded() -> None:
    deepest = MAX_DEPTH - 1
    assert load(b"[" * MAX_DEPTH + b"]" * MAX_DEPTH)
    assert load(b'"' + b"[" * 1_000 + b'"') == "[" * 1_000
    assert parse_object(b'{"a":' + b"[" * deepest + b"]" * deepest + b"}")
    for depth in (MAX_DEPTH, 5_000, 1_000_000):
        with pytest.raises(InvalidJson, match="nested deeper"):
            parse_object(b'{"a":' + b"[" * depth + b"]" * depth + b"}")


def test_strings_are_found_at_any_depth_by_a_path_of_bounded_length() -> None:
    for depth in (MAX_DEPTH + 1, 5_000, 100_000):
        (span,) = string_spans(b'{"a":' * depth + b'"x"' + b"}" * depth)
        assert (span.value, span.path) == ("x", ("a",) * MAX_DEPTH)


def test_brackets_inside_strings_are_not_depth() -> None:
    assert parse_object(b'{"a":"' + b"[{" * 10_000 + b'"}')


def test_many_shallow_containers_are_fine() -> None:
    assert parse_object(b'{"a":[' + b",".join([b"[]"] * 1_000) + b"]}") == {"a": [[]] * 1_000}


@pytest.mark.parametrize("number", [b"1e400", b"-1e400", b"9" * 6_000, b"12345678901234567890123"])
def test_huge_numbers_are_accepted(number: bytes) -> None:
    assert isinstance(parse_object(b'{"seed":' + number + b"}")["seed"], int | float)


def test_half_a_surrogate_pair_becomes_a_replacement_character() -> None:
    body = b'{"a":["\\ud800x","\\ud83d\\ude00"],"k\\udfff":1}'
    assert parse_object(body) == {"a": ["\ufffdx", "\U0001f600"], "k\ufffd": 1}
    assert [span.value for span in string_spans(body)] == ["\ufffdx", "\U0001f600"]


@settings(max_examples=300)
@given(st.binary(max_size=60) | st.text('"\\{}[],:u0 1a').map(str.encode))
def test_garbage_ends_in_invalid_json_or_nothing_worse(body: bytes) -> None:
    for read in (load, parse_object, member_spans, item_spans, lambda b: list(string_spans(b))):
        with contextlib.suppress(InvalidJson):
            read(body)


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 300 + b'"' + b'\\"' * 40_000,
        b'"' + b'\\"' * 40_000,
        b'{"a":' + b'"x\\",' * 60_000,
        b'{"a":' + b"[[[[" * 60_000,
        b'{"a":[' + b'[[["b"]]],' * 40_000,
        b'"' * 200_001,
        b'{"a":1,' * 60_000,
    ],
)
@pytest.mark.timeout(30)
def test_hostile_garbage_costs_no_more_than_its_length(body: bytes) -> None:
    with pytest.raises(InvalidJson):
        load(body)
    for read in (member_spans, item_spans, lambda b: list(string_spans(b))):
        with contextlib.suppress(InvalidJson):
            read(body)


def test_positions_can_be_asked_for_inside_a_document() -> None:
    body = b'{"a":{"x":["1","2"]},"b":"3"}'
    member = member_spans(body)[0]
    spans = list(string_spans(body, member.start, member.end, path=("a",)))
    assert [(span.path, span.value) for span in spans] == [
        (("a", "x", 0), "1"),
        (("a", "x", 1), "2"),
    ]
