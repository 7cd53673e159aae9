"""Pass a request on that belongs to nobody in particular: models, versions, hardware, search …"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from gateway.clock import Clock
from gateway.domain import problems
from gateway.domain.documents import client_next_links
from gateway.domain.headers import READ_TO_UPSTREAM, Header, as_text, pass_headers
from gateway.domain.json_text import InvalidJson, load
from gateway.domain.plans import Role
from gateway.domain.urls import UrlMap
from gateway.flows.answer import Answer, Caller, Refused
from gateway.flows.upstream_answer import passed_on, upstream_problem
from gateway.ledger import Ledger, versions
from gateway.upstream import (
    Access,
    AnswerKind,
    Match,
    Upstream,
    UpstreamAnswer,
    UpstreamError,
    Urgency,
)


@dataclass(frozen=True, slots=True)
class ForwardedRequest:
    """A request for one of the operations that are passed on."""

    caller: Caller
    match: Match
    query: bytes
    headers: tuple[Header, ...]
    body: bytes | None


class ForwardRequest:
    """Passes requests on and answers back, the page links aside as upstream wrote them."""

    def __init__(self, ledger: Ledger, upstream: Upstream, urls: UrlMap, clock: Clock) -> None:
        self._ledger = ledger
        self._upstream = upstream
        self._urls = urls
        self._clock = clock

    async def __call__(self, request: ForwardedRequest, contact: str) -> Answer:
        """Answer as upstream does.

        Raises:
            Refused: the operation needs another role, or upstream cannot be asked.
        """
        operation = request.match.operation
        caller = request.caller
        if operation.access is Access.MANAGE and not caller.identity.may_manage:
            raise Refused(problems.role_required(Role.MANAGE, contact))
        try:
            answer = await self._upstream.call(
                operation,
                request.match.path,
                query=request.query,
                headers=as_text(pass_headers(request.headers, READ_TO_UPSTREAM)),
                body=request.body,
                urgency=Urgency.READ,
                user=caller.identity.user_id,
            )
        except UpstreamError as error:
            raise Refused(upstream_problem(error, create=False)) from error
        if answer.status != 200:
            return passed_on(answer, answer.body, rewritten=False)
        await self._learn_versions(request.match, answer)
        body = answer.body
        if operation.answer is AnswerKind.LIST:
            try:
                body = client_next_links(body, self._urls, caller.origin)
            except InvalidJson as error:
                raise Refused(problems.upstream_garbage(create=False)) from error
        return passed_on(answer, body, rewritten=body is not answer.body)

    async def _learn_versions(self, match: Match, answer: UpstreamAnswer) -> None:
        """Remember whose versions a page shows, so that rules on names hold for bare ids."""
        owner, name = match.params.get("model_owner"), match.params.get("model_name")
        if owner is None or name is None or not match.operation.name.startswith("models."):
            return
        found = versions_in(answer.body, f"{owner}/{name}".lower(), match.operation.name)
        if found:
            now = self._clock.now()
            await self._ledger.write(partial(versions.seen, models=found, now=now))


def versions_in(body: bytes, model: str, operation: str) -> Mapping[str, str]:
    """Return the version ids on a page of this model, each with the model's name."""
    try:
        page = load(body)
    except InvalidJson:
        return {}
    if not isinstance(page, dict):
        return {}
    match operation:
        case "models.get":
            items = [page.get("latest_version")]
        case "models.versions.get":
            items = [page]
        case "models.versions.list":
            results = page.get("results")
            items = results if isinstance(results, list) else []
        case _:
            return {}
    ids = (item.get("id") for item in items if isinstance(item, dict))
    return {name.lower(): model for name in ids if isinstance(name, str) and name}
