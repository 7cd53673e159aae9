"""Answer for one prediction: a finished one from storage, a running one by a shared look."""

from dataclasses import dataclass

from gateway.cache import Cache
from gateway.cache.memory import MemoryLru
from gateway.clock import Clock
from gateway.domain import problems
from gateway.domain.endings import removed
from gateway.domain.finished import Finished, unpack
from gateway.domain.plans import Identity
from gateway.flows.answer import Answer, Caller, Refused
from gateway.flows.known_predictions import KnownPredictions
from gateway.flows.look import How, Look, PredictionVanished
from gateway.flows.observe import cache_key
from gateway.flows.present import JSON, Presenter, Shown, finished_of, may_read, reads
from gateway.ledger.predictions import Row
from gateway.metrics import Metrics
from gateway.upstream.line import Urgency

CACHE_NAME = "replicate-gateway"

RUNNING_BYTES = 16 * 1024 * 1024
RUNNING_ITEMS = 2000
"""How much is remembered of what pollers of running predictions were last shown."""

MAX_AGE_S = 31_536_000
"""A finished prediction never changes, until retention removes it: as long as HTTP's caches go."""


@dataclass(frozen=True, slots=True)
class ReadRequest:
    """One question for one prediction."""

    caller: Caller
    prediction_id: str
    if_none_match: str | None = None
    force: bool = False


class ReadPrediction:
    """Reads predictions: memory → diskcache → ledger → upstream, the first that has it answers."""

    def __init__(
        self,
        known: KnownPredictions,
        cache: Cache,
        memory: MemoryLru[tuple[str, str, str], Shown],
        presenter: Presenter,
        look: Look,
        clock: Clock,
        metrics: Metrics,
        poll_interval_s: float,
        documents_s: float = 0.0,
    ) -> None:
        """`documents_s` is how long documents are kept after their end; 0 is for ever."""
        self._known = known
        self._cache = cache
        self._memory = memory
        self._running: MemoryLru[tuple[str, str, str], tuple[bytes, bytes]] = MemoryLru(
            RUNNING_BYTES, RUNNING_ITEMS, lambda pair: len(pair[0]) + len(pair[1])
        )
        self._presenter = presenter
        self._look = look
        self._clock = clock
        self._metrics = metrics
        self._poll_interval_s = poll_interval_s
        # With `Age` counted from the end, copies go stale when the document goes.
        self._max_age_s = min(MAX_AGE_S, int(documents_s)) if documents_s else MAX_AGE_S

    def from_memory(self, request: ReadRequest) -> Answer | None:
        """Answer for a finished prediction if it is in memory; waits for nothing."""
        caller = request.caller
        shown = self._memory.get((request.prediction_id, caller.origin, caller.aborted_as))
        if shown is None:
            return None
        self._metrics.cache_result("memory", "hit")
        if not may_read(caller, shown.user_id, shown.team):
            raise Refused(problems.not_found())
        return self._finished(shown, request.if_none_match)

    def at_hand(
        self, identity: Identity, prediction_id: str, origin: str, aborted_as: str
    ) -> Shown | None:
        """Return a finished prediction that is in memory and theirs to read; counts nothing."""
        shown = self._memory.get((prediction_id, origin, aborted_as))
        if shown is None or not reads(identity, shown.user_id, shown.team):
            return None
        return shown

    def answer_at_hand(self, shown: Shown, if_none_match: str | None) -> Answer:
        """Answer with what :meth:`at_hand` found."""
        self._metrics.cache_result("memory", "hit")
        return self._finished(shown, if_none_match)

    async def __call__(self, request: ReadRequest) -> Answer:
        """Answer with the prediction's document.

        Raises:
            Refused: nobody knows it, or it is not the caller's.
        """
        answer = self.from_memory(request)
        if answer is not None:
            return answer
        self._metrics.cache_result("memory", "miss")
        kept = self._from_cache(request.prediction_id)
        if kept is not None:
            return self._answer_finished(kept, request)
        known = await self._known(request.prediction_id)
        if known is None:
            raise Refused(problems.not_found())
        row, body = known
        if not may_read(request.caller, row.user_id, row.team):
            raise Refused(problems.not_found())
        if row.settled_at is not None or row.removed_at is not None:
            return await self._answer_settled(row, body, request)
        return await self._answer_running(row, body, request)

    def _from_cache(self, prediction_id: str) -> Finished | None:
        packed = self._cache.get(cache_key(prediction_id))
        kept = None if packed is None else unpack(packed)
        self._metrics.cache_result("disk", "miss" if kept is None else "hit")
        return kept

    def _answer_finished(self, kept: Finished, request: ReadRequest) -> Answer:
        caller = request.caller
        if not may_read(caller, kept.user_id, kept.team):
            raise Refused(problems.not_found())
        shown = self._presenter.finished(kept, caller.origin, caller.aborted_as)
        self._memory.set((kept.prediction_id, caller.origin, caller.aborted_as), shown)
        return self._finished(shown, request.if_none_match)

    def _finished(self, shown: Shown, if_none_match: str | None) -> Answer:
        return finished_answer(shown, if_none_match, self._clock.now(), self._max_age_s)

    async def _answer_settled(self, row: Row, body: bytes, request: ReadRequest) -> Answer:
        if row.removed_at is not None:
            caller = request.caller
            shown = self._presenter.document(removed(body), self._presenter.view(row, caller))
            return Answer(200, (JSON, ("cache-control", "no-store")), shown)
        kept = finished_of(row, body)
        await self._cache.set(cache_key(row.id), kept.pack())
        return self._answer_finished(kept, request)

    async def _answer_running(self, row: Row, body: bytes, request: ReadRequest) -> Answer:
        now = self._clock.now()
        how, ttl = How.SNAPSHOT, row.snapshot_at + self._poll_interval_s - now
        if request.force or ttl <= 0:
            try:
                looked = await self._look(row, force=request.force, urgency=Urgency.READ)
            except PredictionVanished:
                raise Refused(problems.not_found()) from None
            row, body, how = looked.row, looked.body, looked.how
            if row.settled_at is not None:
                return await self._answer_settled(row, body, request)
            ttl = row.snapshot_at + self._poll_interval_s - self._clock.now()
        else:
            self._metrics.polls_saved.inc()
        shown = self._shown_running(row, body, request.caller)
        headers = (
            JSON,
            ("cache-control", "no-store"),
            ("cache-status", running_status(how, ttl)),
        )
        return Answer(200, headers, shown)

    def _shown_running(self, row: Row, body: bytes, caller: Caller) -> bytes:
        """Write the document for this caller, once for a crowd that gets the same one."""
        name = (row.id, caller.origin, caller.aborted_as)
        last = self._running.get(name)
        if last is not None and last[0] == body:
            return last[1]
        shown = self._presenter.document(body, self._presenter.view(row, caller))
        self._running.set(name, (body, shown))
        return shown


