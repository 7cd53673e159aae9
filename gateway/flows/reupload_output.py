"""Hand a mirrored output file to upstream again when its own address there has run out.

However many creates use the file, one upload serves them while it lives: within a process they
share the task, and among workers and machines a claim in the ledger lets one of them upload. Such
uploads are the gateway's; they are in nobody's list.
"""

import asyncio
import logging
import re
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial
from urllib.parse import unquote, urlsplit

from gateway.clock import Clock
from gateway.domain import problems
from gateway.domain.file_objects import UPLOAD_LIVES_S, NotAFile, file_facts
from gateway.domain.json_text import InvalidJson
from gateway.domain.problems import Problem
from gateway.domain.urls import UrlMap
from gateway.flows.spawn import Spawn
from gateway.flows.upstream_answer import upstream_problem
from gateway.ledger import Connection, Ledger, uploads
from gateway.ledger.uploads import Reupload
from gateway.mirror import Mirror, MirrorClosed, OutputBroken, OutputGone, OutputUnreachable
from gateway.mirror.reading import Reading
from gateway.upstream import OPERATIONS, Upstream, UpstreamError, Urgency

_log = logging.getLogger(__name__)

LEAST_LEFT_S = 900.0
"""A file handed to upstream must live at least so long: the prediction may wait in a queue."""

CLAIM_S = 30.0
"""How long a claim holds when its holder dies; it is renewed three times as often."""

PATIENCE_S = 120.0
"""How long others wait for the holder of a claim."""

_STEP_S = 0.2
_UNFIT = re.compile(r"[^A-Za-z0-9._-]+")


@dataclass(frozen=True, slots=True)
class Unusable:
    """The file cannot be handed to upstream; `reason` is for the caller."""

    reason: str


Outcome = str | Unusable | Problem
"""Upstream's address of the file; or why there is none and will be none; or why not now."""


class _TooLarge(Exception):
    """More bytes came than upstream takes."""


