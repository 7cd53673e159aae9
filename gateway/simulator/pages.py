"""Lists in pages, with cursors that stay right while new items arrive."""

import base64
import binascii
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar
from urllib.parse import parse_qs, urlencode

T = TypeVar("T")
PAGE_ITEMS = 100


class BadCursor(ValueError):
    """The cursor is none of ours."""


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Some items, newest first, and the cursors of the neighbouring pages."""

    items: list[T]
    next: str | None
    previous: str | None


def _encode(number: int, *, backwards: bool) -> str:
    text = urlencode({"r": 1, "p": number} if backwards else {"p": number})
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _decode(cursor: str) -> tuple[int, bool]:
    padded = cursor + "=" * (-len(cursor) % 4)
    try:
        text = base64.b64decode(padded, altchars=b"-_", validate=True).decode()
        fields = parse_qs(text)
        return int(fields["p"][0]), "r" in fields
    except (binascii.Error, UnicodeDecodeError, KeyError, ValueError) as error:
        raise BadCursor(cursor) from error


def paginate(
    items: Sequence[T],
    number: Callable[[T], int],
    cursor: str | None,
    keep: Callable[[T], bool] = lambda _item: True,
    limit: int = PAGE_ITEMS,
) -> Page[T]:
    """Return one page of items that are given oldest first, numbered upwards. Raises BadCursor."""
    mark, backwards = 0, False
    position = len(items)
    if cursor is not None:
        mark, backwards = _decode(cursor)
        position = bisect_left(items, mark, key=number)
    if backwards:
        while position < len(items) and number(items[position]) <= mark:
            position += 1
        newer = _collect(items, range(position, len(items)), keep, limit + 1)
        chosen = newer[:limit][::-1]
        older_left, newer_left = bool(chosen), len(newer) > limit
    else:
        older = _collect(items, range(position - 1, -1, -1), keep, limit + 1)
        chosen = older[:limit]
        older_left, newer_left = len(older) > limit, cursor is not None and bool(chosen)
    return Page(
        chosen,
        _encode(number(chosen[-1]), backwards=False) if older_left else None,
        _encode(number(chosen[0]), backwards=True) if newer_left else None,
    )


def _collect(
    items: Sequence[T], positions: range, keep: Callable[[T], bool], limit: int
) -> list[T]:
    found: list[T] = []
    for position in positions:
        if keep(items[position]):
            found.append(items[position])
            if len(found) >= limit:
                break
    return found