def running_status(how: How, ttl: float) -> str:
    """Return the `Cache-Status` (RFC 9211) of an answer for a running prediction."""
    match how:
        case How.SNAPSHOT:
            return f"{CACHE_NAME}; hit; ttl={max(0, round(ttl))}"
        case How.LOOKED:
            return f"{CACHE_NAME}; fwd=miss"
        case How.COLLAPSED:
            return f"{CACHE_NAME}; fwd=miss; collapsed"
        case How.STALE:
            return f"{CACHE_NAME}; fwd=stale; detail=upstream-failed"


def finished_answer(
    shown: Shown, if_none_match: str | None, now: float, max_age_s: int = MAX_AGE_S
) -> Answer:
    """Return a finished prediction, or 304 if the client has it already."""
    headers = (
        JSON,
        ("etag", shown.etag),
        ("cache-control", f"private, max-age={max_age_s}"),
        ("age", str(max(0, int(now - shown.settled_at)))),
        ("cache-status", f"{CACHE_NAME}; hit"),
    )
    if if_none_match is not None and etag_matches(if_none_match, shown.etag):
        return Answer(304, headers[1:], b"")
    return Answer(200, headers, shown.body)


def etag_matches(if_none_match: str, etag: str) -> bool:
    """Return whether a client's `If-None-Match` names this ETag (compared weakly, RFC 9110)."""
    if if_none_match.strip() == "*":
        return True
    return etag in (part.strip().removeprefix("W/") for part in if_none_match.split(","))
