"""Create a prediction or training: reserved before it is sent, sent once, recorded, then told.

    names and rules → input turned into upstream's terms → reservation (one transaction, all rules
    or none) → in turn upstream → record, or give everything back, or leave it in doubt

From the moment the request goes upstream this runs to its end, whether or not the client waits.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

from gateway.clock import Clock
from gateway.domain import problems
from gateway.domain.admission import Admitted, QuotaRefused, TooManyRunning, decide, tightest
from gateway.domain.documents import (
    NotAPrediction,
    PredictionFacts,
    facts,
    is_terminal,
    output_urls,
    status_rank,
)
from gateway.domain.headers import Wait, as_text, remaining_wait, request_headers
from gateway.domain.json_text import InvalidJson
from gateway.domain.models import rule_applies
from gateway.domain.plans import Identity, Metric
from gateway.domain.quota import Standing, ratelimit_headers
from gateway.domain.urls import UrlMap
from gateway.flows.announce import Announce
from gateway.flows.answer import Answer, Refused
from gateway.flows.await_ending import AwaitEnding
from gateway.flows.observe import Observe
from gateway.flows.prepare_create import CreateRequest, PrepareCreate, Prepared, Progress
from gateway.flows.present import Presenter
from gateway.flows.repeat_create import RepeatCreate
from gateway.flows.upstream_answer import passed_on, refused_by_upstream, upstream_problem
from gateway.flows.warn_of_quotas import WarnOfQuotas
from gateway.ledger import Connection, Ledger, creates, predictions, quotas
from gateway.ledger.creates import NewPrediction, Reservation, Reserved, StoredAnswer
from gateway.ledger.outbox import Tell
from gateway.metrics import Metrics
from gateway.upstream.answers import Answer as UpstreamAnswer
from gateway.upstream.client import Upstream
from gateway.upstream.errors import UpstreamError
from gateway.upstream.line import Urgency

_log = logging.getLogger(__name__)

_KEPT_HEADERS = frozenset({"preference-applied"})
"""What a repeated create is told of upstream's headers."""

FIRST_LOOK_S = 1.0
"""When the follower first looks at what was just created, in seconds."""


class _Turn:
    """Tells the upstream room what to add when the turn has come, and keeps note of it."""

    def __init__(self, progress: Progress, wait: Wait | None, started_at: float, clock: Clock):
        self._progress = progress
        self._wait = wait
        self._started_at = started_at
        self._clock = clock

    def taken(self) -> list[tuple[str, str]]:
        self._progress.in_line, self._progress.sent = False, True
        left = remaining_wait(self._wait, self._clock.monotonic() - self._started_at)
        return [] if left is None else [("prefer", left)]

    def lost(self) -> None:
        self._progress.in_line, self._progress.sent = True, False


