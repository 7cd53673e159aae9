"""Create a prediction or training: reserved before it is sent, sent once, recorded, then told.

    names and rules → input turned into upstream's terms → reservation (one transaction, all rules
    or none) → in turn upstream → record, or give everything back, or leave it in doubt

From the moment the request goes upstream this runs to its end, whether or not the client waits.
"""

import asyncio
import hashlib
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

from gateway.clock import Clock
from gateway.domain import problems
from gateway.domain.admission import Admitted, Demand, QuotaRefused, decide, tightest
from gateway.domain.documents import (
    NotAPrediction,
    PredictionFacts,
    facts,
    is_terminal,
    output_urls,
    status_rank,
)
from gateway.domain.estimate import estimate
from gateway.domain.headers import Header, Wait, as_text, remaining_wait, request_headers
from gateway.domain.input_digest import input_digest
from gateway.domain.inputs import WEBHOOK_MEMBERS
from gateway.domain.json_text import InvalidJson, drop_members
from gateway.domain.models import CreateTarget, rule_applies
from gateway.domain.plans import Identity, Metric, Policy
from gateway.domain.price import find
from gateway.domain.quota import Standing, ratelimit_headers
from gateway.domain.urls import UrlMap
from gateway.domain.usage import Usage
from gateway.domain.webhook_urls import check_webhook_url
from gateway.domain.webhook_wishes import InvalidWish, WebhookWish, read_webhook_wish
from gateway.flows.announce import Announce
from gateway.flows.answer import Answer, Caller, Refused
from gateway.flows.asked_model import Asked, AskedModel
from gateway.flows.observe import Observe
from gateway.flows.present import Presenter
from gateway.flows.resolve_inputs import ResolvedInput, ResolveInputs
from gateway.flows.upstream_answer import passed_on, refused_by_upstream, upstream_problem
from gateway.ledger import Connection, Ledger, creates, predictions, quotas
from gateway.ledger.creates import NewPrediction, Reservation, Reserved
from gateway.ledger.outbox import Tell
from gateway.metrics import Metrics
from gateway.upstream.answers import Answer as UpstreamAnswer
from gateway.upstream.client import Upstream
from gateway.upstream.errors import UpstreamError
from gateway.upstream.line import Urgency
from gateway.upstream.operations import AnswerKind, Match

_log = logging.getLogger(__name__)

HISTORY = 20
"""How many of a model's last predictions an estimate is the median of."""

FIRST_LOOK_S = 1.0
"""When the follower first looks at what was just created, in seconds."""


@dataclass(frozen=True, slots=True)
class CreateRequest:
    """A create whose body is a JSON object with an `input`."""

    caller: Caller
    contact: str
    match: Match
    target: CreateTarget
    query: bytes
    headers: tuple[Header, ...]
    body: bytes
    document: Mapping[str, object]
    wait: Wait | None
    idempotency_key: str | None
    retry_count: int
    started_at: float
    """When the request arrived, on the clock's monotonic scale."""

    @property
    def kind(self) -> Literal["prediction", "training"]:
        """Whether a prediction or a training is made."""
        training = self.match.operation.answer is AnswerKind.TRAINING
        return "training" if training else "prediction"


