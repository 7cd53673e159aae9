"""Posting to a user's webhook: the one place where users choose where the gateway connects to.

The address is looked at when the socket is made for it, after all resolving: what is checked is
what is connected to, and a name that means something else a moment later gains nothing.
"""

import socket
import ssl
from collections.abc import Iterable
from dataclasses import dataclass

import httpx
from aiohttp import AddrInfoType

from gateway.domain.webhook_urls import address_allowed, check_webhook_url
from gateway.upstream.connected import Connected
from gateway.upstream.errors import UpstreamError
from gateway.upstream.wire import Wire, tls_context


@dataclass(frozen=True, slots=True)
class Delivered:
    """The receiver answered 2xx."""

    status: int


@dataclass(frozen=True, slots=True)
class Failed:
    """Anything else: `reason` is fit to be shown to the webhook's owner."""

    reason: str
    status: int | None = None


class _AddressRefused(Exception):
    """Not an OSError on purpose: no other address of the name is tried after it."""


class WebhookSender(Connected):
    """Delivers one body to one URL, once; whoever calls repeats it."""

    def __init__(
        self,
        *,
        timeout_s: float,
        allow_private: bool = False,
        context: ssl.SSLContext | None = None,
    ) -> None:
        self._timeout_s = timeout_s
        self._allow_private = allow_private
        self._wire = Wire(
            context=context or tls_context(),
            connect_timeout_s=timeout_s,
            reuse=False,
            socket_factory=self._checked_socket,
        )
        super().__init__(self._wire)

    async def deliver(
        self, url: str, headers: Iterable[tuple[str, str]], body: bytes
    ) -> Delivered | Failed:
        """POST `body`; never raises for what the receiver does. Redirects are failures."""
        wrong = check_webhook_url(url, allow_private=self._allow_private)
        if wrong is not None:
            return Failed(f"the URL is not allowed: {wrong}")
        try:
            request = httpx.Request(
                "POST",
                url,
                headers=list(headers),
                content=body,
                extensions={"timeout": {"read": self._timeout_s}},
            )
            response = await self._wire.handle_async_request(request)
        except _AddressRefused:
            return Failed("the URL's host has an address that is not public")
        except UpstreamError as failure:
            return Failed(str(failure))
        except (httpx.InvalidURL, ValueError):
            return Failed("the URL cannot be used")
        # The receiver's body is nobody's business, and may be endless.
        await response.aclose()
        if 200 <= response.status_code < 300:
            return Delivered(response.status_code)
        return Failed(f"the receiver answered {response.status_code}", response.status_code)

    def _checked_socket(self, found: AddrInfoType) -> socket.socket:
        family, kind, protocol, _, target = found
        if not address_allowed(str(target[0]), allow_private=self._allow_private):
            raise _AddressRefused
        return socket.socket(family, kind, protocol)