class ReuploadOutput:
    """Uploads mirrored files, each once for all who need it."""

    def __init__(
        self,
        ledger: Ledger,
        mirror: Mirror,
        upstream: Upstream,
        urls: UrlMap,
        clock: Clock,
        spawn: Spawn,
        worker_id: str,
        max_bytes: int,
    ) -> None:
        self._ledger = ledger
        self._mirror = mirror
        self._upstream = upstream
        self._urls = urls
        self._clock = clock
        self._spawn = spawn
        self._worker_id = worker_id
        self._max_bytes = max_bytes
        self._under_way: dict[str, asyncio.Task[Outcome]] = {}

    async def __call__(self, url: str, user: str) -> Outcome:
        """Return where upstream can fetch the file, by the upstream URL that it once had.

        `user` is whose turn an upload costs.
        """
        alive_at = self._clock.now() + LEAST_LEFT_S
        known = await self._ledger.read(partial(uploads.reusable, url=url, alive_at=alive_at))
        if known is not None:
            return known.upstream_url
        task = self._under_way.get(url)
        if task is None:
            task = self._spawn(self._obtain(url, user), "upload an output again")
            self._under_way[url] = task
            task.add_done_callback(lambda _: self._under_way.pop(url, None))
        return await asyncio.shield(task)

    async def _obtain(self, url: str, user: str) -> Outcome:
        deadline = self._clock.monotonic() + PATIENCE_S
        while True:
            found = await self._ledger.write(partial(self._reuse_or_claim, url=url))
            if isinstance(found, str):
                return found
            if found:
                break
            if self._clock.monotonic() >= deadline:
                return problems.overloaded()
            await self._clock.sleep(_STEP_S)
        renewing = self._spawn(self._renew(url), "hold the claim on an output")
        try:
            return await self._upload(url, user)
        finally:
            renewing.cancel()
            release = partial(uploads.release_reupload, url=url, by=self._worker_id)
            await self._ledger.write(release)

    def _reuse_or_claim(self, conn: Connection, url: str) -> str | bool:
        now = self._clock.now()
        known = uploads.reusable(conn, url, now + LEAST_LEFT_S)
        if known is not None:
            return known.upstream_url
        until = now + CLAIM_S
        return uploads.claim_reupload(conn, url, now=now, until=until, by=self._worker_id)

    async def _renew(self, url: str) -> None:
        while True:
            await self._clock.sleep(CLAIM_S / 3)
            await self._ledger.write(partial(self._reuse_or_claim, url=url))

    async def _upload(self, url: str, user: str) -> Outcome:
        try:
            reading = await self._mirror.open(url)
        except OutputGone:
            return Unusable("this file no longer exists")
        except OutputUnreachable:
            return problems.upstream_unreachable()
        except MirrorClosed:
            return problems.shutting_down()
        try:
            return await self._send(url, user, reading)
        except _TooLarge:
            return self._too_large()
        except OutputBroken:
            return problems.upstream_broke_off(create=False)
        except UpstreamError as error:
            _log.warning("an output could not be uploaded again: %s", error)
            return upstream_problem(error, create=False)
        finally:
            await reading.aclose()

    async def _send(self, url: str, user: str, reading: Reading) -> Outcome:
        size = await reading.whole_size()
        if size is not None and size > self._max_bytes:
            return self._too_large()
        boundary = f"output-{self._clock.new_id()}"
        head, tail = _envelope(boundary, _file_name(url), reading.content_type)
        headers = [("content-type", f"multipart/form-data; boundary={boundary}")]
        if size is not None:
            headers.append(("content-length", str(len(head) + size + len(tail))))
        answer = await self._upstream.call(
            OPERATIONS["files.create"],
            "/v1/files",
            headers=headers,
            body=self._form(head, reading, tail),
            urgency=Urgency.ACT,
            user=user,
        )
        if answer.status == 413:
            return self._too_large()
        if not 200 <= answer.status < 300:
            _log.warning("upstream answered %d to an output uploaded again", answer.status)
            if answer.status >= 500:
                return problems.upstream_broke_off(create=False)
            return Unusable(f"Replicate does not take this file again (status {answer.status})")
        try:
            facts = file_facts(answer.body)
        except (InvalidJson, NotAFile):
            return problems.upstream_garbage(create=False)
        reupload = Reupload(
            url=url,
            file_id=facts.id,
            upstream_url=facts.url or f"{self._urls.api_origin}/v1/files/{facts.id}",
            expires_at=facts.expires_at or self._clock.now() + UPLOAD_LIVES_S,
        )
        await self._ledger.write(partial(uploads.reuploaded, reupload=reupload))
        return reupload.upstream_url

    async def _form(self, head: bytes, reading: Reading, tail: bytes) -> AsyncIterator[bytes]:
        yield head
        size = 0
        async with aclosing(reading.chunks()) as chunks:  # type: ignore[type-var]  # generators all
            async for chunk in chunks:
                size += len(chunk)
                if size > self._max_bytes:
                    raise _TooLarge
                yield chunk
        yield tail

    def _too_large(self) -> Unusable:
        return Unusable(
            "this file is no longer at Replicate and too large to be uploaded again "
            f"(over {self._max_bytes:,} bytes)"
        )


def _envelope(boundary: str, name: str, content_type: str) -> tuple[bytes, bytes]:
    head = (
        f"--{boundary}\r\n"
        f'Content-Disposition: form-data; name="content"; filename="{name}"\r\n'
        f"Content-Type: {content_type}\r\n\r\n"
    )
    return head.encode("latin-1", "replace"), f"\r\n--{boundary}--\r\n".encode()


def _file_name(url: str) -> str:
    last = unquote(urlsplit(url).path.rpartition("/")[2])
    return _UNFIT.sub("_", last)[-120:] or "file"
