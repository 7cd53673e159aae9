"""In whose eyes the gateway is where: the origin that URLs in answers begin with.

Configured, it is `server.public_url`. Otherwise it is the scheme and host that the client itself
used, so that localhost, a LAN address and a DNS name work at once. What proxies say about the
client is believed from trusted ones only; anybody can write such a header.
"""

import re
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from starlette.types import Scope

from gateway.domain import http_problems
from gateway.domain.origins import canonical_origin
from gateway.web.problem_response import ProblemError

_HOST = re.compile(
    r"(?:[A-Za-z0-9_](?:[A-Za-z0-9._-]{0,251}[A-Za-z0-9_.])?|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?"
)
_PROXY_HEADERS = (b"forwarded", b"x-real-ip", b"via", b"cf-connecting-ip", b"true-client-ip")
# One parameter of a Forwarded element (RFC 7239): a token or a quoted text.
_PARAMETER = re.compile(r'\s*([a-zA-Z]+)=(?:"((?:[^"\\]|\\.)*)"|([^\s;,"]*))\s*')

_MAX_KNOWN = 256
"""Spellings of origins remembered; more only cost reading them again."""


class Origins:
    """Finds the origin of each request.

    `listener` is the origin of the first listener, for clients that name no host (HTTP/1.0, or an
    empty Host) where the server does not tell at which of its addresses they arrived.
    `trusted_proxies` are networks in CIDR notation. Raises ValueError for what is not an origin or
    a network.
    """

    def __init__(
        self,
        *,
        public_url: str,
        aliases: Sequence[str],
        trusted_proxies: Sequence[str],
        listener: str,
    ) -> None:
        self._public = _origin(public_url) if public_url else None
        self._listener = _origin(listener)
        self._aliases = frozenset(_origin(alias) for alias in aliases)
        if self._public is not None:
            self._aliases |= {self._public}
        self._trusted = tuple(ip_network(network, strict=False) for network in trusted_proxies)
        self._known: dict[tuple[str, str], str] = {}

    def of(self, scope: Scope) -> str:
        """Return the origin that this client should see, as in "https://gateway.example:8080".

        Raises:
            ProblemError: 400 for a Host (or trusted forwarded host) that cannot be one.
        """
        return self._public if self._public is not None else self._own(scope)

    def own_origins(self, scope: Scope) -> frozenset[str]:
        """Return every origin that means this gateway in this client's requests; raises like `of`.

        These are the public one, its aliases and the one that the client used.
        """
        own = self._own(scope)
        return self._aliases if own in self._aliases else self._aliases | {own}

    def client_address(self, scope: Scope) -> str:
        """Return the client's address as far as it can be believed; "" if there is none."""
        hops = self._hops(scope)
        if hops == 0:
            return _peer(scope)
        forwarded = _listed(scope, b"x-forwarded-for")
        return forwarded[-min(hops, len(forwarded))] if forwarded else _peer(scope)

    def _own(self, scope: Scope) -> str:
        scheme: str = scope["scheme"]
        host = _host(scope)
        if self._trusted and (hops := self._hops(scope)):
            scheme, host = _forwarded(scope, hops, scheme, host)
        if host is None:
            host = _arrived_at(scope)
        if host is None:
            return self._listener
        known = self._known.get((scheme, host))
        if known is not None:
            return known
        origin = canonical_origin(f"{scheme}://{host}") if _HOST.fullmatch(host) else None
        if origin is None:
            raise ProblemError(http_problems.invalid_host())
        if len(self._known) >= _MAX_KNOWN:
            self._known.clear()
        self._known[scheme, host] = origin
        return origin

    def _hops(self, scope: Scope) -> int:
        """Count the trusted proxies between us and the client, the peer being the first."""
        if not self._trusted or not self._trusts(_peer(scope)):
            return 0
        hops = 1
        for address in reversed(_listed(scope, b"x-forwarded-for")):
            if not self._trusts(address):
                break
            hops += 1
        return hops

    def _trusts(self, text: str) -> bool:
        address = _address(text)
        return address is not None and any(address in network for network in self._trusted)


def is_loopback(scope: Scope) -> bool:
    """Return whether the peer is on this machine (it may be a proxy for others)."""
    address = _address(_peer(scope))
    return address is not None and address.is_loopback


def came_through_proxy(scope: Scope) -> bool:
    """Return whether any header says that the peer is not the client: believed from everybody."""
    return any(
        name in _PROXY_HEADERS or name.startswith(b"x-forwarded-") for name, _ in scope["headers"]
    )


def _origin(text: str) -> str:
    origin = canonical_origin(text)
    if origin is None:
        raise ValueError(f"{text!r} is not an origin: write scheme://host[:port], without a path")
    return origin


def _peer(scope: Scope) -> str:
    client = scope.get("client")
    return str(client[0]) if client else ""


def _address(text: str) -> IPv4Address | IPv6Address | None:
    """Read an address as X-Forwarded-For has it: perhaps with a port, a zone or brackets."""
    text = text.strip().strip('"')
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def _host(scope: Scope) -> str | None:
    hosts = [value for name, value in scope["headers"] if name == b"host"]
    if len(hosts) > 1:
        raise ProblemError(http_problems.invalid_host())
    return hosts[0].decode("latin-1").strip() or None if hosts else None


def _arrived_at(scope: Scope) -> str | None:
    """Return the address of this machine that the connection goes to, which the client can reach.

    The listener's own may be 0.0.0.0, which nobody can.
    """
    server: tuple[str, int | None] | None = scope.get("server")
    if server is None or server[1] is None:
        return None  # a socket without addresses
    address = _address(server[0])
    if address is None or address.is_unspecified:
        return None
    shown = f"[{address}]" if isinstance(address, IPv6Address) else str(address)
    return f"{shown}:{server[1]}"


def _listed(scope: Scope, name: bytes) -> list[str]:
    """Return the items of a header that lists them, over all its lines, nearest proxy last."""
    return [
        item.strip()
        for found, value in scope["headers"]
        if found == name
        for item in value.decode("latin-1").split(",")
        if item.strip()
    ]


def _forwarded(scope: Scope, hops: int, scheme: str, host: str | None) -> tuple[str, str | None]:
    """Return scheme and host as the outermost of `hops` trusted proxies was asked for them.

    Each proxy appends at the right, so what a client made up itself stands further left. The
    X-Forwarded-* headers are looked at first: a proxy that sets them often passes a Forwarded
    header on unread.
    """
    schemes = _listed(scope, b"x-forwarded-proto")
    hosts = _listed(scope, b"x-forwarded-host")
    if not schemes and not hosts:
        elements = [_parameters(element) for element in _listed(scope, b"forwarded")]
        if elements:
            element = elements[-min(hops, len(elements))]
            schemes = [element["proto"]] if "proto" in element else []
            hosts = [element["host"]] if "host" in element else []
    if schemes:
        claimed = schemes[-min(hops, len(schemes))].lower()
        if claimed not in ("http", "https"):
            raise ProblemError(http_problems.invalid_host())
        scheme = claimed
    if hosts:
        host = hosts[-min(hops, len(hosts))]
    return scheme, host


def _parameters(element: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for match in _PARAMETER.finditer(element):
        quoted = match[2]
        value = re.sub(r"\\(.)", r"\1", quoted) if quoted is not None else match[3]
        found.setdefault(match[1].lower(), value)
    return found
