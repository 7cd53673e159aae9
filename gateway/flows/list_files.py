"""The caller's own uploads, from the ledger, in the official paging shape."""

from functools import partial

from gateway.clock import Clock
from gateway.domain.cursors import Cursor
from gateway.domain.documents import client_file, list_document
from gateway.domain.urls import UrlMap
from gateway.flows.answer import Answer, Caller
from gateway.flows.paging import page_link, read_cursor
from gateway.flows.present import JSON
from gateway.ledger import Ledger, uploads

PAGE = 100


class ListFiles:
    """Lists what the caller uploaded and upstream still has, newest first, 100 a page."""

    def __init__(self, ledger: Ledger, urls: UrlMap, clock: Clock) -> None:
        self._ledger = ledger
        self._urls = urls
        self._clock = clock

    async def __call__(self, caller: Caller, query: str) -> Answer:
        """Answer with one page.

        Raises:
            Refused: the cursor makes no sense.
        """
        cursor = read_cursor(query)
        place = None if cursor is None else (cursor.created_at, cursor.id)
        backwards = cursor is not None and cursor.backwards
        found = await self._ledger.read(
            partial(
                uploads.page,
                user_id=caller.identity.user_id,
                alive_at=self._clock.now(),
                before=None if backwards else place,
                after=place if backwards else None,
                limit=PAGE + 1,
            )
        )
        # One more than a page tells whether there is another in that direction.
        more = len(found) > PAGE
        page = found[-PAGE:] if backwards else found[:PAGE]
        items = [
            client_file(row.document, self._urls, caller.origin)
            for row in page
            if row.document is not None
        ]
        base = f"{caller.origin}/replicate/v1/files"
        older = newer = None
        if page:
            if more or backwards:
                older = page_link(base, query, Cursor(page[-1].created_at, page[-1].file_id))
            if (more and backwards) or (place is not None and not backwards):
                first = Cursor(page[0].created_at, page[0].file_id, backwards=True)
                newer = page_link(base, query, first)
        headers = (JSON, ("cache-control", "no-store"))
        return Answer(200, headers, list_document(older, newer, items))
