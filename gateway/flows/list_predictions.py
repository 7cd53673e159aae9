"""The caller's own predictions or trainings, from the ledger, in the official paging shape."""

import re
from dataclasses import dataclass
from functools import partial
from typing import Literal
from urllib.parse import parse_qsl, urlencode

from gateway.domain import problems
from gateway.domain.cursors import Cursor, decode_cursor, encode_cursor
from gateway.domain.documents import list_document, parse_time
from gateway.domain.endings import removed
from gateway.domain.problems import Problem
from gateway.flows.answer import Answer, Caller, Refused
from gateway.flows.present import JSON, Presenter
from gateway.ledger import Ledger, predictions

PAGE = 100
_DAY = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)

Kind = Literal["prediction", "training"]


@dataclass(frozen=True, slots=True)
class Filters:
    """What a list is asked for."""

    cursor: Cursor | None = None
    created_after: float | None = None
    created_before: float | None = None
    source: str | None = None


def read_filters(query: str) -> Filters:
    """Read a list's query; unknown parameters are ignored, as upstream does.

    Raises:
        Refused: 400 for a cursor or a time that is none.
    """
    found = dict(parse_qsl(query, keep_blank_values=True))
    cursor = None
    if found.get("cursor"):
        try:
            cursor = decode_cursor(found["cursor"])
        except ValueError:
            raise Refused(_bad("cursor", "it is not a cursor of this list")) from None
    source = found.get("source") or None
    if source not in (None, "web", "api"):
        raise Refused(_bad("source", "it is web or api, or not given"))
    return Filters(
        cursor=cursor,
        created_after=_time(found, "created_after"),
        created_before=_time(found, "created_before"),
        source=source,
    )


class ListPredictions:
    """Lists what the caller made, newest first, 100 a page."""

    def __init__(self, ledger: Ledger, presenter: Presenter) -> None:
        self._ledger = ledger
        self._presenter = presenter

    async def __call__(self, caller: Caller, kind: Kind, query: str) -> Answer:
        """Answer with one page.

        Raises:
            Refused: the query makes no sense.
        """
        filters = read_filters(query)
        cursor = filters.cursor
        which = predictions.Filter(
            user_id=caller.identity.user_id,
            kind=kind,
            created_after=filters.created_after,
            created_before=filters.created_before,
            source=filters.source,
        )
        place = None if cursor is None else predictions.Cursor(cursor.created_at, cursor.id)
        backwards = cursor is not None and cursor.backwards
        found = await self._ledger.read(
            partial(
                predictions.page,
                which=which,
                before=None if backwards else place,
                after=place if backwards else None,
                limit=PAGE + 1,
            )
        )
        # One more than a page tells whether there is another in that direction.
        more = len(found) > PAGE
        page = found[-PAGE:] if backwards else found[:PAGE]
        items = [
            self._presenter.document(
                body if row.removed_at is None else removed(body),
                self._presenter.view(row, caller),
            )
            for row, body in page
        ]
        base = f"{caller.origin}/replicate/v1/{kind}s"
        older = newer = None
        if page:
            first, last = page[0][0], page[-1][0]
            if more or backwards:
                older = _link(base, query, Cursor(last.created_at, last.id))
            if (more and backwards) or (place is not None and not backwards):
                newer = _link(base, query, Cursor(first.created_at, first.id, backwards=True))
        body = list_document(older, newer, items)
        return Answer(200, (JSON, ("cache-control", "no-store")), body)


def _link(base: str, query: str, cursor: Cursor) -> str:
    kept = [pair for pair in parse_qsl(query, keep_blank_values=True) if pair[0] != "cursor"]
    return f"{base}?{urlencode([('cursor', encode_cursor(cursor)), *kept])}"


def _time(found: dict[str, str], name: str) -> float | None:
    text = found.get(name)
    if not text:
        return None
    # A day alone is a time too: its beginning.
    at = parse_time(f"{text}T00:00:00Z" if _DAY.fullmatch(text) else text)
    if at is None:
        raise Refused(_bad(name, "it is not a time as ISO 8601 writes it"))
    return at


def _bad(name: str, reason: str) -> Problem:
    return problems.invalid_query(name, reason)
