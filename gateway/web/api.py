"""The API as clients know it: `/replicate/…`, each request led to the flow that answers it."""

import asyncio
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace

from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send

from gateway.clock import Clock
from gateway.domain import problems
from gateway.domain.compat import aborted_as
from gateway.domain.headers import Header, parse_prefer
from gateway.domain.inputs import WEBHOOK_MEMBERS
from gateway.domain.json_text import InvalidJson, parse_object
from gateway.domain.keys import field_with_key, holds_key
from gateway.domain.models import (
    ByDeployment,
    ByModel,
    ByModelVersion,
    CreateTarget,
    parse_version_field,
)
from gateway.domain.plans import Identity, Per
from gateway.flows.answer import Answer, Caller, Refused
from gateway.flows.cancel_prediction import CancelPrediction
from gateway.flows.count_requests import NEVER_REFUSED, READS_OF_ONES_OWN, CountRequests
from gateway.flows.create_prediction import CreatePrediction
from gateway.flows.forward_request import ForwardedRequest, ForwardRequest
from gateway.flows.list_predictions import Kind, ListPredictions
from gateway.flows.own_secret import OwnSecret
from gateway.flows.own_training import OwnTraining
from gateway.flows.prepare_create import CreateRequest, Progress
from gateway.flows.read_prediction import ReadPrediction, ReadRequest
from gateway.flows.report_limits import ReportLimits
from gateway.flows.spawn import Spawn
from gateway.upstream.operations import Access, BodyKind, Match, MethodNotAllowed, match
from gateway.web.answers import send_answer
from gateway.web.asking import Asking, Handler
from gateway.web.body import read_body
from gateway.web.files_api import DOWNLOAD, FileFlows, FilesApi
from gateway.web.identity import KeyRing
from gateway.web.origin import Origins
from gateway.web.problem_response import ProblemError
from gateway.web.request_facts import authorization, facts, header

PREFIX = "/replicate"

_REFUSES_ALL: frozenset[Per] = frozenset()


@dataclass(frozen=True, slots=True)
class Flows:
    """What the API is made of."""

    create: CreatePrediction
    read: ReadPrediction
    cancel: CancelPrediction
    list: ListPredictions
    forward: ForwardRequest
    count: CountRequests
    limits: ReportLimits
    secret: OwnSecret
    training: OwnTraining
    files: FileFlows


