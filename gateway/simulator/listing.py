"""Paged answers."""

import base64
from collections.abc import Callable, Sequence
from typing import TypeVar
from urllib.parse import urlencode

from gateway.simulator.creation import not_found
from gateway.simulator.pages import BadCursor, paginate
from gateway.simulator.wire import Json, Reply, Request, json_reply
from gateway.simulator.world import World

T = TypeVar("T")


def list_reply(
    world: World,
    request: Request,
    items: Sequence[T],
    number: Callable[[T], int],
    show: Callable[[T], Json],
    keep: Callable[[T], bool] = lambda _item: True,
) -> Reply:
    """Answer one page of items that are given oldest first. Raises Refused for a bad cursor."""
    try:
        page = paginate(items, number, request.query.get("cursor"), keep)
    except BadCursor as error:
        raise not_found("Invalid cursor") from error
    return json_reply(
        {
            "next": _link(world, request, page.next),
            "previous": _link(world, request, page.previous),
            "results": [show(item) for item in page.items],
        }
    )


def _link(world: World, request: Request, cursor: str | None) -> str | None:
    if cursor is None:
        return None
    api = world.addresses.api
    if world.config.http_next_links:
        api = "http:" + api.partition(":")[2]
    query = {name: value for name, value in request.query.items() if name != "cursor"}
    return f"{api}{request.path}?{urlencode({**query, 'cursor': cursor})}"


def page_of(items: Sequence[Json]) -> Reply:
    """Answer a list that always fits on one page."""
    return json_reply({"next": None, "previous": None, "results": items})


def data_uri(media_type: str, content: bytes) -> str:
    """Return a file as a `data:` URI."""
    return f"data:{media_type};base64,{base64.b64encode(content).decode()}"
