"""Pass a request on that belongs to nobody in particular: models, versions, hardware, search …"""

from dataclasses import dataclass
from functools import partial

from gateway.clock import Clock
from gateway.domain import problems
from gateway.domain.documents import client_next_links
from gateway.domain.headers import READ_TO_UPSTREAM, Header, as_text, pass_headers
from gateway.domain.json_text import InvalidJson
from gateway.domain.plans import Role
from gateway.domain.urls import UrlMap
from gateway.domain.version_pages import LEARNT_FROM, versions_in
from gateway.flows.answer import Answer, Caller, Refused
from gateway.flows.upstream_answer import client_location, passed_on, upstream_problem
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

_MOST_REMEMBERED = 20_000


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
        # What was written down already, so that the same page is no write again.
        self._seen: dict[str, str] = {}

    async def __call__(self, request: ForwardedRequest, contact: str) -> Answer:
        """Answer as upstream does.

        Raises:
            Refused: the operation needs another role, or upstream cannot be asked.
        """
        operation = request.match.operation
        caller = request.caller
        if operation.access is Access.MANAGE and not caller.identity.may_manage:
            raise Refused(problems.role_required(Role.MANAGE, contact))
        changes = operation.access is Access.MANAGE
        try:
            answer = await self._upstream.call(
                operation,
                request.match.path,
                query=request.query,
                headers=as_text(pass_headers(request.headers, READ_TO_UPSTREAM)),
                body=request.body,
                urgency=Urgency.ACT if changes else Urgency.READ,
                user=caller.identity.user_id,
            )
        except UpstreamError as error:
            raise Refused(upstream_problem(error, create=False)) from error
        if not 200 <= answer.status < 300:
            return self._redirected(answer, caller.origin)
        await self._learn_versions(request.match, answer)
        body = answer.body
        if operation.answer is AnswerKind.LIST:
            try:
                body = client_next_links(body, self._urls, caller.origin)
            except InvalidJson as error:
                raise Refused(problems.upstream_garbage(create=False)) from error
        return passed_on(answer, body, rewritten=body != answer.body)

    def _redirected(self, answer: UpstreamAnswer, origin: str) -> Answer:
        passed = passed_on(answer, answer.body, rewritten=False)
        location = answer.header("location")
        if location is None or not 300 <= answer.status < 400:
            return passed
        told = ("location", client_location(self._urls, location, origin))
        return Answer(passed.status, (*passed.headers, told), passed.body)

    async def _learn_versions(self, match: Match, answer: UpstreamAnswer) -> None:
        """Remember whose versions a page shows, so that rules on names hold for bare ids."""
        if match.operation.name not in LEARNT_FROM:
            return
        owner, name = match.params.get("model_owner"), match.params.get("model_name")
        model = None if owner is None or name is None else f"{owner}/{name}"
        found = versions_in(answer.body, match.operation.name, model)
        news = {version: of for version, of in found.items() if self._seen.get(version) != of}
        if not news:
            return
        now = self._clock.now()
        await self._ledger.write(partial(versions.seen, models=news, now=now))
        if len(self._seen) + len(news) > _MOST_REMEMBERED:
            self._seen.clear()
        self._seen |= news
