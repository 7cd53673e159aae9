"""JSON as text, so that a body can be changed in one place and stay byte for byte elsewhere.

Parsing and printing a document would change number formats, escapes, key order and duplicate keys.
So a body is validated once, read as a stream of tokens, and edited by byte positions:

- ``load`` / ``parse_object``: validate and decode;
- ``string_spans``, ``member_spans``, ``item_spans``: where things stand;
- ``replace_spans``, ``drop_members``, ``set_members``: edits.

The span functions expect a body that ``load`` or ``parse_object`` accepted. On anything else they
still end in linear time and raise nothing but ``InvalidJson``, but what they yield means nothing.
"""

import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Final, NamedTuple, NoReturn

import orjson

from gateway.domain.json_tokens import (
    COMMA,
    ITEM,
    MAX_DEPTH,
    MEMBER,
    NEXT,
    OPEN_ARRAY,
    OPEN_OBJECT,
    TOKEN,
    InvalidJson,
    container_end,
    decode_string,
    first_byte,
    too_deep,
    unended_string,
    whole_characters,
)

__all__ = [
    "MAX_DEPTH",
    "DuplicateKey",
    "InvalidJson",
    "MemberSpan",
    "StringSpan",
    "drop_members",
    "encode",
    "item_spans",
    "load",
    "member_spans",
    "parse_object",
    "replace_spans",
    "set_members",
    "string_spans",
]

_KINDS: Final[Mapping[type, str]] = {
    list: "an array",
    str: "a string",
    bool: "a boolean",
    int: "a number",
    float: "a number",
    type(None): "null",
}
_ENCODER: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False)


class DuplicateKey(InvalidJson):
    """A top-level key stands twice: two readers could believe two different things."""


class StringSpan(NamedTuple):
    """One string value. A tuple, not a dataclass, because documents have them by the hundred."""

    path: tuple[str | int, ...]
    start: int
    """Byte position of the opening quote."""
    end: int
    """Byte position just after the closing quote."""
    value: str


class MemberSpan(NamedTuple):
    """One member of an object: where its key begins, and where its value begins and ends."""

    name: str
    key_start: int
    start: int
    end: int


def load(body: bytes) -> object:
    """The decoded document.

    Strict about UTF-8, ``NaN``/``Infinity`` and depth; numbers of any size are accepted (a huge one
    may come out as a float). Half a surrogate pair becomes U+FFFD, so that every string of the
    result can be encoded again. Raises ``InvalidJson``.
    """
    try:
        document: object = orjson.loads(body)
    except orjson.JSONDecodeError:
        return _load_slowly(body)
    _check_depth(body, document)
    return document


def parse_object(body: bytes) -> dict[str, object]:
    """The decoded document, which must be an object without a repeated top-level key.

    Raises ``InvalidJson`` or ``DuplicateKey``.
    """
    document = load(body)
    if not isinstance(document, dict):
        kind = _KINDS.get(type(document), "something else")
        raise InvalidJson(f"The body must be a JSON object, not {kind}")
    members = member_spans(body)
    if len(members) != len(document):
        seen: set[str] = set()
        for member in members:
            if member.name in seen:
                raise DuplicateKey(f"The key {_quote(member.name[:80])} stands twice in the body")
            seen.add(member.name)
    return document


def encode(value: object) -> bytes:
    """``value`` as compact JSON. Raises ``ValueError`` for what JSON cannot say."""
    text = _ENCODER.encode(value)
    try:
        return text.encode()
    except UnicodeEncodeError:
        return json.dumps(value, separators=(",", ":"), allow_nan=False).encode()


