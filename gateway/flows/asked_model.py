"""Which model a create asks for, as far as it can be known before upstream is asked to run it.

Rules go by the model's name, but upstream also takes a version's id alone. So the gateway remembers
whose version is whose from every model and version page that it passes on, asks once about what a
caller claims, and refuses what stays unknown where a rule would have to know it.
"""

from dataclasses import dataclass
from functools import partial

from gateway.clock import Clock
from gateway.domain import problems
from gateway.domain.foreign_json import load_foreign
from gateway.domain.json_text import InvalidJson
from gateway.domain.models import (
    ByDeployment,
    ByModel,
    ByModelVersion,
    ByVersion,
    CreateTarget,
    allowed,
    literal_models,
)
from gateway.domain.plans import Identity
from gateway.flows.answer import Refused
from gateway.flows.upstream_answer import upstream_problem
from gateway.ledger import Ledger, versions
from gateway.upstream import OPERATIONS, Upstream, UpstreamError, Urgency

DEPLOYMENT_REMEMBERED_S = 30.0
_MOST_CANDIDATES = 50


@dataclass(frozen=True, slots=True)
class Asked:
    """What a create asks for, in the words that rules use (lower-case names)."""

    model: str | None
    """None: only upstream's answer will tell."""
    names: tuple[str, ...]
    """What rules compare: the model, or a deployment and the model of its current release."""
    deployment: str | None = None


class AskedModel:
    """Finds out what is asked for, and whether the caller's plan allows it."""

    def __init__(self, ledger: Ledger, upstream: Upstream, clock: Clock) -> None:
        self._ledger = ledger
        self._upstream = upstream
        self._clock = clock
        self._deployments: dict[str, tuple[float, str | None]] = {}

    async def __call__(self, identity: Identity, target: CreateTarget, contact: str) -> Asked:
        """Return what is asked for.

        Raises:
            Refused: the plan does not allow it, the version does not exist or is not that model's,
                or nobody knows whose it is and the plan restricts models.
        """
        asked = await self._find_out(identity, target, contact)
        if not allowed(identity.plan, *asked.names):
            shown = asked.deployment or asked.model or "this model"
            raise Refused(problems.model_not_allowed(shown, contact))
        return asked

    async def _find_out(self, identity: Identity, target: CreateTarget, contact: str) -> Asked:
        match target:
            case ByModel():
                name = target.model.lower()
                return Asked(name, (name,))
            case ByModelVersion():
                name = target.model.lower()
                if not await self._is_version_of(identity, target):
                    raise Refused(problems.invalid_version())
                return Asked(name, (name,))
            case ByVersion():
                return await self._by_version(identity, target.version_id, contact)
            case ByDeployment():
                own = target.deployment.lower()
                if not identity.restricts_models:
                    return Asked(None, (own,), deployment=own)
                released = await self._released_model(identity, target)
                names = (own,) if released is None else (own, released)
                return Asked(released, names, deployment=own)

    async def _by_version(self, identity: Identity, version_id: str, contact: str) -> Asked:
        model = await self._ledger.read(partial(versions.model_of, version_id=version_id))
        if model is None and identity.restricts_models:
            for name in literal_models(identity.plan.models_allow)[:_MOST_CANDIDATES]:
                owner, _, short = name.partition("/")
                if await self._is_version_of(identity, ByModelVersion(owner, short, version_id)):
                    model = name
                    break
            else:
                raise Refused(problems.unknown_version(contact))
        return Asked(model, () if model is None else (model,))

    async def _is_version_of(self, identity: Identity, target: ByModelVersion) -> bool:
        """Ask the ledger, then upstream, whether this version belongs to this model."""
        known = await self._ledger.read(partial(versions.model_of, version_id=target.version_id))
        if known is not None:
            return known == target.model.lower()
        path = f"/v1/models/{target.model}/versions/{target.version_id}"
        answer = await self._ask(identity, "models.versions.get", path)
        if answer is None:
            return False
        await self._ledger.write(
            partial(
                versions.seen,
                models={target.version_id: target.model.lower()},
                now=self._clock.now(),
            )
        )
        return True

    async def _released_model(self, identity: Identity, target: ByDeployment) -> str | None:
        key = target.deployment.lower()
        now = self._clock.monotonic()
        known = self._deployments.get(key)
        if known is not None and now - known[0] < DEPLOYMENT_REMEMBERED_S:
            return known[1]
        answer = await self._ask(identity, "deployments.get", f"/v1/deployments/{key}")
        model = None if answer is None else _release_of(answer)
        if len(self._deployments) > 1000:
            self._deployments.clear()
        self._deployments[key] = (now, model)
        return model

    async def _ask(self, identity: Identity, name: str, path: str) -> bytes | None:
        try:
            answer = await self._upstream.call(
                OPERATIONS[name], path, urgency=Urgency.READ, user=identity.user_id
            )
        except UpstreamError as error:
            raise Refused(upstream_problem(error, create=False)) from error
        return answer.body if answer.status == 200 else None


def _release_of(body: bytes) -> str | None:
    try:
        document = load_foreign(body)
    except InvalidJson:
        return None
    release = document.get("current_release") if isinstance(document, dict) else None
    model = release.get("model") if isinstance(release, dict) else None
    return model.lower() if isinstance(model, str) else None
