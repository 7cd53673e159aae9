"""Lists that are short enough to be cut into pages here, and where the next page begins."""

from collections.abc import Callable, Sequence
from typing import TypeVar

from gateway.domain.cursors import Cursor
from gateway.flows.paging import page_link
from gateway.web.endpoints import Call, Shape
from gateway.web.me_api import read_place
from gateway.web.shapes import PageCursor, Size

T = TypeVar("T")


class PageQuery(Shape):
    """Which page."""

    limit: Size = 100
    cursor: PageCursor | None = None


def cut(
    items: Sequence[T], name: Callable[[T], str], cursor: str | None, limit: int
) -> tuple[Sequence[T], str | None]:
    """Return the page behind the item that a cursor names, and the name of its last if more
    follow. An item that is gone meanwhile starts the list over.
    """
    place = read_place(cursor)
    begin = 0
    if place is not None:
        begin = next((at + 1 for at, item in enumerate(items) if name(item) == place.id), 0)
    page = items[begin : begin + limit]
    more = begin + limit < len(items)
    return page, name(page[-1]) if more and page else None


def link(call: Call, path: str, last: str | None, at: float = 0.0) -> str | None:
    """Return the address of the page behind an item."""
    return (
        None
        if last is None
        else page_link(f"{call.origin}{path}", call.query_text, Cursor(at, last))
    )
