"""Turn the gateway's own URLs in a create's `input` into ones that upstream can fetch."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial

from gateway.domain import problems
from gateway.domain.inputs import InputUrl, echo_map, input_gateway_urls, substitute
from gateway.domain.urls import (
    GatewayApi,
    GatewayApiFile,
    GatewayDelivery,
    GatewayUnusable,
    UrlMap,
)
from gateway.flows.answer import Caller, Refused
from gateway.ledger import Ledger, files


@dataclass(frozen=True, slots=True)
class ResolvedInput:
    """A body in upstream's terms, and how to show it as the caller wrote it."""

    body: bytes
    substitutions: Mapping[str, str] = field(default_factory=dict)


class ResolveInputs:
    """Finds what each URL stands for, and refuses what upstream could not fetch."""

    def __init__(self, ledger: Ledger, urls: UrlMap) -> None:
        self._ledger = ledger
        self._urls = urls

    async def __call__(self, caller: Caller, body: bytes) -> ResolvedInput:
        """Return the body for upstream.

        Raises:
            Refused: 422 naming the field.
        """
        found = input_gateway_urls(body, self._urls, caller.own_origins)
        if not found:
            return ResolvedInput(body)
        replaced = [(url, await self._upstream_url(caller, url)) for url in found]
        return ResolvedInput(substitute(body, replaced), echo_map(replaced))

    async def _upstream_url(self, caller: Caller, url: InputUrl) -> str:
        match url.target:
            case GatewayDelivery(upstream_url):
                known = await self._ledger.read(partial(files.known, url=upstream_url))
                if known is None:
                    raise Refused(problems.input_invalid(url.field, "no such output file"))
                return upstream_url
            case GatewayApiFile(_, upstream_url) | GatewayApi(upstream_url):
                return upstream_url
            case GatewayUnusable(reason):
                raise Refused(problems.input_invalid(url.field, reason))