def string_spans(
    body: bytes,
    start: int = 0,
    end: int | None = None,
    *,
    path: tuple[str | int, ...] = (),
    like: re.Pattern[bytes] | None = None,
) -> Iterator[StringSpan]:
    """Every string value (keys are not values) between two positions, in order.

    ``start`` and ``end`` must enclose one JSON value; ``path`` is where that value itself stands.
    ``like`` is matched at the opening quote: a string that it does not match is passed over
    without being decoded, which keeps bodies with megabytes of ``data:`` URIs cheap. A string may
    lie at any depth; its path is told no deeper than ``MAX_DEPTH`` levels.
    """
    stop = len(body) if end is None else end
    floor = len(path)
    most = floor + MAX_DEPTH
    steps: list[str | int] = list(path)
    for match in TOKEN.finditer(body, start, stop):
        group = match.lastindex
        if group == 1:
            at, after = match.span(1)
            if like is None or like.match(body, at, after):
                yield StringSpan(tuple(steps[:most]), at, after, decode_string(body, at, after))
            continue
        if group == 3:
            raise unended_string()
        kind = body[match.start()]
        if kind == OPEN_ARRAY or kind == OPEN_OBJECT:  # noqa: SIM109 (twice as fast as a tuple)
            steps.append(0 if kind == OPEN_ARRAY else "")
        elif len(steps) == floor:
            raise InvalidJson("The body is not valid JSON: it ends before its last byte")
        elif group == 2:
            steps[-1] = decode_string(body, *match.span(1))
        elif kind == COMMA:
            step = steps[-1]
            if isinstance(step, int):
                steps[-1] = step + 1
        else:
            steps.pop()


def member_spans(body: bytes, start: int = 0, end: int | None = None) -> list[MemberSpan]:
    """The members of the object between two positions, repeated ones included.

    Raises ``InvalidJson`` if no object begins there.
    """
    stop = len(body) if end is None else end
    opening, position = first_byte(body, start, stop)
    if opening != b"{":
        raise InvalidJson("The body must be a JSON object")
    position += 1
    members: list[MemberSpan] = []
    while True:
        match = MEMBER.match(body, position, stop)
        if match is None:
            if not members and first_byte(body, position, stop)[0] == b"}":
                return members
            raise InvalidJson("The body is not valid JSON: an object does not end")
        key_start, key_end = match.span(1)
        value_start, value_end = match.span(2)
        position, mark = match.end(), match[3]
        if mark is None:
            value_start = position
            value_end, position, mark = _deep_value(body, value_start, stop)
        name = decode_string(body, key_start, key_end)
        members.append(MemberSpan(name, key_start, value_start, value_end))
        if mark != b",":
            return members


def item_spans(body: bytes, start: int = 0, end: int | None = None) -> list[tuple[int, int]]:
    """Where the items of the array between two positions begin and end.

    Raises ``InvalidJson`` if no array begins there.
    """
    stop = len(body) if end is None else end
    opening, position = first_byte(body, start, stop)
    if opening != b"[":
        raise InvalidJson("The value must be a JSON array")
    position += 1
    items: list[tuple[int, int]] = []
    if first_byte(body, position, stop)[0] == b"]":
        return items
    while True:
        match = ITEM.match(body, position, stop)
        if match is None:
            raise InvalidJson("The body is not valid JSON: an array does not end")
        item_start, item_end = match.span(1)
        position, mark = match.end(), match[2]
        if mark is None:
            item_start = position
            item_end, position, mark = _deep_value(body, item_start, stop)
        items.append((item_start, item_end))
        if mark != b",":
            return items


def replace_spans(body: bytes, edits: Iterable[tuple[int, int, bytes]]) -> bytes:
    """``body`` with each ``(start, end, new bytes)`` put in place. Spans must not overlap."""
    pieces: list[bytes] = []
    position = 0
    for start, end, new in sorted(edits):
        if start < position:
            raise ValueError("edits overlap")
        pieces.append(body[position:start])
        pieces.append(new)
        position = end
    if not pieces:
        return body
    pieces.append(body[position:])
    return b"".join(pieces)


