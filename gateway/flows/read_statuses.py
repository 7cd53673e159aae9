"""The statuses of many running predictions at the price of few: from the account's list.

A hundred for one request, but good for statuses only. What the list shows in the status that is
known already needs no look of its own; what has moved on, or is not on the pages, does.
"""

import asyncio
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial

from gateway.clock import Clock
from gateway.domain.documents import InvalidJson, NotAPrediction, facts_of
from gateway.domain.webhook_wishes import WebhookWish
from gateway.flows.observe import Observe
from gateway.flows.spawn import Spawn
from gateway.flows.upstream_lists import PAGE_ITEMS, UpstreamLists
from gateway.ledger import Ledger, predictions
from gateway.ledger.predictions import Row, Sighting
from gateway.upstream import UpstreamError, Urgency

_log = logging.getLogger(__name__)

MOST_PAGES = 10

WORTH = 2
"""A page has to spare at least so many single looks."""

_NOBODY = "the list"
"""Whose turn it costs: nobody's. It serves many, so it stands in line for itself."""


@dataclass(frozen=True, slots=True)
class Listed:
    """What the list tells about predictions. Of those in neither it tells nothing."""

    confirmed: frozenset[str] = frozenset()
    """They are what is known of them already."""
    moved_on: frozenset[str] = frozenset()
    """They have another status, most likely their last one."""


def statuses_do(row: Row) -> bool:
    """Return whether nobody wants to be told of what a list does not show."""
    if row.kind != "prediction" or row.first_missing_at is not None:
        return False
    if row.webhook is None:
        return True
    return set(WebhookWish(row.webhook, row.webhook_events).wanted) <= {"start", "completed"}


class ReadStatuses:
    """Compares what is known with the list; rows are claimed by whoever asks."""

    def __init__(
        self,
        ledger: Ledger,
        lists: UpstreamLists,
        observe: Observe,
        clock: Clock,
        spawn: Spawn,
    ) -> None:
        self._ledger = ledger
        self._lists = lists
        self._observe = observe
        self._clock = clock
        self._spawn = spawn
        self._asked: dict[str, tuple[Row, asyncio.Future[Listed]]] = {}
        self._reading = False

    async def pays_for(self, rows: Sequence[Row]) -> frozenset[str]:
        """Return those of these rows that cost less on the list than one by one."""
        inside = [row for row in rows if row.kind == "prediction"]
        if len(inside) < WORTH:
            return frozenset()
        bounds = await self._ledger.read(
            partial(predictions.page_bounds, size=PAGE_ITEMS, pages=MOST_PAGES)
        )
        best, saved = 0, 0
        for pages, bound in enumerate(bounds, start=1):
            covered = sum(row.created_at >= bound for row in inside)
            if covered - pages > saved:
                best, saved = pages, covered - pages
        if not best:
            return frozenset()
        return frozenset(row.id for row in inside if row.created_at >= bounds[best - 1])

    async def one(self, row: Row) -> Listed:
        """Return what the list shows of `row`, and of others for whom it is read with it.

        Only for readers: theirs is the place in line.
        """
        known = self._asked.get(row.id)
        if known is None:
            future: asyncio.Future[Listed] = asyncio.get_running_loop().create_future()
            known = self._asked[row.id] = (row, future)
        if not self._reading:
            self._reading = True
            self._spawn(self._serve(), "read statuses")
        return await asyncio.shield(known[1])

    async def _serve(self) -> None:
        try:
            while self._asked:
                asked, self._asked = self._asked, {}
                listed = Listed()
                try:
                    rows = [row for row, _ in asked.values()]
                    listed = await self.many(rows, Urgency.READ, read=True)
                finally:
                    for _, future in asked.values():
                        if not future.done():
                            future.set_result(listed)
        finally:
            self._reading = False

    async def many(self, rows: Sequence[Row], urgency: Urgency, *, read: bool) -> Listed:
        """Return what the list shows of these rows. `read`: clients wait for it.

        Never raises for upstream's faults: then it tells nothing more.
        """
        left = {row.id: row for row in rows if row.kind == "prediction"}
        confirmed: set[str] = set()
        moved_on: set[str] = set()
        # What others do with the account stands on its list too: more pages than rows never pay.
        # Those whom clients wait for come in small numbers, and stand in the way of all others.
        most_pages = MOST_PAGES if read else min(MOST_PAGES, len(left))
        pages = 0
        try:
            async for page in self._lists.pages("prediction", urgency, user=_NOBODY):
                pages += 1
                shown = dict(_statuses(page.documents))
                found = [left.pop(one) for one in list(left) if one in shown]
                same = [row for row in found if shown[row.id][0] == row.status]
                moved_on |= {row.id for row in found if shown[row.id][0] != row.status}
                confirmed |= await self._confirm(same, page.asked_at, read=read)
                oldest = min((made for _, made in shown.values()), default=0.0)
                behind = sum(row.created_at <= oldest for row in left.values())
                if page.last or behind < WORTH or pages >= most_pages:
                    break
        except (UpstreamError, InvalidJson) as error:
            _log.warning("statuses could not be read from the list: %s", error)
        return Listed(frozenset(confirmed), frozenset(moved_on))

    async def _confirm(self, rows: Sequence[Row], at: float, *, read: bool) -> frozenset[str]:
        if not rows:
            return frozenset()
        now = self._clock.now()
        seen = [
            Sighting(row.id, row.status, at, now + self._observe.next_look(row, now, read=read))
            for row in rows
        ]
        return await self._ledger.write(partial(predictions.confirm, seen=seen))


def _statuses(documents: Iterable[object]) -> Iterable[tuple[str, tuple[str, float]]]:
    for document in documents:
        try:
            told = facts_of(document)
        except NotAPrediction:
            continue
        if told.created_at is not None:
            yield told.id, (told.status, told.created_at)
