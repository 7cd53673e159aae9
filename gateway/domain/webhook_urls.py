"""Which addresses a user's webhook may have: nobody gets inside a network through the gateway."""

import ipaddress
from typing import Final
from urllib.parse import urlsplit

from gateway.domain.keys import address_holds_key

_LONGEST: Final = 2048
_LOCAL_NAMES: Final = ("localhost", "local", "internal", "localdomain", "home.arpa")
# Networks through which an IPv6 address reaches an IPv4 one: NAT64 (RFC 6052, 8215).
_NAT64: Final = (ipaddress.IPv6Network("64:ff9b::/96"), ipaddress.IPv6Network("64:ff9b:1::/48"))
# Shared by a provider's customers (RFC 6598): not private by the letter, and not public either.
_SHARED: Final = ipaddress.IPv4Network("100.64.0.0/10")

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def check_webhook_url(url: str, *, allow_private: bool) -> str | None:
    """Return what is wrong with a webhook's URL, as a sentence for its user; None if nothing is.

    This looks at the spelling only. A name can mean any address, so the one that is connected to is
    looked at again with `address_allowed`.
    """
    if address_holds_key(url):
        return "it must not hold a key of this gateway, which everything on the way could read"
    if len(url) > _LONGEST or any(ord(char) <= 32 or ord(char) == 127 for char in url):
        return f"it must be a URL of at most {_LONGEST} characters, without spaces"
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return "it is not a URL"
    if "\\" in url or not host or port == 0:
        return "it is not a URL with a host"
    if parts.scheme != "https" and not (allow_private and parts.scheme == "http"):
        return "it must be an https: URL"
    if allow_private:
        return None
    address = _as_address(host)
    if address is None:
        name = host.rstrip(".").lower()
        if name.endswith(tuple(f".{local}" for local in _LOCAL_NAMES)) or "." not in name:
            return "it must name a public host"
    elif not address_allowed(address, allow_private=False):
        return "it must name a public address"
    return None


def address_allowed(address: str | Address, *, allow_private: bool) -> bool:
    """Return whether this very IP address may be connected to; text that is none may not."""
    if isinstance(address, str):
        found = _as_address(address)
        if found is None:
            return False
        address = found
    if allow_private:
        return True
    if isinstance(address, ipaddress.IPv6Address):
        inner = _within(address)
        if inner is not None:
            return address_allowed(inner, allow_private=False)
    elif address in _SHARED:
        return False
    return address.is_global and not (
        address.is_multicast or address.is_reserved or address.is_unspecified
    )


def _as_address(text: str) -> Address | None:
    try:
        return ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None


def _within(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    """The IPv4 address that packets to this IPv6 address would reach."""
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address.sixtofour is not None:
        return address.sixtofour
    if any(address in network for network in _NAT64):
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    # ::a.b.c.d, long obsolete (RFC 4291), still taken by some systems; ::1 is among them.
    if int(address) >> 32 == 0:
        return ipaddress.IPv4Address(int(address))
    return None