class CreatePrediction:
    """Creates, once and within every rule."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        upstream: Upstream,
        prepare: PrepareCreate,
        repeat: RepeatCreate,
        await_ending: AwaitEnding,
        observe: Observe,
        announce: Announce,
        warn: WarnOfQuotas,
        presenter: Presenter,
        urls: UrlMap,
        clock: Clock,
        metrics: Metrics,
        creates_per_minute: int,
        follow: Callable[[], None],
        requests: Callable[[Identity], Sequence[Standing]],
    ) -> None:
        self._ledger = ledger
        self._upstream = upstream
        self._prepare = prepare
        self._repeat = repeat
        self._await_ending = await_ending
        self._observe = observe
        self._announce = announce
        self._warn = warn
        self._presenter = presenter
        self._urls = urls
        self._clock = clock
        self._metrics = metrics
        self._creates_per_minute = creates_per_minute
        self._follow = follow
        self._requests = requests

    async def __call__(self, request: CreateRequest, progress: Progress) -> Answer:
        """Create, and answer as upstream does.

        Raises:
            Refused: a rule stands in the way, the request makes no sense, or upstream's answer is
                not one.
        """
        prepared: Prepared | None = None
        patient = True
        while True:
            repeated = await self._repeat(request, progress)
            if repeated is not None:
                if progress.left and repeated.attempt is not None:
                    await self._repeat.undelivered(repeated.attempt)
                return repeated
            prepared = prepared or await self._prepare(request)
            reserved = await self._reserve(request, prepared.reservation)
            if isinstance(reserved, Reserved):
                break
            if reserved is None:
                continue  # its Idempotency-Key was taken a moment ago
            if isinstance(reserved.decision, TooManyRunning) and patient:
                patient = await self._await_ending(request.caller.identity.user_id)
                if patient:
                    continue
            raise self._refusal(request, prepared.reservation, reserved)
        create_id = prepared.reservation.id
        self._repeat.expect(create_id)
        try:
            answer = await self._create(request, prepared, reserved, progress)
        except BaseException:
            self._repeat.forget(create_id)
            raise
        if progress.left or answer.attempt is None:
            self._repeat.forget(create_id)
        return answer

    async def delivered(self, create_id: str) -> None:
        """Note that the client has its answer; see RepeatCreate."""
        await self._repeat.delivered(create_id)

    async def undelivered(self, create_id: str) -> None:
        """Note that the client was gone before it had its answer."""
        await self._repeat.undelivered(create_id)

    async def _create(
        self,
        request: CreateRequest,
        prepared: Prepared,
        reserved: Reserved,
        progress: Progress,
    ) -> Answer:
        create_id = prepared.reservation.id
        progress.in_line = True
        try:
            if progress.left:
                raise asyncio.CancelledError
            upstream = await self._send(request, prepared, progress)
        except asyncio.CancelledError:
            await self._abandon(create_id, progress)
            raise
        except UpstreamError as error:
            await self._failed(create_id, error)
            raise Refused(
                upstream_problem(error, create=True, creates_per_minute=self._creates_per_minute)
            ) from error
        if 400 <= upstream.status < 600:
            return await self._refused(request, prepared.reservation, upstream)
        return await self._record(request, prepared.reservation, reserved, upstream)

    async def _reserve(
        self, request: CreateRequest, reservation: Reservation
    ) -> Reserved | creates.Refused | None:
        """Set aside what it takes; None if its Idempotency-Key was taken a moment ago."""
        identity = request.caller.identity
        limit = identity.plan.concurrent_predictions

        def work(
            conn: Connection,
        ) -> Reserved | creates.Refused | creates.Repeated | creates.Conflict:
            found = creates.reserve(
                conn,
                reservation,
                identity.rules,
                limit,
                lambda standings, running: decide(
                    standings, running, limit, reservation.demand, reservation.at
                ),
            )
            if isinstance(found, creates.Refused) and isinstance(found.decision, QuotaRefused):
                self._warn.refused(conn, identity, found.decision)
            return found

        outcome = await self._ledger.write(work, durable=True)
        match outcome:
            case Reserved() | creates.Refused():
                return outcome
            case creates.Repeated():
                return None
            case creates.Conflict():
                raise Refused(problems.idempotency_conflict())

    def _refusal(
        self, request: CreateRequest, reservation: Reservation, refused: creates.Refused
    ) -> Refused:
        """Count the refusal and put it into words."""
        decision = refused.decision
        if isinstance(decision, Admitted):
            raise TypeError("a refusal that admits")
        metric = (
            decision.standing.rule.metric.value
            if isinstance(decision, QuotaRefused)
            else "concurrent_predictions"
        )
        self._metrics.quota_rejected(request.caller.identity.user_name, metric)
        problem = problems.refusal(decision, request.contact, reservation.at)
        if isinstance(decision, QuotaRefused) and decision.status == 402:
            limits = ratelimit_headers(decision.standing, reservation.at)
            problem = replace(problem, headers=(*problem.headers, *limits))
        return Refused(problem)

    async def _send(
        self, request: CreateRequest, prepared: Prepared, progress: Progress
    ) -> UpstreamAnswer:
        return await self._upstream.call(
            request.match.operation,
            request.match.path,
            query=request.query,
            headers=as_text(request_headers(request.headers)),
            body=prepared.resolved.body,
            urgency=Urgency.ACT,
            user=request.caller.identity.user_id,
            turn=_Turn(progress, request.wait, request.started_at, self._clock),
        )

    async def _abandon(self, create_id: str, progress: Progress) -> None:
        """The work was cancelled: in line it never happened, on its way nobody knows."""
        now = self._clock.now()
        change = creates.doubt if progress.sent else creates.release
        await self._ledger.write(partial(change, create_id=create_id, now=now), durable=True)

    async def _failed(self, create_id: str, error: UpstreamError) -> None:
        now = self._clock.now()
        if error.sent:
            _log.warning("create %s is in doubt: %s", create_id, error)
            await self._ledger.write(partial(creates.doubt, create_id=create_id, now=now))
        else:
            await self._ledger.write(partial(creates.release, create_id=create_id, now=now))

    async def _refused(
        self, request: CreateRequest, reservation: Reservation, answer: UpstreamAnswer
    ) -> Answer:
        now = self._clock.now()
        if answer.status < 500 or answer.status in (500, 503):
            standings = await self._ledger.write(
                lambda conn: _given_back(conn, reservation, request.caller.identity, answer, now)
            )
            refused = refused_by_upstream(answer)
            headers = (*refused.headers, *self._limits(request, reservation, standings, now))
            return Answer(refused.status, headers, refused.body)
        _log.warning("create %s is in doubt: upstream answered %d", reservation.id, answer.status)
        await self._ledger.write(partial(creates.doubt, create_id=reservation.id, now=now))
        raise Refused(problems.upstream_broke_off(create=True))

    async def _record(
        self,
        request: CreateRequest,
        reservation: Reservation,
        reserved: Reserved,
        answer: UpstreamAnswer,
    ) -> Answer:
        now = self._clock.now()
        try:
            told = facts(answer.body)
        except (InvalidJson, NotAPrediction):
            await self._ledger.write(partial(creates.doubt, create_id=reservation.id, now=now))
            raise Refused(problems.upstream_garbage(create=True)) from None
        new = new_prediction(answer.body, told, now)
        files = output_urls(answer.body, self._urls)
        tell = self._announce.of_create(reservation, told.id, answer.body)
        kept = StoredAnswer(
            answer.status, tuple(pair for pair in answer.headers if pair[0] in _KEPT_HEADERS)
        )

        def work(conn: Connection) -> predictions.Row | None:
            row = _recorded(conn, reservation.id, new, files, now, kept, tell)
            if row is not None:
                self._warn.created(conn, request.caller.identity, row.names)
            return row

        recorded = await self._ledger.write(work, durable=True)
        if recorded is None:
            # Its fate was decided by somebody else meanwhile; what was decided is in the ledger.
            raise Refused(problems.upstream_broke_off(create=True))
        row, body = recorded, answer.body
        if is_terminal(told.status) and told.completed_at is not None:
            observed = await self._observe(row, answer.body, final=True)
            row, body = observed.row, observed.body
        elif files:
            self._observe.files_wanted()
        self._follow()
        if tell is not None:
            self._announce.queued()
        shown = self._presenter.document(body, self._presenter.view(row, request.caller))
        passed = passed_on(answer, shown, rewritten=True)
        limits = self._limits(request, reservation, reserved.standings, now)
        headers = (*passed.headers, *limits)
        return Answer(passed.status, headers, passed.body, attempt=reservation.id)

    def _limits(
        self,
        request: CreateRequest,
        reservation: Reservation,
        standings: Sequence[Standing],
        now: float,
    ) -> tuple[tuple[str, str], ...]:
        """Tell the caller's program where it stands: by the rule that leaves it least."""
        requests = [
            standing
            for standing in self._requests(request.caller.identity)
            if rule_applies(standing.rule, *reservation.names)
        ]
        standing = tightest([*standings, *requests])
        return () if standing is None else ratelimit_headers(standing, now)


