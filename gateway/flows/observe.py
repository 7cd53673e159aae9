"""What is done with every document that upstream shows of a prediction.

Whoever sees it (a create, a client's poll, the follower, a cancel, a stream's end) hands it in
here; so there is one place that decides whether it is news, and one transaction that settles.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass

from gateway.cache import Cache
from gateway.clock import Clock
from gateway.domain.backoff import Kind, next_look_after
from gateway.domain.documents import PredictionFacts, facts, is_terminal, output_urls, status_rank
from gateway.domain.endings import as_lost, with_last_data
from gateway.domain.plans import Policy
from gateway.domain.price import cost_nano, find
from gateway.domain.urls import UrlMap
from gateway.domain.usage import Usage, usage_from
from gateway.flows.announce import Announce
from gateway.flows.present import finished_of
from gateway.flows.warn_of_quotas import WarnOfQuotas
from gateway.ledger import Connection, Ledger, predictions
from gateway.ledger.predictions import Row, Settlement, Snapshot
from gateway.metrics import Metrics

_log = logging.getLogger(__name__)


READ_AGAIN_S = 2.0
READ_AGAIN_PART = 0.05
"""What somebody reads is looked at again after so many seconds, or that part of its age."""


def cache_key(prediction_id: str) -> str:
    """Name a finished prediction in the cache."""
    return f"finished:{prediction_id}"


@dataclass(frozen=True, slots=True)
class Observed:
    """Where a prediction stands after a document was taken in."""

    row: Row
    body: bytes
    """The document to show: the one handed in, or a newer one that was known already."""


def _kind(row: Row) -> Kind:
    return "training" if row.kind == "training" else "prediction"


class Observe:
    """Takes in documents: keeps the newest, settles at the end, sets the files in motion."""

    def __init__(
        self,
        ledger: Ledger,
        cache: Cache,
        urls: UrlMap,
        clock: Clock,
        metrics: Metrics,
        policy: Callable[[], Policy],
        files_wanted: Callable[[], None],
        poll_interval_s: float,
        announce: Announce,
        warn: WarnOfQuotas,
    ) -> None:
        self._ledger = ledger
        self._cache = cache
        self._urls = urls
        self._clock = clock
        self._metrics = metrics
        self._policy = policy
        self.files_wanted = files_wanted
        self._poll_interval_s = poll_interval_s
        self._announce = announce
        self._warn = warn

    async def __call__(
        self, row: Row, body: bytes, *, final: bool, read: bool = False, at: float | None = None
    ) -> Observed:
        """Take in `body` for the prediction `row`.

        `final` says that a terminal status in it may be believed to come with everything that a
        finished prediction has (it was fetched singly); otherwise a terminal status only makes the
        follower look at once. `read`: a client waits for it, and will probably ask again. `at`:
        when upstream was asked, if that is known.
        """
        told = facts(body)
        files = output_urls(body, self._urls)
        now = self._clock.now()
        if is_terminal(told.status) and final:
            return await self._settle(row, body, told, files, now)
        wait = 0.0
        if not is_terminal(told.status):
            wait = self.next_look(row, now, read=read)
        snapshot = Snapshot(
            document=body,
            # Only a document fetched singly ends a prediction; until then it is still running.
            status="processing" if is_terminal(told.status) else told.status,
            rank=status_rank("processing" if is_terminal(told.status) else told.status),
            at=now if at is None else at,
            next_look_at=now + wait,
            files=files,
            tell=self._announce.of_row(row, body, ended=False),
        )
        news = await self._ledger.write(
            lambda conn: predictions.store_snapshot(conn, row.id, snapshot)
        )
        if files:
            self.files_wanted()
        if snapshot.tell is not None:
            self._announce.queued()
        return await self._known(row, body, news=news)

    def next_look(self, row: Row, now: float, *, read: bool) -> float:
        """Return seconds until the follower looks again at what runs on."""
        age = max(0.0, now - row.created_at)
        wait = next_look_after(age, row.webhook is not None, _kind(row), self._poll_interval_s)
        # Readers see to it that they are shown something fresh. This is for the last of them, and
        # for those that have another way of waiting.
        return min(wait, max(READ_AGAIN_S, READ_AGAIN_PART * age)) if read else wait

    async def lost(self, row: Row) -> Observed:
        """Settle a prediction that upstream has not known for ten minutes."""
        known = await self._document(row)
        if known is None:
            return Observed(row, b"{}")
        ended = as_lost(known)
        _log.warning("prediction %s: upstream no longer knows it; settled as failed", row.id)
        self._metrics.predictions_lost.inc()
        told = facts(ended)
        return await self._settle(row, ended, told, (), self._clock.now(), lost=True)

    async def _settle(
        self,
        row: Row,
        body: bytes,
        told: PredictionFacts,
        files: tuple[str, ...],
        now: float,
        *,
        lost: bool = False,
    ) -> Observed:
        if told.data_removed and not told.has_output:
            known = await self._document(row)
            body = body if known is None else with_last_data(body, known)
            files = output_urls(body, self._urls)
        usage = usage_from(told.metrics, files)
        price = find(self._policy().prices, row.model)
        settlement = Settlement(
            document=body,
            status=told.status,
            rank=status_rank(told.status),
            at=now,
            started_at=told.started_at,
            completed_at=told.completed_at,
            usage=usage,
            # What became of a lost one nobody knows, so neither what it cost.
            cost_nano=None if lost else cost_nano(price, usage, told.status),
            files=files,
            tell=self._announce.of_row(row, body, ended=True),
        )

        def work(conn: Connection) -> bool:
            first = predictions.settle(conn, row.id, settlement)
            if first:
                self._warn.settled(conn, row)
            return first

        first = await self._ledger.write(work, durable=True)
        if first:
            self._count(row, told.status, usage, settlement.cost_nano)
        if files:
            self.files_wanted()
        if settlement.tell is not None:
            self._announce.queued()
        observed = await self._known(row, body, news=first)
        if observed.row.settled_at is not None and observed.row.removed_at is None:
            kept = finished_of(observed.row, observed.body)
            await self._cache.set(cache_key(row.id), kept.pack())
        return observed

    async def _document(self, row: Row) -> bytes | None:
        return await self._ledger.read(lambda conn: predictions.document(conn, row.id))

    async def _known(self, row: Row, body: bytes, *, news: bool) -> Observed:
        known = await self._ledger.read(lambda conn: predictions.get_with_document(conn, row.id))
        if known is None:
            return Observed(row, body)
        return Observed(known[0], body if news else known[1])

    def _count(self, row: Row, status: str, usage: Usage, cost: int | None) -> None:
        self._metrics.prediction_settled(
            user=row.user_name,
            team=row.team or "",
            model=row.model or "",
            status=status,
            usage=usage,
            cost_nano=cost,
        )
