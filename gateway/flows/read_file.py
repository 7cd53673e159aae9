"""Uploaded files one by one: who may see and delete them, and what upstream says of them."""

from functools import partial

from gateway.domain import problems
from gateway.domain.documents import client_file
from gateway.domain.headers import READ_TO_UPSTREAM, Header, as_text, pass_headers
from gateway.domain.json_text import InvalidJson
from gateway.domain.urls import UrlMap
from gateway.flows.answer import Answer, Caller, Refused
from gateway.flows.present import may_read
from gateway.flows.upstream_answer import passed_on, upstream_problem
from gateway.ledger import Ledger, uploads
from gateway.ledger.uploads import UploadRow
from gateway.upstream import OPERATIONS, Upstream, UpstreamAnswer, UpstreamError, Urgency


class ReadFile:
    """Answers for files that the caller, or a team that shares, has uploaded."""

    def __init__(self, ledger: Ledger, upstream: Upstream, urls: UrlMap) -> None:
        self._ledger = ledger
        self._upstream = upstream
        self._urls = urls

    async def find(self, caller: Caller, file_id: str) -> UploadRow:
        """Return a file that the caller may see.

        Raises:
            Refused: 404, whether there is none or it is somebody else's.
        """
        row = await self._ledger.read(partial(uploads.get, file_id=file_id))
        if row is None or not may_read(caller, row.user_id, row.team):
            raise Refused(problems.not_found("file"))
        return row

    async def __call__(
        self, caller: Caller, file_id: str, query: bytes, headers: tuple[Header, ...]
    ) -> Answer:
        """Answer with the file object.

        Raises:
            Refused: not the caller's to see, or upstream cannot be asked.
        """
        await self.find(caller, file_id)
        passed = as_text(pass_headers(headers, READ_TO_UPSTREAM))
        answer = await self._ask("files.get", caller, file_id, query, passed)
        if answer.status != 200:
            return passed_on(answer, answer.body, rewritten=False)
        try:
            body = client_file(answer.body, self._urls, caller.origin)
        except InvalidJson as error:
            raise Refused(problems.upstream_garbage(create=False)) from error
        return passed_on(answer, body, rewritten=body != answer.body)

    async def delete(self, caller: Caller, file_id: str, query: bytes) -> Answer:
        """Delete one of the caller's own files; a team that shares may read it, no more.

        Raises:
            Refused: not the caller's own, or upstream cannot be asked.
        """
        row = await self.find(caller, file_id)
        if row.user_id != caller.identity.user_id:
            raise Refused(problems.not_found("file"))
        answer = await self._ask("files.delete", caller, file_id, query, [])
        if 200 <= answer.status < 300 or answer.status == 404:
            await self._ledger.write(partial(uploads.remove, file_id=file_id))
        return passed_on(answer, answer.body, rewritten=False)

    async def _ask(
        self,
        name: str,
        caller: Caller,
        file_id: str,
        query: bytes,
        headers: list[tuple[str, str]],
    ) -> UpstreamAnswer:
        try:
            return await self._upstream.call(
                OPERATIONS[name],
                f"/v1/files/{file_id}",
                query=query,
                headers=headers,
                urgency=Urgency.READ,
                user=caller.identity.user_id,
            )
        except UpstreamError as error:
            raise Refused(upstream_problem(error, create=False)) from error