def new_prediction(body: bytes, told: PredictionFacts, now: float) -> NewPrediction:
    """Return what is recorded of a prediction when it is first seen.

    Only a document fetched singly ends a prediction, so a terminal status waits for the next look.
    """
    ended = is_terminal(told.status)
    status = "processing" if ended else told.status
    return NewPrediction(
        id=told.id,
        status=status,
        rank=status_rank(status),
        document=body,
        created_at=now if told.created_at is None else told.created_at,
        # With an output already there the end cannot be far.
        next_look_at=now if ended or told.has_output else now + FIRST_LOOK_S,
        model=told.model,
        version=told.version,
        source=told.source,
    )


def _given_back(
    conn: Connection,
    reservation: Reservation,
    identity: Identity,
    answer: UpstreamAnswer,
    now: float,
) -> Sequence[Standing]:
    creates.refuse(conn, reservation.id, now, answer.status, answer.body)
    rules = [
        (rule, subject)
        for rule, subject in identity.rules
        if rule.metric is not Metric.REQUESTS and rule_applies(rule, *reservation.names)
    ]
    return quotas.standings(conn, rules, now)


def _recorded(
    conn: Connection,
    create_id: str,
    new: NewPrediction,
    files: Sequence[str],
    now: float,
    kept: StoredAnswer,
    tell: Tell | None,
) -> predictions.Row | None:
    creates.record(conn, create_id, new, files, now, kept, tell)
    row = predictions.get(conn, new.id)
    return row if row is not None and row.create_id == create_id else None
