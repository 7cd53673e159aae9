"""The tokeniser under ``json_text``: positions of strings, brackets and commas in a JSON body.

It expects valid JSON and is about finding places, not about validating. The work is done by a few
regular expressions; all of them are linear, because nothing that they have matched is ever given
back (``*+``).
"""

import json
import re
from typing import Final

MAX_DEPTH: Final = 256
"""Containers inside containers. Deep enough for any real document, and far from the interpreter's
recursion limit, so that nothing that walks a parsed document can run into it."""

OPEN_ARRAY: Final = 0x5B
OPEN_OBJECT: Final = 0x7B
COMMA: Final = 0x2C

_SPACE: Final = rb"[ \t\r\n]*+"
# Nearly always a string ends at the next quote, which one fast scan finds; only when a backslash
# stands before that quote is the string read piece by piece.
_STRING: Final = rb'"(?:[^"]*+(?<!\\)"|[^"\\]*+(?:\\.[^"\\]*+)*+")'
_FLAT: Final = rb'[\[{](?:[^"\[\]{}]++|' + _STRING + rb")*+[\]}]"
_NESTED: Final = rb'[\[{](?:[^"\[\]{}]++|' + _STRING + rb"|" + _FLAT + rb")*+[\]}]"
_VALUE: Final = rb"(" + _STRING + rb'|[^"\[\]{}, \t\r\n]++|' + _NESTED + rb")"

# A quote that opens nothing is a match of its own: searching on behind it would make a body of many
# such quotes cost the square of its length.
TOKEN: Final = re.compile(rb"(" + _STRING + rb")" + _SPACE + rb"(:)?|[\[\]{},]|(\")", re.DOTALL)
"""Group 1 is a string, group 2 the colon that makes it a key, group 3 a string that does not end;
without a group it is a bracket or a comma."""

BRACKET: Final = re.compile(_STRING + rb"|([\[{])|([\]}])|(\")", re.DOTALL)
"""Group 1 is an opening bracket, group 2 a closing one, group 3 a string that does not end."""

MEMBER: Final = re.compile(
    _SPACE
    + rb"("
    + _STRING
    + rb")"
    + _SPACE
    + rb":"
    + _SPACE
    + rb"(?:"
    + _VALUE
    + _SPACE
    + rb"([,}]))?",
    re.DOTALL,
)
"""A key, and its value with what follows unless the value is nested deeper than two levels."""

ITEM: Final = re.compile(_SPACE + rb"(?:" + _VALUE + _SPACE + rb"([,\]]))?", re.DOTALL)
"""An item of an array with what follows, unless it is nested deeper than two levels."""

NEXT: Final = re.compile(_SPACE + rb"([,\]}])")
FIRST: Final = re.compile(_SPACE + rb"([^ \t\r\n])")

_SURROGATE: Final = re.compile("[\ud800-\udfff]")


class InvalidJson(ValueError):
    """The body is not the JSON that it has to be. The message is fit for a client."""


class TooDeep(InvalidJson):
    """The body has more than ``MAX_DEPTH`` levels."""


def first_byte(body: bytes, start: int, stop: int) -> tuple[bytes, int]:
    """The first byte between two positions that is not whitespace, and where; ``b""`` if none."""
    match = FIRST.match(body, start, stop)
    return (b"", stop) if match is None else (match[1], match.start(1))


def container_end(body: bytes, start: int, stop: int) -> int:
    """Just after the bracket that closes the one at ``start``. Raises ``InvalidJson``."""
    depth = 0
    for match in BRACKET.finditer(body, start, stop):
        group = match.lastindex
        if group == 1:
            depth += 1
        elif group == 2:
            depth -= 1
            if depth <= 0:
                return match.end()
        elif group == 3:
            raise unended_string()
    raise InvalidJson("The body is not valid JSON: a bracket is not closed")


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


def too_deep() -> TooDeep:
    """The refusal of a body with more than ``MAX_DEPTH`` levels."""
    return TooDeep(f"The body is nested deeper than {MAX_DEPTH} levels")


def unended_string() -> InvalidJson:
    """The refusal of a body that ends inside a string."""
    return InvalidJson("The body is not valid JSON: a string does not end")