class Progress:
    """How far a create has come, and whether its client is still there to know.

    Only in line may it be cancelled: before, a transaction could be on its way that nobody would
    undo; after, the request is.
    """

    def __init__(self) -> None:
        self.in_line = False
        self.sent = False
        self.left = False
        """Set by whoever watches the client: it need not be sent any more."""


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
        asked_model: AskedModel,
        resolve_inputs: ResolveInputs,
        observe: Observe,
        announce: Announce,
        presenter: Presenter,
        urls: UrlMap,
        clock: Clock,
        metrics: Metrics,
        policy: Callable[[], Policy],
        account: Callable[[], Awaitable[str]],
        worker_id: str,
        creates_per_minute: int,
        allow_private_webhooks: bool,
        follow: Callable[[], None],
    ) -> None:
        self._ledger = ledger
        self._upstream = upstream
        self._asked_model = asked_model
        self._resolve_inputs = resolve_inputs
        self._observe = observe
        self._announce = announce
        self._presenter = presenter
        self._urls = urls
        self._clock = clock
        self._metrics = metrics
        self._policy = policy
        self._account = account
        self._worker_id = worker_id
        self._creates_per_minute = creates_per_minute
        self._allow_private_webhooks = allow_private_webhooks
        self._follow = follow

    async def __call__(self, request: CreateRequest, progress: Progress) -> Answer:
        """Create, and answer as upstream does.

        Raises:
            Refused: a rule stands in the way, the request makes no sense, or upstream's answer is
                not one.
        """
        reservation = await self._prepare(request)
        reserved = await self._reserve(request, reservation.reservation)
        progress.in_line = True
        try:
            if progress.left:
                raise asyncio.CancelledError
            upstream = await self._send(request, reservation, progress)
        except asyncio.CancelledError:
            await self._abandon(reservation.reservation.id, progress)
            raise
        except UpstreamError as error:
            await self._failed(reservation.reservation.id, error)
            raise Refused(
                upstream_problem(error, create=True, creates_per_minute=self._creates_per_minute)
            ) from error
        if 400 <= upstream.status < 600:
            return await self._refused(request, reservation.reservation, upstream)
        return await self._record(request, reservation.reservation, reserved, upstream)

    async def _prepare(self, request: CreateRequest) -> "_Prepared":
        identity = request.caller.identity
        if request.kind == "training" and not identity.may_train:
            raise Refused(problems.trainings_not_allowed(request.contact))
        wish = self._webhook(request.document)
        asked = await self._asked_model(identity, request.target, request.contact)
        body = drop_members(request.body, WEBHOOK_MEMBERS)
        resolved = await self._resolve_inputs(request.caller, body)
        try:
            account = await self._account()
        except UpstreamError as error:
            raise Refused(upstream_problem(error, create=False)) from error
        reservation = Reservation(
            id=self._clock.new_id(),
            worker=self._worker_id,
            user_id=identity.user_id,
            user_name=identity.user_name,
            team=identity.team,
            key_id=identity.key_id,
            account=account,
            kind=request.kind,
            target=request.match.path,
            model=asked.model,
            deployment=asked.deployment,
            body_digest=_digest(request.query, request.body),
            input_digest=input_digest(resolved.body),
            demand=await self._demand(asked, request.document),
            at=self._clock.now(),
            idempotency_key=request.idempotency_key,
            retry_count=request.retry_count,
            origin=request.caller.origin,
            webhook=None if wish is None else wish.url,
            webhook_events=None if wish is None else wish.events,
            substitutions=dict(resolved.substitutions),
        )
        return _Prepared(reservation, resolved)

    def _webhook(self, document: Mapping[str, object]) -> WebhookWish | None:
        try:
            wish = read_webhook_wish(document)
        except InvalidWish as error:
            raise Refused(problems.input_invalid(error.field, error.description)) from None
        if wish is None:
            return None
        fault = check_webhook_url(wish.url, allow_private=self._allow_private_webhooks)
        if fault is not None:
            raise Refused(problems.webhook_not_allowed(fault))
        return wish

    async def _demand(self, asked: Asked, document: Mapping[str, object]) -> Demand:
        history: Sequence[Usage] = ()
        if asked.model is not None:
            history = await self._ledger.read(
                partial(predictions.recent_usage, model=asked.model, n=HISTORY)
            )
        given = document.get("input")
        return estimate(
            history,
            find(self._policy().prices, asked.model),
            given if isinstance(given, Mapping) else None,
        )

    async def _reserve(self, request: CreateRequest, reservation: Reservation) -> Reserved:
        identity = request.caller.identity
        limit = identity.plan.concurrent_predictions
        outcome = await self._ledger.write(
            lambda conn: creates.reserve(
                conn,
                reservation,
                identity.rules,
                limit,
                lambda standings, running: decide(
                    standings, running, limit, reservation.demand, reservation.at
                ),
            ),
            durable=True,
        )
        match outcome:
            case Reserved():
                return outcome
            case creates.Refused(decision):
                if isinstance(decision, Admitted):
                    raise TypeError("a refusal that admits")
                metric = (
                    decision.standing.rule.metric.value
                    if isinstance(decision, QuotaRefused)
                    else "concurrent_predictions"
                )
                self._metrics.quota_rejected(identity.user_name, metric)
                problem = problems.refusal(decision, request.contact, reservation.at)
                if isinstance(decision, QuotaRefused) and decision.status == 402:
                    limits = ratelimit_headers(decision.standing, reservation.at)
                    problem = replace(problem, headers=(*problem.headers, *limits))
                raise Refused(problem)
            case creates.Repeated():
                raise Refused(problems.create_in_doubt(1))
            case creates.Conflict():
                raise Refused(problems.idempotency_conflict())

    async def _send(
        self, request: CreateRequest, prepared: "_Prepared", progress: Progress
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
            headers = (*refused.headers, *_limits(standings, now))
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
        recorded = await self._ledger.write(
            lambda conn: _recorded(conn, reservation.id, new, files, now, tell), durable=True
        )
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
        headers = (*passed.headers, *_limits(reserved.standings, now))
        return Answer(passed.status, headers, passed.body)


@dataclass(frozen=True, slots=True)
class _Prepared:
    reservation: Reservation
    resolved: ResolvedInput


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


def _limits(standings: Sequence[Standing], now: float) -> tuple[tuple[str, str], ...]:
    """Tell the caller's program where it stands: by the rule that leaves it least."""
    standing = tightest(standings)
    return () if standing is None else ratelimit_headers(standing, now)


def _recorded(
    conn: Connection,
    create_id: str,
    new: NewPrediction,
    files: Sequence[str],
    now: float,
    tell: Tell | None,
) -> predictions.Row | None:
    creates.record(conn, create_id, new, files, now, tell=tell)
    row = predictions.get(conn, new.id)
    return row if row is not None and row.create_id == create_id else None


def _digest(query: bytes, body: bytes) -> str:
    return hashlib.sha256(query + b"\n" + body).hexdigest()
