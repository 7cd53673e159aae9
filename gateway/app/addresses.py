"""Under which names and addresses people on this machine and around it reach the gateway."""

import fcntl
import re
import socket
import struct
from collections.abc import Iterator
from contextlib import suppress
from ipaddress import IPv4Address, IPv6Address, ip_address
from urllib.parse import urlsplit

from gateway.settings import Settings

_HOST_NAME = re.compile(r"[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*")
_ANYWHERE = frozenset({"0.0.0.0", "::", ""})
# Addresses reserved for documentation: asking for the way there sends nothing.
_FAR_AWAY = ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1"))
_SIOCGIFADDR = 0x8915


def names_for_certificate(settings: Settings) -> list[str]:
    """Return every name that a certificate of this gateway should bear, each once."""
    server = settings.server
    found = ["localhost", "127.0.0.1", "::1"]
    found += [urlsplit(url).hostname or "" for url in (server.public_url, *server.public_aliases)]
    if server.host not in _ANYWHERE:
        found.append(server.host)
    own = socket.gethostname()
    found += [own, f"{own.partition('.')[0]}.local", *sorted(set(_lan_addresses(own)))]
    return [name for name in dict.fromkeys(map(_written, found)) if name]


def as_address(name: str) -> IPv4Address | IPv6Address | None:
    """Return the address that a name is, None for a host name."""
    try:
        return ip_address(name)
    except ValueError:
        return None


def _written(name: str) -> str:
    """Return a name in the one form that certificates have, "" for what cannot stand in one."""
    name = name.lower().rstrip(".")
    address = as_address(name.partition("%")[0])
    if address is not None:
        return str(address)
    with suppress(UnicodeError):
        name = name.encode("idna").decode() if not name.isascii() else name
    return name if len(name) <= 253 and _HOST_NAME.fullmatch(name) else ""


def _lan_addresses(own_name: str) -> Iterator[str]:
    """Yield this machine's addresses, as far as they can be found without asking anybody."""
    for family, far_away in _FAR_AWAY:
        with suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((far_away, 9))
            yield from _usable(str(probe.getsockname()[0]))
    with suppress(OSError):
        for found in socket.getaddrinfo(own_name, None, type=socket.SOCK_STREAM):
            yield from _usable(str(found[4][0]))
    with suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        for _, interface in socket.if_nameindex():
            # Fails where this is not Linux, and for interfaces without an IPv4 address.
            with suppress(OSError):
                wanted = struct.pack("256s", interface.encode()[:15])
                told = fcntl.ioctl(probe.fileno(), _SIOCGIFADDR, wanted)
                yield from _usable(socket.inet_ntoa(told[20:24]))


def _usable(text: str) -> Iterator[str]:
    address = ip_address(text.partition("%")[0])
    # A link-local address needs the zone of the one who uses it, which no certificate can bear.
    if not (address.is_loopback or address.is_unspecified or address.is_link_local):
        yield str(address)
