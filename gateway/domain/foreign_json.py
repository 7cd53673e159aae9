"""Reading JSON that upstream wrote.

A client's body may be refused; what upstream answers may have been paid for, and is passed on byte
for byte anyway. So nothing that is legal JSON makes an answer unreadable here, however deep its
output is nested.
"""

from typing import Final

from gateway.domain.json_text import load, replace_spans
from gateway.domain.json_tokens import BRACKET, MAX_DEPTH, InvalidJson, TooDeep, unended_string

_OPAQUE: Final = b"null"


def load_foreign(body: bytes) -> object:
    """The decoded document, as ``load`` has it, of any depth.

    What lies deeper than ``MAX_DEPTH`` levels reads as ``None`` and is not looked into, so that
    nothing that walks the result runs into the interpreter's recursion limit. Raises
    ``InvalidJson``.
    """
    try:
        return load(body)
    except TooDeep:
        return load(_without_depths(body))


def is_json(body: bytes) -> bool:
    """Whether the whole body is one JSON value that ``load_foreign`` reads."""
    try:
        load_foreign(body)
    except InvalidJson:
        return False
    return True


def _without_depths(body: bytes) -> bytes:
    try:
        body.decode()
    except UnicodeDecodeError as error:
        raise InvalidJson(f"The body is not valid JSON: not UTF-8 at byte {error.start}") from error
    depth = start = 0
    edits: list[tuple[int, int, bytes]] = []
    for match in BRACKET.finditer(body):
        group = match.lastindex
        if group == 1:
            depth += 1
            if depth == MAX_DEPTH + 1:
                start = match.start()
        elif group == 2:
            if depth == MAX_DEPTH + 1:
                edits.append((start, match.end(), _OPAQUE))
            depth -= 1
        elif group == 3:
            raise unended_string()
    if depth:
        raise InvalidJson("The body is not valid JSON: a bracket is not closed")
    return replace_spans(body, edits)