class Api:
    """Serves everything under `/replicate/` but the output files."""

    def __init__(
        self,
        flows: Flows,
        keys: KeyRing,
        origins: Origins,
        clock: Clock,
        spawn: Spawn,
        *,
        max_body_bytes: int,
        max_upload_bytes: int,
        aborted_setting: str,
    ) -> None:
        self._flows = flows
        self._keys = keys
        self._origins = origins
        self._clock = clock
        self._spawn = spawn
        self._max_body_bytes = max_body_bytes
        self._aborted_setting = aborted_setting
        self._files = FilesApi(flows.files, max_upload_bytes)
        # What is not named here is passed on (Access.READ and MANAGE) or does not exist.
        self._handlers: Mapping[str, Handler] = {
            "predictions.create": self._create,
            "models.predictions.create": self._create,
            "deployments.predictions.create": self._create,
            "trainings.create": self._create,
            "predictions.get": self._read,
            "trainings.get": self._read,
            "predictions.cancel": self._cancel,
            "trainings.cancel": self._cancel,
            "predictions.list": self._list,
            "trainings.list": self._list,
            "webhooks.default.secret.get": self._secret,
            **self._files.handlers,
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        raw_path: bytes = scope.get("raw_path") or scope["path"].encode()
        path = raw_path.partition(b"?")[0].decode("latin-1").removeprefix(PREFIX)
        found = match(scope["method"], path)
        if found is None:
            raise ProblemError(problems.not_found("address"))
        if isinstance(found, MethodNotAllowed):
            raise ProblemError(problems.method_not_allowed(found.allow))
        seen = facts(scope)
        seen.route = PREFIX + found.operation.template
        identity = await self._keys.identify(authorization(scope))
        if identity is None:
            if self._files.needs_no_key(found, scope):
                origin = self._origins.of(scope)
                await self._files.download(found, None, origin, scope, receive, send)
                return
            raise ProblemError(problems.unauthenticated())
        seen.identified(identity.user_name)
        contact = self._keys.policy.contact
        caller = self._caller(scope, identity)
        asking = Asking(found, caller, contact, scope, receive)
        if found.operation.creates:
            answer = await self._with_limits(asking)
        elif found.operation.name == DOWNLOAD:
            await self._admit(asking)
            await self._files.download(found, caller, caller.origin, scope, receive, send)
            return
        else:
            answer = await self._answer(asking)
        if answer.attempt is None:
            await send_answer(answer, scope, send)
        else:
            await self._deliver(answer, answer.attempt, scope, send)

    async def _admit(self, asking: Asking) -> None:
        await self._flows.count.admit(
            asking.caller.identity,
            spared=_spared(asking.match),
            contact=asking.contact,
            names=_names(asking.match),
        )

    async def _answer(self, asking: Asking) -> Answer:
        await self._admit(asking)
        return await self._handlers.get(asking.match.operation.name, self._forward)(asking)

    async def _with_limits(self, asking: Asking) -> Answer:
        """Answer a create, whatever the answer is, with the tightest limit of whoever asks."""
        try:
            answer = await self._answer(asking)
        except (Refused, ProblemError) as refusal:
            problem = refusal.problem
            headers = await self._limits(asking, problem.headers)
            raise Refused(replace(problem, headers=headers)) from refusal
        return replace(answer, headers=await self._limits(asking, answer.headers))

    async def _limits(
        self, asking: Asking, told: tuple[tuple[str, str], ...]
    ) -> tuple[tuple[str, str], ...]:
        if any(name == "ratelimit-limit" for name, _ in told):
            return told
        identity = asking.caller.identity
        return (*told, *await self._flows.limits.headers(identity, _names(asking.match)))

    def _caller(self, scope: Scope, identity: Identity) -> Caller:
        return Caller(
            identity=identity,
            origin=self._origins.of(scope),
            own_origins=self._origins.own_origins(scope),
            aborted_as=aborted_as(self._aborted_setting, header(scope, b"user-agent")),
        )

    async def _secret(self, asking: Asking) -> Answer:
        return await self._flows.secret(asking.caller)

    async def _read(self, asking: Asking) -> Answer:
        params = asking.match.params
        if "training_id" in params:
            await self._flows.training(params["training_id"])
        cache_control = header(asking.scope, b"cache-control") or ""
        request = ReadRequest(
            caller=asking.caller,
            prediction_id=params.get("prediction_id") or params["training_id"],
            if_none_match=header(asking.scope, b"if-none-match"),
            force="no-cache" in cache_control.lower(),
        )
        return await self._flows.read(request)

    async def _cancel(self, asking: Asking) -> Answer:
        params = asking.match.params
        # Nothing is in it, but it must not be endless either.
        await read_body(asking.scope, asking.receive, self._max_body_bytes)
        if "training_id" in params:
            await self._flows.training(params["training_id"])
        return await self._flows.cancel(
            asking.caller, params.get("prediction_id") or params["training_id"]
        )

    async def _list(self, asking: Asking) -> Answer:
        kind: Kind = "prediction"
        if asking.match.operation.name == "trainings.list":
            kind = "training"
        query = asking.scope["query_string"].decode("latin-1")
        return await self._flows.list(asking.caller, kind, query)

    async def _create(self, asking: Asking) -> Answer:
        scope = asking.scope
        started_at = self._clock.monotonic()
        body = await read_body(scope, asking.receive, self._max_body_bytes)
        try:
            document = parse_object(body)
        except InvalidJson as error:
            raise ProblemError(problems.invalid_body(str(error))) from None
        if not isinstance(document.get("input"), dict):
            raise ProblemError(problems.invalid_body("`input` is missing or is not an object"))
        if b"hk-" in body or b"\\u" in body:
            _refuse_keys(document)
        request = CreateRequest(
            caller=asking.caller,
            contact=asking.contact,
            match=asking.match,
            target=_target(asking.match, asking.caller.identity, document),
            query=scope["query_string"],
            headers=tuple(scope["headers"]),
            body=body,
            document=document,
            wait=parse_prefer(header(scope, b"prefer")),
            idempotency_key=_digest(header(scope, b"idempotency-key")),
            retry_count=_whole(header(scope, b"x-stainless-retry-count")),
            started_at=started_at,
        )
        progress = Progress()
        work = self._spawn(self._outcome(request, progress), "create prediction")
        await self._until_gone(work, progress, asking.receive)
        outcome = await work
        if isinstance(outcome, Refused):
            raise outcome
        return outcome

    async def _deliver(self, answer: Answer, attempt: str, scope: Scope, send: Send) -> None:
        """Send the outcome of a create and note whether it went out.

        What did not, the client's own retry may ask for again.
        """
        noted = self._flows.create.undelivered
        try:
            if not facts(scope).disconnected:
                await send_answer(answer, scope, send)
                noted = self._flows.create.delivered
        finally:
            await noted(attempt)

    async def _outcome(self, request: CreateRequest, progress: Progress) -> Answer | Refused:
        """Create; a refusal is an outcome like another, not a failure of the task it is said in."""
        try:
            return await self._flows.create(request, progress)
        except Refused as refused:
            return refused

    async def _until_gone(
        self, work: asyncio.Task[Answer | Refused], progress: Progress, receive: Receive
    ) -> None:
        """Wait for the end of a create, or for the client to hang up.

        One that still waits in line is given up then; one that went upstream runs to its end, held
        by whoever spawned it.
        """
        watcher = self._spawn(_disconnected(receive), "watch for a hang-up")
        try:
            await asyncio.wait({work, watcher}, return_when=asyncio.FIRST_COMPLETED)
            # One who left at the same moment is noticed with the next turn of the loop.
            await self._clock.sleep(0)
        finally:
            watcher.cancel()
            if not work.done():
                progress.left = True
                if progress.in_line:
                    work.cancel()
        if not work.done():
            raise ClientDisconnect

    async def _forward(self, asking: Asking) -> Answer:
        operation = asking.match.operation
        if operation.access not in (Access.READ, Access.MANAGE):
            raise ProblemError(problems.not_found("address"))
        body = None
        if operation.body is not BodyKind.NONE:
            body = await read_body(asking.scope, asking.receive, self._max_body_bytes)
            if b"hk-" in body and holds_key(body.decode("latin-1")):
                raise ProblemError(problems.key_in_body("body"))
        headers: tuple[Header, ...] = tuple(asking.scope["headers"])
        request = ForwardedRequest(
            asking.caller, asking.match, asking.scope["query_string"], headers, body
        )
        return await self._flows.forward(request, asking.contact)


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _spared(found: Match) -> frozenset[Per]:
    """Which windows' rules on requests do not refuse this operation."""
    if found.operation.name.endswith(".cancel"):
        return NEVER_REFUSED
    if found.operation.access in (Access.OWN, Access.OWN_LIST):
        return READS_OF_ONES_OWN
    return _REFUSES_ALL


def _names(found: Match) -> tuple[str, ...]:
    """Return what a request's path names of models and deployments, as rules are written."""
    pairs = (("model_owner", "model_name"), ("deployment_owner", "deployment_name"))
    params = found.params
    return tuple(
        f"{params[owner]}/{params[name]}".lower() for owner, name in pairs if owner in params
    )


def _target(found: Match, identity: Identity, document: Mapping[str, object]) -> CreateTarget:
    params = found.params
    match found.operation.name:
        case "models.predictions.create":
            return ByModel(params["model_owner"], params["model_name"])
        case "deployments.predictions.create":
            return ByDeployment(params["deployment_owner"], params["deployment_name"])
        case "trainings.create":
            owner, name = params["model_owner"], params["model_name"]
            # Upstream looks the version up below the model; a rule does not rely on that.
            if not identity.restricts_models:
                return ByModel(owner, name)
            return ByModelVersion(owner, name, params["version_id"].lower())
    version = document.get("version")
    if not isinstance(version, str):
        raise ProblemError(problems.input_invalid("version", "version is required"))
    try:
        return parse_version_field(version)
    except ValueError:
        raise ProblemError(problems.invalid_version()) from None


def _refuse_keys(document: Mapping[str, object]) -> None:
    """Keep a key from going to a model's author; webhooks' URLs are checked where they are read."""
    rest = {name: value for name, value in document.items() if name not in WEBHOOK_MEMBERS}
    field = field_with_key(rest)
    if field is not None:
        raise ProblemError(problems.key_in_body(field))


def _digest(key: str | None) -> str | None:
    """Return what is kept of an `Idempotency-Key`: people put anything there, secrets too."""
    return None if key is None else hashlib.sha256(key.encode()).hexdigest()


def _whole(text: str | None) -> int:
    """Return a header's whole number from 0 up; 0 for anything else."""
    return int(text) if text is not None and text.isascii() and text.isdigit() else 0
