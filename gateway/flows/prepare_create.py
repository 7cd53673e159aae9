"""What must be known before a create is reserved: whose it is, what it asks for and may cost."""

import hashlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

from gateway.clock import Clock
from gateway.domain import problems
from gateway.domain.admission import Demand
from gateway.domain.estimate import estimate
from gateway.domain.headers import Header, Wait
from gateway.domain.input_digest import input_digest, input_outline
from gateway.domain.inputs import WEBHOOK_MEMBERS
from gateway.domain.json_text import drop_members
from gateway.domain.models import CreateTarget
from gateway.domain.plans import Policy
from gateway.domain.price import find
from gateway.domain.usage import Usage
from gateway.domain.webhook_urls import check_webhook_url
from gateway.domain.webhook_wishes import InvalidWish, WebhookWish, read_webhook_wish
from gateway.flows.answer import Caller, Refused
from gateway.flows.asked_model import Asked, AskedModel
from gateway.flows.resolve_inputs import ResolvedInput, ResolveInputs
from gateway.flows.upstream_answer import upstream_problem
from gateway.ledger import Ledger, predictions
from gateway.ledger.creates import Reservation
from gateway.upstream.errors import UpstreamError
from gateway.upstream.operations import AnswerKind, Match

HISTORY = 20
"""How many of a model's last predictions an estimate is the median of."""


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
    def digest(self) -> str:
        """Return what tells it from every other create with this path."""
        return hashlib.sha256(self.query + b"\n" + self.body).hexdigest()

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


@dataclass(frozen=True, slots=True)
class Prepared:
    """What is to be reserved, and the input in upstream's terms."""

    reservation: Reservation
    resolved: ResolvedInput


class PrepareCreate:
    """Makes reservations out of requests."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        asked_model: AskedModel,
        resolve_inputs: ResolveInputs,
        clock: Clock,
        policy: Callable[[], Policy],
        account: Callable[[], Awaitable[str]],
        worker_id: str,
        allow_private_webhooks: bool,
    ) -> None:
        self._ledger = ledger
        self._asked_model = asked_model
        self._resolve_inputs = resolve_inputs
        self._clock = clock
        self._policy = policy
        self._account = account
        self._worker_id = worker_id
        self._allow_private_webhooks = allow_private_webhooks

    async def __call__(self, request: CreateRequest) -> Prepared:
        """Raises Refused if the request makes no sense, or is not allowed to its caller."""
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
            body_digest=request.digest,
            input_digest=input_digest(resolved.body),
            input_outline=input_outline(resolved.body),
            demand=await self._demand(asked, request.document),
            at=self._clock.now(),
            idempotency_key=request.idempotency_key,
            retry_count=request.retry_count,
            origin=request.caller.origin,
            webhook=None if wish is None else wish.url,
            webhook_events=None if wish is None else wish.events,
            substitutions=dict(resolved.substitutions),
        )
        return Prepared(reservation, resolved)

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
