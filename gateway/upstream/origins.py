"""Whether an address may be asked at all."""

from collections.abc import Sequence
from typing import Final
from urllib.parse import urlsplit

from gateway.domain.origins import OriginPattern, find_pattern

_PORTS: Final = {"http": 80, "https": 443}


def belongs_to(url: str, origins: Sequence[OriginPattern]) -> bool:
    """Return whether this URL names a host of these origins, without user-info."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return False
    if "@" in parts.netloc or "\\" in url or parts.hostname is None:
        return False
    if port == _PORTS.get(parts.scheme):
        port = None
    return find_pattern(origins, parts.hostname, port, parts.scheme) is not None
