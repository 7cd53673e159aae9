"""An output file for whoever has its link: from the mirror, or through it while it arrives."""

from dataclasses import dataclass

from gateway.domain import problems
from gateway.domain.plans import Identity
from gateway.domain.urls import UnsafePath, UrlMap
from gateway.flows.answer import Refused
from gateway.flows.present import reads
from gateway.ledger import Ledger, files
from gateway.mirror import Mirror, OutputGone, OutputUnreachable, Reading


@dataclass(frozen=True, slots=True)
class OutputRequest:
    """A file by its address under ``/replicate/delivery/``, as it came over the wire."""

    raw_path: str
    raw_query: str
    identity: Identity | None


class ReadOutput:
    """Opens output files of predictions that the gateway knows; no others exist here."""

    def __init__(
        self,
        ledger: Ledger,
        mirror: Mirror,
        urls: UrlMap,
        *,
        key_needed: bool,
    ) -> None:
        self._ledger = ledger
        self._mirror = mirror
        self._urls = urls
        self._key_needed = key_needed

    async def __call__(self, request: OutputRequest) -> Reading:
        """Open the file for reading; the caller closes it.

        Raises:
            Refused: no such file, removed, not the caller's (with ``mirror.access = "key"``), or
                not to be had from upstream.
        """
        try:
            url = self._urls.delivery_from_path(request.raw_path, request.raw_query)
        except UnsafePath:
            raise Refused(problems.not_found("file")) from None
        known = await self._ledger.read(lambda conn: files.known(conn, url))
        if known is None:
            raise Refused(problems.not_found("file"))
        if self._key_needed:
            identity = request.identity
            if identity is None:
                raise Refused(problems.unauthenticated())
            if not any(reads(identity, owner.user_id, owner.team) for owner in known.owners):
                raise Refused(problems.not_found("file"))
        if known.state == "gone":
            raise Refused(problems.gone())
        try:
            return await self._mirror.open(url)
        except OutputGone:
            raise Refused(problems.gone()) from None
        except OutputUnreachable:
            raise Refused(problems.upstream_unreachable()) from None