def drop_members(body: bytes, names: Collection[str]) -> bytes:
    """The object without its top-level members of these names, the rest byte for byte.

    Names are compared decoded: an escaped spelling of a name does not slip through.
    """
    members = member_spans(body)
    kept = [index for index, member in enumerate(members) if member.name not in names]
    if len(kept) == len(members):
        return body
    if not kept:
        return replace_spans(body, [(members[0].key_start, members[-1].end, b"")])
    last = kept[-1]
    edits = [
        (member.key_start, members[index + 1].key_start, b"")
        for index, member in enumerate(members[:last])
        if member.name in names
    ]
    edits.append((members[last].end, members[-1].end, b""))
    return replace_spans(body, edits)


def set_members(body: bytes, values: Mapping[str, object]) -> bytes:
    """The object with these top-level members: replaced where they stand, else put at the end.

    A value of ``bytes`` is JSON already and put in as it is.
    """
    if not values:
        return body
    members = member_spans(body)
    encoded = {
        name: value if isinstance(value, bytes) else encode(value) for name, value in values.items()
    }
    edits = [
        (member.start, member.end, encoded[member.name])
        for member in members
        if member.name in encoded
    ]
    present = {member.name for member in members}
    added = b",".join(
        encode(name) + b":" + value for name, value in encoded.items() if name not in present
    )
    if added and members:
        edits.append((members[-1].end, members[-1].end, b"," + added))
    elif added:
        inside = body.index(b"{") + 1
        edits.append((inside, inside, added))
    return replace_spans(body, edits)


def _deep_value(body: bytes, start: int, stop: int) -> tuple[int, int, bytes]:
    """Where the container at ``start`` ends, where to go on, and the mark that follows it."""
    if body[start : start + 1] not in (b"[", b"{"):
        raise InvalidJson("The body is not valid JSON: a value is missing")
    end = container_end(body, start, stop)
    match = NEXT.match(body, end, stop)
    if match is None:
        raise InvalidJson("The body is not valid JSON: a value is not followed by a comma")
    return end, match.end(), match[1]


def _check_depth(body: bytes, document: object) -> None:
    # Two fast counts decide nearly always; only a body with many containers is looked at by levels.
    if body.count(b"[") + body.count(b"{") <= MAX_DEPTH:
        return
    level: list[dict[str, object] | list[object]] = []
    if isinstance(document, dict | list):
        level.append(document)
    for _ in range(MAX_DEPTH):
        level = [
            child
            for container in level
            for child in (container.values() if isinstance(container, dict) else container)
            if isinstance(child, (dict, list))  # half the time of a union
        ]
        if not level:
            return
    raise too_deep()


def _load_slowly(body: bytes) -> object:
    """For what the fast parser refuses: to accept odd but legal JSON, else to say what is wrong."""
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        raise InvalidJson(f"The body is not valid JSON: not UTF-8 at byte {error.start}") from error
    try:
        document: object = json.loads(text, parse_int=_integer, parse_constant=_refuse_constant)
    except InvalidJson:
        raise
    except json.JSONDecodeError as error:
        raise InvalidJson(
            f"The body is not valid JSON: {error.msg} at line {error.lineno} column {error.colno}"
        ) from error
    except RecursionError as error:
        raise too_deep() from error
    _check_depth(body, document)
    return _mend(document)


def _integer(digits: str) -> int | float:
    # The interpreter refuses to convert thousands of digits (its quadratic cost is an attack).
    return int(digits) if len(digits) <= 1000 else float(digits)


def _refuse_constant(name: str) -> NoReturn:
    raise InvalidJson(f"The body is not valid JSON: {name} is not a JSON number")


def _mend(value: object) -> object:
    """Broken surrogate pairs replaced; the recursion is bounded by ``MAX_DEPTH``."""
    if isinstance(value, str):
        return whole_characters(value)
    if isinstance(value, list):
        return [_mend(item) for item in value]
    if isinstance(value, dict):
        return {whole_characters(key): _mend(item) for key, item in value.items()}
    return value


def _quote(value: str) -> str:
    return json.dumps(value, ensure_ascii=False)
