"""Reading the account's own lists, page by page, newest first."""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlencode, urlsplit

from gateway.clock import Clock
from gateway.domain.documents import list_page
from gateway.domain.foreign_json import load_foreign
from gateway.domain.json_text import InvalidJson
from gateway.upstream import OPERATIONS, Upstream, UpstreamError, Urgency

Kind = Literal["prediction", "training"]

PAGE_ITEMS = 100
"""What upstream puts on a page."""


@dataclass(frozen=True, slots=True)
class UpstreamPage:
    """A page as it was at `asked_at`. `last`: there is nothing behind it."""

    body: bytes
    documents: tuple[object, ...]
    """Its items, decoded."""
    asked_at: float
    last: bool

    @property
    def items(self) -> tuple[bytes, ...]:
        """Its items byte for byte, which takes longer."""
        return list_page(self.body).items


class UpstreamLists:
    """The lists of predictions and trainings of the whole account."""

    def __init__(self, upstream: Upstream, clock: Clock) -> None:
        self._upstream = upstream
        self._clock = clock

    async def pages(
        self,
        kind: Kind,
        urgency: Urgency,
        filters: Mapping[str, str] | None = None,
        user: str | None = None,
    ) -> AsyncIterator[UpstreamPage]:
        """Yield pages until the reader has enough or there are no more.

        Raises:
            UpstreamError: upstream cannot be asked, or does not answer with a page.
            InvalidJson: what it answers with is no list.
        """
        query = urlencode(filters or {})
        while True:
            # Before it is the turn's: what is made meanwhile may stand on the page, or not.
            asked_at = self._clock.now()
            answer = await self._upstream.call(
                OPERATIONS[f"{kind}s.list"],
                f"/v1/{kind}s",
                query=query.encode("ascii"),
                urgency=urgency,
                user=user,
            )
            if answer.status != 200:
                raise UpstreamError(f"upstream answered {answer.status} when asked for {kind}s")
            page = load_foreign(answer.body)
            if not isinstance(page, dict) or not isinstance(page.get("results"), list):
                raise InvalidJson("The document is not a list: it has no results")
            link = page.get("next")
            # Only the query: where to ask is never taken from an answer.
            following = urlsplit(link).query if isinstance(link, str) else ""
            last = not following or following == query
            yield UpstreamPage(answer.body, tuple(page["results"]), asked_at, last)
            if last:
                return
            query = following
