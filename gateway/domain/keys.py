"""The keys that users hold: how they look, and how they are recognised.

A key is ``hk-`` and 43 letters and digits: 37 of randomness (216 bits) and six of a checksum, which
tells a mistyped or cut-off key from an unknown one without asking anybody, and lets scanners for
leaked secrets be sure. Only the digest of a key is ever stored.
"""

import hashlib
import re
import zlib
from collections.abc import Iterator
from typing import Final
from urllib.parse import unquote

KEY_SECRET_BYTES = 27
"""How many random bytes a key is made of."""

_PREFIX = "hk-"
_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_BODY_LENGTH = 37
_CHECK_LENGTH = 6
_KEY = re.compile(rf"hk-[0-9A-Za-z]{{{_BODY_LENGTH + _CHECK_LENGTH}}}", re.ASCII)
_BY_ITSELF = re.compile(rf"(?<![0-9A-Za-z_-]){_KEY.pattern}(?![0-9A-Za-z_-])", re.ASCII)
_MOST_CODINGS: Final = 3
_AUTHORIZATION = re.compile(r"[ \t]*(?:bearer|token)[ \t]+([!-~]{1,256})[ \t]*", re.IGNORECASE)
# Our keys, the upstream's tokens and webhook secrets, whole or cut off.
_SECRETS = re.compile(r"(hk-|r8_|whsec_)[0-9A-Za-z+/=_-]{4,}")


def make_key(secret: bytes) -> str:
    """Make a key of :data:`KEY_SECRET_BYTES` random bytes or more; raises ValueError for fewer."""
    if len(secret) < KEY_SECRET_BYTES:
        raise ValueError(f"a key needs {KEY_SECRET_BYTES} random bytes")
    body = _base62(int.from_bytes(secret[:KEY_SECRET_BYTES]), _BODY_LENGTH)
    return f"{_PREFIX}{body}{_checksum(body)}"


def digest(key: str) -> str:
    """Return what is stored of a key. A fast hash is enough for 216 bits of randomness."""
    return hashlib.sha256(key.encode()).hexdigest()


def hint(key: str) -> str:
    """Return the beginning of a key, by which its owner recognises it in a list."""
    return f"{key[: len(_PREFIX) + 4]}…"


def well_formed(text: str) -> bool:
    """Return whether this can be a key at all: right alphabet, right length, right checksum."""
    if not _KEY.fullmatch(text):
        return False
    body = text[len(_PREFIX) : -_CHECK_LENGTH]
    return _checksum(body) == text[-_CHECK_LENGTH:]


def key_from_authorization(header: str | None) -> str | None:
    """Return the credential of an ``Authorization`` header, None if it carries none that we know.

    Understands ``Bearer`` and ``Token`` (which old clients send) in any case. What comes back need
    not be well formed.
    """
    if header is None:
        return None
    match = _AUTHORIZATION.fullmatch(header)
    return match[1] if match else None


def address_holds_key(text: str) -> bool:
    """Return whether a path, a query or a URL has a key in it, percent-encoded or not.

    A key with a wrong checksum counts where it stands by itself: it is mistyped, and nearly all of
    it is there to be read. In the middle of a longer word it does not: signatures and names of
    files are made of the same characters.
    """
    for _ in range(_MOST_CODINGS):
        if _shows_key(text):
            return True
        if "%" not in text:
            return False
        text = unquote(text)
    return _shows_key(text)


def _shows_key(text: str) -> bool:
    return holds_key(text) or ("hk-" in text and _BY_ITSELF.search(text) is not None)


def holds_key(text: str) -> bool:
    """Return whether a key stands in a text. No other text has the checksum of one."""
    return "hk-" in text and any(well_formed(found[0]) for found in _KEY.finditer(text))


def field_with_key(value: object, name: str = "") -> str | None:
    """Return where in a parsed document a key stands, as in ``input.images.0``; None if nowhere.

    Names of members are looked at too.
    """
    if isinstance(value, str):
        return name if holds_key(value) else None
    for inner_name, inner in _members(value):
        if holds_key(inner_name):
            return name
        found = field_with_key(inner, f"{name}.{inner_name}" if name else inner_name)
        if found is not None:
            return found
    return None


def _members(value: object) -> Iterator[tuple[str, object]]:
    if isinstance(value, dict):
        yield from ((str(name), inner) for name, inner in value.items())
    elif isinstance(value, list):
        yield from ((str(place), inner) for place, inner in enumerate(value))


def mask(text: str) -> str:
    """Return text with every key, token and signing secret in it made unreadable."""
    return _SECRETS.sub(r"\1***", text)


def _checksum(body: str) -> str:
    return _base62(zlib.crc32(f"{_PREFIX}{body}".encode()), _CHECK_LENGTH)


def _base62(number: int, length: int) -> str:
    digits = []
    for _ in range(length):
        number, digit = divmod(number, 62)
        digits.append(_ALPHABET[digit])
    return "".join(reversed(digits))
