"""The tokeniser under ``json_text``: positions of strings, brackets and commas in a JSON body.

It expects valid JSON and is about finding places, not about validating: one regular expression
walks over the bytes at the speed of the machine, and scalars, colons and whitespace are skipped.
"""

import json
import re
from collections.abc import Iterator
from typing import Final

MAX_DEPTH: Final = 256
"""Containers inside containers. Deep enough for any real document, and far from the interpreter's
recursion limit, so that nothing that walks a parsed document can run into it."""

STRING: Final = 0x22
COMMA: Final = 0x2C
KEY: Final = 0x3A
OPEN_ARRAY: Final = 0x5B
OPEN_OBJECT: Final = 0x7B
"""Kinds of tokens, as bytes; every other kind is a closing bracket."""
OPEN: Final = frozenset({OPEN_ARRAY, OPEN_OBJECT})
TEXT: Final = frozenset({STRING, KEY})

_BACKSLASH: Final = 0x5C

# The string's end is guessed at the next quote, which one fast scan finds; an escaped quote shows
# by the backslash before it, and only then the slower expression is asked.
_TOKEN: Final = re.compile(rb'("[^"]*")[ \t\r\n]*(:)?|[\[\]{},]')
_ESCAPED_STRING: Final = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)
_COLON: Final = re.compile(rb"[ \t\r\n]*:")
_NOT_SPACE: Final = re.compile(rb"[^ \t\r\n]")
_SPACE: Final = b" \t\r\n"
_SURROGATE: Final = re.compile("[\ud800-\udfff]")


class InvalidJson(ValueError):
    """The body is not the JSON that it has to be. The message is fit for a client."""


def tokens(body: bytes, start: int, stop: int) -> Iterator[tuple[int, int, int, int]]:
    """Yields ``(kind, start, end, beyond)``; ``beyond`` is after a key's colon, else the end.

    Raises ``InvalidJson`` for a string that does not end.
    """
    scan = start
    while scan < stop:
        for match in _TOKEN.finditer(body, scan, stop):
            group = match.lastindex
            at = match.start()
            if group is None:
                yield body[at], at, at + 1, at + 1
                continue
            after = match.end(1)
            if body[after - 2] == _BACKSLASH and after - at > 2:
                string = _ESCAPED_STRING.match(body, at, stop)
                if string is None:
                    raise InvalidJson("The body is not valid JSON: a string does not end")
                if string.end() != after:
                    after = string.end()
                    colon = _COLON.match(body, after, stop)
                    scan = after if colon is None else colon.end()
                    yield (STRING if colon is None else KEY), at, after, scan
                    break
            yield (STRING if group == 1 else KEY), at, after, match.end()
        else:
            return


def decode_string(body: bytes, start: int, end: int) -> str:
    """The value of the string token between two positions. Raises ``InvalidJson``."""
    raw = body[start + 1 : end - 1]
    try:
        if b"\\" not in raw:
            return raw.decode()
        value = json.loads(body[start:end].decode(), strict=False)
    except ValueError as error:
        raise InvalidJson("The body is not valid JSON: a string is broken") from error
    return whole_characters(str(value))


def whole_characters(text: str) -> str:
    """``text`` with every half of a surrogate pair replaced, so that it can be encoded."""
    return _SURROGATE.sub("\ufffd", text) if _SURROGATE.search(text) else text


def first_byte(body: bytes, start: int, stop: int) -> int | None:
    """The first byte between two positions that is not whitespace."""
    match = _NOT_SPACE.search(body, start, stop)
    return None if match is None else body[match.start()]


def skip_space(body: bytes, start: int, stop: int) -> int:
    """Where the whitespace after ``start`` ends."""
    match = _NOT_SPACE.search(body, start, stop)
    return stop if match is None else match.start()


def trim(body: bytes, start: int, end: int) -> int:
    """Where the whitespace before ``end`` begins, ``start`` at the least."""
    while end > start and body[end - 1] in _SPACE:
        end -= 1
    return end


def too_deep() -> InvalidJson:
    """The refusal of a body with more than ``MAX_DEPTH`` levels."""
    return InvalidJson(f"The body is nested deeper than {MAX_DEPTH} levels")


def check_depth(body: bytes) -> None:
    """Raises ``InvalidJson`` when containers stand inside containers too deep."""
    # Two fast counts decide nearly always; only a body with many containers is walked.
    if body.count(b"[") + body.count(b"{") <= MAX_DEPTH:
        return
    depth = 0
    for kind, _, _, _ in tokens(body, 0, len(body)):
        if kind in OPEN:
            depth += 1
            if depth > MAX_DEPTH:
                raise too_deep()
        elif kind not in TEXT and kind != COMMA:
            depth -= 1
