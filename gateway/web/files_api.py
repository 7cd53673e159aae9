"""Uploaded files over HTTP: both ways as they arrive, never whole in memory."""

from collections.abc import Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Final

from starlette.types import Receive, Scope, Send

from gateway.flows.answer import Answer, Caller
from gateway.flows.download_file import DownloadFile, DownloadRequest, StreamedFile, is_signed
from gateway.flows.list_files import ListFiles
from gateway.flows.read_file import ReadFile
from gateway.flows.upload_file import UploadFile, UploadRequest
from gateway.upstream.operations import Match
from gateway.web.asking import Asking, Handler
from gateway.web.body import announced_length, stream_body
from gateway.web.departure import while_connected

DOWNLOAD: Final = "files.download"


@dataclass(frozen=True, slots=True)
class FileFlows:
    """What can be done with uploaded files."""

    upload: UploadFile
    list: ListFiles
    read: ReadFile
    download: DownloadFile


class FilesApi:
    """The operations on files. An upload may have `max_upload_bytes`, its form included."""

    def __init__(self, flows: FileFlows, max_upload_bytes: int) -> None:
        self._flows = flows
        self._max_upload_bytes = max_upload_bytes

    @property
    def handlers(self) -> Mapping[str, Handler]:
        """Return what answers which operation; the download is apart, it has no whole answer."""
        return {
            "files.create": self._create,
            "files.list": self._list,
            "files.get": self._get,
            "files.delete": self._delete,
        }

    @staticmethod
    def needs_no_key(found: Match, scope: Scope) -> bool:
        """Return whether a request's address is its permission: a signed download's is.

        Also for those who send a key along, as some clients do with every address that they read.
        """
        return found.operation.name == DOWNLOAD and is_signed(scope["query_string"])

    async def download(
        self,
        found: Match,
        caller: Caller | None,
        origin: str,
        scope: Scope,
        receive: Receive,
        send: Send,
    ) -> None:
        """Send a file's bytes as they come, to a caller or to whoever has a signed address."""
        request = DownloadRequest(
            caller=caller,
            origin=origin,
            file_id=found.params["file_id"],
            query=scope["query_string"],
            headers=tuple(scope["headers"]),
        )
        async with self._flows.download(request) as file:
            sending = _send(file, send, head_only=scope["method"] == "HEAD")
            await while_connected(receive, sending)

    async def _create(self, asking: Asking) -> Answer:
        scope = asking.scope
        request = UploadRequest(
            caller=asking.caller,
            query=scope["query_string"],
            headers=tuple(scope["headers"]),
            length=announced_length(scope),
            body=stream_body(scope, asking.receive, self._max_upload_bytes),
        )
        return await self._flows.upload(request)

    async def _list(self, asking: Asking) -> Answer:
        query: bytes = asking.scope["query_string"]
        return await self._flows.list(asking.caller, query.decode("latin-1"))

    async def _get(self, asking: Asking) -> Answer:
        scope = asking.scope
        file_id, headers = asking.match.params["file_id"], tuple(scope["headers"])
        return await self._flows.read(asking.caller, file_id, scope["query_string"], headers)

    async def _delete(self, asking: Asking) -> Answer:
        file_id = asking.match.params["file_id"]
        return await self._flows.read.delete(asking.caller, file_id, asking.scope["query_string"])


async def _send(file: StreamedFile, send: Send, *, head_only: bool) -> None:
    headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in file.headers]
    if file.length is not None:
        headers.append((b"content-length", str(file.length).encode()))
    await send({"type": "http.response.start", "status": file.status, "headers": headers})
    if not head_only and file.status != 304:
        async with aclosing(file.chunks) as chunks:  # type: ignore[type-var]  # generators all
            async for chunk in chunks:
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
    await send({"type": "http.response.body", "body": b""})
