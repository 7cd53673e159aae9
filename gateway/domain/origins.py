"""Which hosts belong to upstream: patterns of origins, and what they match.

An origin pattern is ``scheme://host[:port]``; the host may begin with ``*.``, which stands for one
or more labels. Everything is compared in the one spelling that a URL has when it is written plainly
(lower case, no default port): another spelling is not a match, so that each upstream URL has
exactly one form on the client's side.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

_LABEL: Final = r"[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?"
_HOST: Final = rf"{_LABEL}(?:\.{_LABEL})*"
_PATTERN: Final = re.compile(
    rf"(?P<scheme>https?)://(?P<wild>\*\.)?(?P<host>{_HOST})(?::(?P<port>[0-9]{{1,5}}))?/?"
)
_AUTHORITY: Final = re.compile(rf"(?P<host>{_HOST})(?::(?P<port>[1-9][0-9]{{0,4}}))?")
_MAX_HOST: Final = 253

DEFAULT_PORTS: Final = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class OriginPattern:
    """``scheme://host[:port]``; ``wildcard`` when the host stood behind ``*.``."""

    scheme: str
    host: str
    wildcard: bool
    port: int | None
    """``None`` is the scheme's own port."""

    def matches_host(self, host: str, port: int | None) -> bool:
        """Whether this pattern covers the host (lower case) and explicit port."""
        if port != self.port:
            return False
        if self.wildcard:
            return host.endswith(self.host) and host[: -len(self.host)].endswith(".")
        return host == self.host

    def __str__(self) -> str:
        port = "" if self.port is None else f":{self.port}"
        return f"{self.scheme}://{'*.' if self.wildcard else ''}{self.host}{port}"


@dataclass(frozen=True, slots=True)
class UpstreamOrigins:
    """Where upstream lives: its API's origin (no path), its output files, its event streams."""

    api: str
    delivery: tuple[OriginPattern, ...]
    streams: tuple[OriginPattern, ...]


def parse_origin_pattern(text: str) -> OriginPattern:
    """The pattern that ``text`` says. Raises ``ValueError`` with one line fit for an operator."""
    match = _PATTERN.fullmatch(text.strip().lower())
    if match is None:
        raise ValueError(
            f"{text!r} is not an origin: write scheme://host[:port], for example"
            " https://*.replicate.delivery (the host may begin with '*.', no path)"
        )
    scheme, host = match["scheme"], match["host"]
    if len(host) > _MAX_HOST:
        raise ValueError(f"{text!r} is not an origin: its host is longer than {_MAX_HOST}")
    port = None if match["port"] is None else int(match["port"])
    if port is not None and not 1 <= port <= 65535:
        raise ValueError(f"{text!r} is not an origin: a port is 1 to 65535")
    return OriginPattern(
        scheme=scheme,
        host=host,
        wildcard=match["wild"] is not None,
        port=None if port == DEFAULT_PORTS[scheme] else port,
    )


def split_authority(text: str) -> tuple[str, int | None] | None:
    """``host[:port]`` in its one plain spelling, or ``None``.

    Upper case, user-info, leading zeros, IP literals in brackets and trailing dots are not plain.
    """
    match = _AUTHORITY.fullmatch(text)
    if match is None or len(match["host"]) > _MAX_HOST:
        return None
    port = None if match["port"] is None else int(match["port"])
    if port is not None and port > 65535:
        return None
    return match["host"], port


def find_pattern(
    patterns: Sequence[OriginPattern], host: str, port: int | None, scheme: str | None = None
) -> OriginPattern | None:
    """The first pattern that covers this host and explicit port (and scheme, if one is given)."""
    for pattern in patterns:
        if (scheme is None or scheme == pattern.scheme) and pattern.matches_host(host, port):
            return pattern
    return None


def refuse_ambiguous(patterns: Sequence[OriginPattern]) -> None:
    """Raises ``ValueError`` if one ``host[:port]`` could be meant with http and with https."""
    for index, one in enumerate(patterns):
        for other in patterns[index + 1 :]:
            if one.scheme != other.scheme and one.port == other.port and _overlap(one, other):
                raise ValueError(
                    f"{one} and {other} cover the same host with different schemes: keep one"
                )


def _overlap(one: OriginPattern, other: OriginPattern) -> bool:
    if one.wildcard and other.wildcard:
        longer, shorter = sorted((one.host, other.host), key=len, reverse=True)
        return longer == shorter or longer.endswith("." + shorter)
    if one.wildcard:
        return one.matches_host(other.host, one.port)
    if other.wildcard:
        return other.matches_host(one.host, other.port)
    return one.host == other.host


def canonical_origin(text: str) -> str | None:
    """An origin as a browser would write it, or ``None`` if ``text`` is not an http(s) origin.

    Lower case, without the scheme's own port, without a dot at the host's end: two spellings of one
    origin come out equal. A path of ``/`` is forgiven; user-info, a query or a path is not.
    """
    try:
        parts = urlsplit(text.strip())
        port = parts.port
    except ValueError:
        return None
    scheme, host = parts.scheme.lower(), (parts.hostname or "").rstrip(".")
    if scheme not in DEFAULT_PORTS or not host or "@" in parts.netloc:
        return None
    if parts.path not in ("", "/") or parts.query or parts.fragment:
        return None
    name = f"[{host}]" if ":" in host else host
    return (
        f"{scheme}://{name}"
        if port in (None, DEFAULT_PORTS[scheme])
        else f"{scheme}://{name}:{port}"
    )
