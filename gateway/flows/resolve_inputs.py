"""Turn the gateway's own URLs in a create's `input` into ones that upstream can fetch."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial

from gateway.clock import Clock
from gateway.domain import problems
from gateway.domain.inputs import InputUrl, echo_map, input_gateway_urls, substitute
from gateway.domain.problems import Problem
from gateway.domain.urls import (
    FromClient,
    GatewayApi,
    GatewayApiFile,
    GatewayDelivery,
    GatewayUnusable,
    UrlMap,
)
from gateway.flows.answer import Caller, Refused
from gateway.flows.present import may_read
from gateway.flows.reupload_output import LEAST_LEFT_S, Outcome, ReuploadOutput, Unusable
from gateway.ledger import Connection, Ledger, files, published, uploads
from gateway.ledger.files import FileRow

OUTPUT_LIVES_S = 3600.0
"""How long upstream keeps an output file after the prediction has ended."""

UPSTREAM_BEGAN = "upstream_began"
"""Among the ledger's facts: before when upstream knows of nothing. Only a simulation has such a
time, since each start of it is its first."""


@dataclass(frozen=True, slots=True)
class ResolvedInput:
    """A body in upstream's terms, and how to show it as the caller wrote it."""

    body: bytes
    substitutions: Mapping[str, str] = field(default_factory=dict)


class ResolveInputs:
    """Finds what each URL stands for, and refuses what upstream could not fetch.

    With `key_needed` (``mirror.access = "key"``) a link is no permission here either.
    """

    def __init__(
        self,
        ledger: Ledger,
        urls: UrlMap,
        clock: Clock,
        reupload: ReuploadOutput,
        *,
        key_needed: bool,
    ) -> None:
        self._ledger = ledger
        self._urls = urls
        self._clock = clock
        self._reupload = reupload
        self._key_needed = key_needed

    async def __call__(self, caller: Caller, body: bytes) -> ResolvedInput:
        """Return the body for upstream.

        Raises:
            Refused: 422 naming the field; or what kept a file from being uploaded again.
        """
        found = input_gateway_urls(body, self._urls, caller.own_origins)
        if not found:
            return ResolvedInput(body)
        # What is cheap to refuse is refused before anything is uploaded.
        checked = {url.target: await self._check(caller, url) for url in found}
        replaced = [(url, await self._address(caller, url, checked[url.target])) for url in found]
        return ResolvedInput(substitute(body, replaced), echo_map(replaced))

    async def _check(self, caller: Caller, url: InputUrl) -> FromClient:
        """Return what a URL stands for, if this caller may use it."""
        match url.target:
            case GatewayDelivery(upstream_url):
                known, began = await self._ledger.read(partial(_known, upstream_url))
                if known is None or (self._key_needed and not _readable(caller, known)):
                    raise _invalid(url, "no such output file")
                if known.state == "gone" or all(owner.removed_at for owner in known.owners):
                    raise _invalid(url, "this file has been removed")
                ended = _ended_at(known)
                if ended >= began and self._clock.now() <= ended + OUTPUT_LIVES_S - LEAST_LEFT_S:
                    return GatewayApi(upstream_url)
            case GatewayApiFile(file_id):
                upload = await self._ledger.read(partial(uploads.get, file_id=file_id))
                if upload is None or upload.user_id != caller.identity.user_id:
                    raise _invalid(url, "no such file of yours")
                if upload.expires_at is not None and upload.expires_at <= self._clock.now():
                    raise _invalid(url, "this upload has expired; upload the file again")
            case GatewayUnusable(reason):
                raise _invalid(url, reason)
        return url.target

    async def _address(self, caller: Caller, url: InputUrl, target: FromClient) -> str:
        match target:
            case GatewayDelivery(upstream_url):
                outcome = await self._reupload(upstream_url, caller.identity.user_id)
                return _address_of(url, outcome)
            case GatewayApiFile(_, upstream_url) | GatewayApi(upstream_url):
                return upstream_url
            case GatewayUnusable(reason):
                raise _invalid(url, reason)


def _known(upstream_url: str, conn: Connection) -> tuple[FileRow | None, float]:
    began = published.recall(conn, UPSTREAM_BEGAN)
    return files.known(conn, upstream_url), 0.0 if began is None else float(began)


def _readable(caller: Caller, file: FileRow) -> bool:
    return any(may_read(caller, owner.user_id, owner.team) for owner in file.owners)


def _ended_at(file: FileRow) -> float:
    """Return from when upstream's hour counts: the end of its prediction, else its first sight."""
    ends = [owner.completed_at for owner in file.owners if owner.completed_at is not None]
    return min(ends, default=file.registered_at)


def _address_of(url: InputUrl, outcome: Outcome) -> str:
    match outcome:
        case Unusable(reason):
            raise _invalid(url, reason)
        case Problem():
            raise Refused(outcome)
        case str():
            return outcome


def _invalid(url: InputUrl, reason: str) -> Refused:
    return Refused(problems.input_invalid(url.field, reason))
