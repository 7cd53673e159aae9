"""Answer a create that repeats an earlier one from what that one led to: never a second create.

A create repeats another by its `Idempotency-Key`; or it calls itself a retry (a client's own, after
a broken connection), and an attempt like it was made in the last ten minutes whose answer nobody
got. While the earlier attempt is under way, or nobody knows what became of it, the repeat waits.
"""

import asyncio
import logging
from dataclasses import dataclass
from functools import partial

from gateway.clock import Clock
from gateway.domain import problems
from gateway.domain.endings import removed
from gateway.flows.answer import Answer, Refused
from gateway.flows.prepare_create import CreateRequest, Progress
from gateway.flows.present import JSON, Presenter
from gateway.ledger import Connection, Ledger, LedgerUnavailable, creates, predictions
from gateway.ledger.create_rows import RECORDED
from gateway.ledger.creates import CreateRow

_log = logging.getLogger(__name__)

JOIN_WITHIN_S = 600.0
"""How old an attempt may be that a client's retry is taken for the repeat of."""

DELIVERY_S = 1.0
"""How long the answer of another process may be on its way to its client."""

RETRY_AFTER_S = 5
STEP_S = 0.1


@dataclass(frozen=True, slots=True)
class _Earlier:
    """The attempt that is repeated, and whether its answer can be given."""

    create: CreateRow
    ready: bool


class RepeatCreate:
    """Recognises repeats, and knows which answers have reached their clients."""

    def __init__(
        self,
        ledger: Ledger,
        presenter: Presenter,
        clock: Clock,
        worker_id: str,
        max_queue_s: float,
    ) -> None:
        self._ledger = ledger
        self._presenter = presenter
        self._clock = clock
        self._worker_id = worker_id
        self._max_queue_s = max_queue_s
        self._awaited: set[str] = set()
        """Attempts of this process whose clients are still there: no retry can be theirs."""

    async def __call__(self, request: CreateRequest, progress: Progress) -> Answer | None:
        """Answer a repeat; None says that this is a create of its own.

        Raises:
            Refused: the key was used for something else, or the earlier attempt stays undecided
                for longer than a request may wait.
            CancelledError: the client left meanwhile.
        """
        if request.idempotency_key is None and request.retry_count < 1:
            return None
        deadline = request.started_at + self._max_queue_s
        find = partial(self._find, request=request, digest=request.digest)
        while True:
            # Asked in the line of the writes: what was noted before is seen.
            found = await self._ledger.write(find)
            if isinstance(found, creates.Conflict):
                raise Refused(problems.idempotency_conflict())
            if found is None:
                return None
            if progress.left:
                if found.ready:
                    await self.undelivered(found.create.id)
                raise asyncio.CancelledError
            if found.ready:
                return await self._answer(request, found.create)
            if self._clock.monotonic() >= deadline:
                raise Refused(problems.create_in_doubt(RETRY_AFTER_S))
            await self._clock.sleep(STEP_S)

    def expect(self, create_id: str) -> None:
        """Note that the client of this attempt is there."""
        self._awaited.add(create_id)

    def forget(self, create_id: str) -> None:
        """Note that nobody waits for this attempt's answer any more."""
        self._awaited.discard(create_id)

    async def delivered(self, create_id: str) -> None:
        """Note that the client has the answer, so that no retry joins this attempt."""
        # Written for every create. A first attempt need not say what its client will do when it
        # breaks, and one small write beside the durable ones of each create is hardly seen.
        now = self._clock.now()
        try:
            await self._ledger.write(partial(creates.mark_delivered, create_id=create_id, now=now))
        except LedgerUnavailable as error:
            _log.warning("create %s was answered, but that was not noted: %s", create_id, error)
        self._awaited.discard(create_id)

    async def undelivered(self, create_id: str) -> None:
        """Note that the client was gone when its answer was there: a retry may have it."""
        self._awaited.discard(create_id)
        try:
            await self._ledger.write(partial(creates.leave_joinable, create_id=create_id))
        except LedgerUnavailable as error:
            _log.warning("create %s cannot be joined: %s", create_id, error)

    def _find(
        self, conn: Connection, request: CreateRequest, digest: str
    ) -> "_Earlier | creates.Conflict | None":
        """Find the attempt that this one repeats; a retry takes it if its answer is there."""
        now = self._clock.now()
        identity = request.caller.identity
        if request.idempotency_key is not None:
            repeated = creates.find_repeated(
                conn,
                user_id=identity.user_id,
                idempotency_key=request.idempotency_key,
                kind=request.kind,
                target=request.match.path,
                body_digest=digest,
                at=now,
            )
            if not isinstance(repeated, creates.Repeated):
                return repeated
            return _Earlier(repeated.create, ready=repeated.create.state == RECORDED)
        found = creates.find_joinable(
            conn, identity.key_id, request.match.path, digest, now - JOIN_WITHIN_S
        )
        if found is None:
            return None
        ready = found.state == RECORDED and not self._may_arrive(found)
        return _Earlier(found, ready=ready and creates.take_joinable(conn, found.id, now))

    def _may_arrive(self, earlier: CreateRow) -> bool:
        """Whether the earlier attempt's answer may just be on its way to its own client."""
        if earlier.worker == self._worker_id:
            return earlier.id in self._awaited
        finished_at = earlier.finished_at or 0.0
        return self._clock.now() - finished_at < DELIVERY_S

    async def _answer(self, request: CreateRequest, earlier: CreateRow) -> Answer:
        prediction_id = earlier.prediction_id or ""
        known = await self._ledger.read(
            partial(predictions.get_with_document, prediction_id=prediction_id)
        )
        if known is None:
            raise Refused(problems.not_found())
        row, body = known
        if row.removed_at is not None:
            body = removed(body)
        shown = self._presenter.document(body, self._presenter.view(row, request.caller))
        told = earlier.answer
        return Answer(
            201 if told is None else told.status,
            (JSON, *(() if told is None else told.headers)),
            shown,
            attempt=earlier.id,
        )
