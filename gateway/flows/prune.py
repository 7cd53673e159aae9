"""Retention: what is older than it may be goes, by age and by size. Daily totals stay for good.

Rows that a quota's window still needs are never among what goes: predictions lose their documents,
and only a year later their rows; creates go when their fate is known.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from gateway.clock import Clock
from gateway.domain.plans import Per
from gateway.domain.quota import window
from gateway.flows.erase_predictions import ErasePredictions, delete_file
from gateway.flows.make_room import MakeRoom
from gateway.ledger import (
    Connection,
    Ledger,
    audit,
    creates,
    files,
    outbox,
    predictions,
    quotas,
    streams,
    uploads,
    workers,
)
from gateway.mirror import Mirror

DAY_S = 86_400.0
ROWS_S = 365 * DAY_S
"""How long the row of a prediction outlives its document."""

ATTEMPTS_S = 7 * DAY_S
STREAMS_S = 2 * DAY_S
DELIVERED_S = 7 * DAY_S
DEAD_LETTERS_S = 60 * DAY_S
WARNINGS_S = 40 * DAY_S
"""Longer than any window: a warning is sent once in each."""

COUNTERS_S = 2 * DAY_S
AUDIT_S = 2 * 365 * DAY_S

_BATCH = 200

Progress = Callable[[str, int], None]
"""Told what went, and how many of it, as it goes."""


@dataclass(slots=True)
class Pruned:
    """What went, by its kind."""

    counts: dict[str, int] = field(default_factory=dict)

    def add(self, kind: str, count: int) -> None:
        """Count some."""
        self.counts[kind] = self.counts.get(kind, 0) + count


class Prune:
    """Removes what retention no longer keeps. An age of 0 seconds keeps for ever."""

    def __init__(
        self,
        ledger: Ledger,
        mirror: Mirror,
        clock: Clock,
        erase: ErasePredictions,
        make_room: MakeRoom,
        *,
        documents_s: float,
        files_s: float,
    ) -> None:
        self._ledger = ledger
        self._mirror = mirror
        self._clock = clock
        self._erase = erase
        self._make_room = make_room
        self._documents_s = documents_s
        self._files_s = files_s

    async def __call__(
        self, progress: Progress = lambda kind, count: None, *, rows: bool = True
    ) -> Pruned:
        """Remove what there is to remove; without `rows` only documents and files."""
        pruned = Pruned()

        def told(kind: str, count: int) -> None:
            if count:
                pruned.add(kind, count)
                progress(kind, count)

        await self._documents(told)
        await self._files(told)
        await self._make_room.measure()
        await self._make_room(lambda _size: told("files", 1))
        if rows:
            await self._rows(told)
        return pruned

    async def _documents(self, told: Progress) -> None:
        if not self._documents_s:
            return
        before = self._clock.now() - self._documents_s
        while ids := await self._ledger.read(
            partial(predictions.expired, settled_before=before, limit=_BATCH)
        ):
            # Files have a time of their own.
            await self._erase(ids, keep_files=True)
            told("documents", len(ids))

    async def _files(self, told: Progress) -> None:
        if not self._files_s:
            return
        before = self._clock.now() - self._files_s
        while oldest := await self._ledger.read(
            partial(files.oldest_stored, before=before, limit=_BATCH)
        ):
            urls = [file.url for file in oldest]
            await self._ledger.write(partial(predictions.mark_gone, urls=urls))
            for url in urls:
                await delete_file(self._mirror, url)
            told("files", len(urls))

    async def _rows(self, told: Progress) -> None:
        now = self._clock.now()
        begun = min(window(per, now).start for per in Per)

        def work(conn: Connection) -> dict[str, int]:
            workers.forget_old(conn, now - DAY_S)
            return {
                "stream events": streams.prune(conn, now - STREAMS_S),
                "webhooks": outbox.prune(
                    conn,
                    delivered_before=now - DELIVERED_S,
                    dead_before=now - DEAD_LETTERS_S,
                    warnings_before=now - WARNINGS_S,
                ),
                "counters": quotas.prune_counters(conn, now - COUNTERS_S),
                "uploads": uploads.prune(conn, now - DAY_S),
                "audit entries": audit.prune(conn, now - AUDIT_S),
            }

        for kind, count in (await self._ledger.write(work)).items():
            told(kind, count)
        # With a new month all attempts of the old one go: in pieces, so that nobody waits for them.
        while count := await self._ledger.write(
            partial(creates.prune, before=min(now - ATTEMPTS_S, begun), limit=_BATCH)
        ):
            told("attempts", count)
        while count := await self._ledger.write(
            partial(
                predictions.forget,
                removed_before=now - ROWS_S,
                charged_before=begun,
                limit=_BATCH,
            )
        ):
            told("rows", count)


class PruneLoop:
    """A step of a loop: one worker of all prunes, each measures its own room."""

    EVERY_S = 10.0
    ROWS_EVERY_S = 3600.0
    LEASE_S = 600.0

    def __init__(
        self, ledger: Ledger, clock: Clock, prune: Prune, make_room: MakeRoom, worker_id: str
    ) -> None:
        self._ledger = ledger
        self._clock = clock
        self._prune = prune
        self._make_room = make_room
        self._worker_id = worker_id
        self._rows_at = clock.now() + self.EVERY_S

    async def __call__(self) -> float:
        """Prune if nobody else does; returns seconds until the next time."""
        now = self._clock.now()
        await self._make_room.measure()
        lease = partial(
            workers.take_lease, name="prune", by=self._worker_id, now=now, until=now + self.LEASE_S
        )
        if await self._ledger.write(lease):
            try:
                rows = now >= self._rows_at
                await self._prune(rows=rows)
                if rows:
                    self._rows_at = now + self.ROWS_EVERY_S
            finally:
                await self._ledger.write(
                    partial(workers.give_lease_back, name="prune", by=self._worker_id)
                )
        return self.EVERY_S
