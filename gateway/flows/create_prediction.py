"""Create a prediction or training: reserved before it is sent, sent once, recorded before it is told.

    names and rules → input turned into upstream's terms → reservation (one transaction, all rules
    or none) → in turn upstream → record, or give everything back, or leave it in doubt

From the moment the request goes upstream this runs to its end, whether or not the client waits.
"""

import hashlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from gateway.clock import Clock
from gateway.domain import problems
from gateway.domain.admission import Demand, applicable, decide, tightest
from gateway.domain.documents import NotAPrediction, facts, is_terminal, output_urls
from gateway.domain.estimate import estimate
from gateway.domain.headers import Header, Wait, remaining_wait, request_headers
from gateway.domain.inputs import WEBHOOK_MEMBERS
from gateway.domain.json_text import InvalidJson, drop_members
from gateway.domain.models import CreateTarget
from gateway.domain.plans import Metric, Policy
from gateway.domain.price import find
from gateway.domain.quota import Standing, ratelimit_headers
from gateway.domain.urls import UrlMap
from gateway.domain.webhook_wishes import WebhookWish, read_webhook_wish
from gateway.flows.answer import Answer, Caller, Refused
from gateway.flows.asked_model import Asked, AskedModel
from gateway.flows.observe import Observe
from gateway.flows.present import Presenter
from gateway.flows.resolve_inputs import ResolvedInput, ResolveInputs
from gateway.flows.upstream_answer import passed_on, refused_by_upstream, upstream_problem
from gateway.ledger import Ledger, LedgerUnavailable, creates, predictions
from gateway.ledger.creates import NewPrediction, Refusal, Reservation, Reserved
from gateway.metrics import Metrics
from gateway.upstream import (
    AnswerKind,
    Match,
    Upstream,
    UpstreamAnswer,
    UpstreamError,
    Urgency,
)

_log = logging.getLogger(__name__)

HISTORY = 20
"""How many of a model's last predictions an estimate is the median of."""

_RECORD_ATTEMPTS = 5


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
    def kind(self) -> predictions.Kind:
        """Whether a prediction or a training is made."""
        training = self.match.operation.answer is AnswerKind.TRAINING
        return "training" if training else "prediction"


class Progress:
    """How far a create has come: until it is sent, its client may still leave the line."""

    def __init__(self) -> None:
        self.sent = False


class _Turn:
    """Tells the upstream room what to add when the turn has come, and keeps note of it."""

    def __init__(self, progress: Progress, wait: Wait | None, started_at: float, clock: Clock):
        self._progress = progress
        self._wait = wait
        self._started_at = started_at
        self._clock = clock

    def taken(self) -> list[tuple[str, str]]:
        self._progress.sent = True
        left = remaining_wait(self._wait, self._clock.monotonic() - self._started_at)
        return [] if left is None else [("prefer", left)]

    def lost(self) -> None:
        self._progress.sent = False


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
        presenter: Presenter,
        urls: UrlMap,
        clock: Clock,
        metrics: Metrics,
        policy: "PolicyNow",
        account: "AccountNow",
        worker_id: str,
        creates_per_minute: int,
        max_queue_s: float,
        files_wanted: "Kicked",
    ) -> None:
        self._ledger = ledger
        self._upstream = upstream
        self._asked_model = asked_model
        self._resolve_inputs = resolve_inputs
        self._observe = observe
        self._presenter = presenter
        self._urls = urls
        self._clock = clock
        self._metrics = metrics
        self._policy = policy
        self._account = account
        self._worker_id = worker_id
        self._creates_per_minute = creates_per_minute
        self._max_queue_s = max_queue_s
        self._files_wanted = files_wanted
