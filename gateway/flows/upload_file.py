"""Upload a file: it streams through to upstream, and the ledger remembers whose it is."""

import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from functools import partial

from gateway.clock import Clock
from gateway.domain import problems
from gateway.domain.documents import client_file
from gateway.domain.file_objects import UPLOAD_LIVES_S, FileFacts, NotAFile, file_facts
from gateway.domain.headers import TO_UPSTREAM, Header, as_text, pass_headers
from gateway.domain.json_text import InvalidJson
from gateway.domain.upload_forms import FormKeys
from gateway.domain.urls import UrlMap
from gateway.flows.answer import Answer, Caller, Refused
from gateway.flows.upstream_answer import passed_on, refused_by_upstream, upstream_problem
from gateway.ledger import Ledger, uploads
from gateway.ledger.uploads import UploadRow
from gateway.upstream import OPERATIONS, Upstream, UpstreamError, Urgency

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class UploadRequest:
    """A multipart form on its way; `length` is its announced size in bytes."""

    caller: Caller
    query: bytes
    headers: tuple[Header, ...]
    length: int | None
    body: AsyncIterator[bytes]


class UploadFile:
    """Passes uploads on, never holding more of them than what has just arrived."""

    def __init__(
        self,
        ledger: Ledger,
        upstream: Upstream,
        urls: UrlMap,
        clock: Clock,
        account: Callable[[], Awaitable[str]],
    ) -> None:
        self._ledger = ledger
        self._upstream = upstream
        self._urls = urls
        self._clock = clock
        self._account = account

    async def __call__(self, request: UploadRequest) -> Answer:
        """Upload, and answer with the file object.

        What reading the body raises comes through. Should the client leave when all of it has been
        sent, the file is noted as its owner's all the same.

        Raises:
            Refused: upstream cannot be asked, or answers with something that is no file; or a key
                stands in the form, and then upstream does not get the rest of it.
        """
        headers = as_text(pass_headers(request.headers, TO_UPSTREAM))
        if request.length is not None:
            # Said as it was announced: upstream refuses one that is too large unread.
            headers.append(("content-length", str(request.length)))
        try:
            account = await self._account()
            answer = await self._upstream.call(
                OPERATIONS["files.create"],
                "/v1/files",
                query=request.query,
                headers=headers,
                body=_without_keys(request.body, FormKeys(_content_type(headers))),
                urgency=Urgency.READ,
                user=request.caller.identity.user_id,
            )
        except UpstreamError as error:
            raise Refused(upstream_problem(error, create=False)) from error
        if not 200 <= answer.status < 300:
            return refused_by_upstream(answer)
        try:
            facts = file_facts(answer.body)
        except (InvalidJson, NotAFile) as error:
            _log.warning("an upload's answer is no file object: %s", error)
            raise Refused(problems.upstream_garbage(create=False)) from error
        await self._keep(request.caller, account, facts, answer.body)
        body = client_file(answer.body, self._urls, request.caller.origin)
        return passed_on(answer, body, rewritten=body != answer.body)

    async def _keep(self, caller: Caller, account: str, facts: FileFacts, body: bytes) -> None:
        now = self._clock.now()
        row = UploadRow(
            file_id=facts.id,
            account=account,
            user_id=caller.identity.user_id,
            user_name=caller.identity.user_name,
            team=caller.identity.team,
            name=facts.name,
            content_type=facts.content_type,
            size=facts.size,
            created_at=now if facts.created_at is None else facts.created_at,
            expires_at=facts.expires_at or now + UPLOAD_LIVES_S,
            document=body,
        )
        await self._ledger.write(partial(uploads.add, upload=row), durable=True)


def _content_type(headers: list[tuple[str, str]]) -> str:
    return next((value for name, value in headers if name.lower() == "content-type"), "")


async def _without_keys(body: AsyncIterator[bytes], form: FormKeys) -> AsyncIterator[bytes]:
    """Pass a form on, piece by piece; what holds a key breaks off before its end.

    Upstream makes no file of a form that does not come to its end.
    """
    async for chunk in body:
        field = form.write(chunk)
        if field is not None:
            raise Refused(problems.key_in_body(field))
        yield chunk
