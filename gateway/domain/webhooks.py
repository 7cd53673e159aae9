"""Signatures of webhooks, by the Standard Webhooks scheme that Replicate uses.

The signature is the base64 of an HMAC-SHA256 over ``id.timestamp.body``, keyed with the bytes that
the secret's base64 part stands for. The official clients split a secret at ``_`` into exactly two
parts and want standard base64, whose alphabet has no underscore.
"""

import base64
import binascii
import hashlib
import hmac

SECRET_BYTES = 32
"""How many random bytes a signing secret is made of."""

TOLERANCE_S = 300
"""How old or early a signed message may be when it is checked."""

_PREFIX = "whsec_"
_FEWEST_BYTES = 24


def new_secret(random: bytes) -> str:
    """Make a signing secret of random bytes; raises ValueError for fewer than 24."""
    if len(random) < _FEWEST_BYTES:
        raise ValueError(f"a signing secret needs {_FEWEST_BYTES} random bytes")
    return _PREFIX + base64.b64encode(random).decode()


def sign(secret: str, message_id: str, timestamp: int, body: bytes) -> str:
    """Return the value of ``webhook-signature``: ``v1,`` and base64.

    Raises ValueError if the secret is not ``whsec_`` and standard base64.
    """
    signed = f"{message_id}.{timestamp}.".encode() + body
    mac = hmac.new(_key(secret), signed, hashlib.sha256).digest()
    return "v1," + base64.b64encode(mac).decode()


def headers(secret: str, message_id: str, timestamp: int, body: bytes) -> list[tuple[str, str]]:
    """Return the three headers of a delivery. The id is the same on every attempt."""
    return [
        ("webhook-id", message_id),
        ("webhook-timestamp", str(timestamp)),
        ("webhook-signature", sign(secret, message_id, timestamp, body)),
    ]


def verify(
    secret: str, message_id: str, timestamp: str, signatures: str, body: bytes, now: float
) -> bool:
    """Return whether one of the space-separated signatures is right and the message is fresh."""
    if not (timestamp.isascii() and timestamp.isdigit() and len(timestamp) <= 12):
        return False
    if abs(now - int(timestamp)) > TOLERANCE_S:
        return False
    expected = sign(secret, message_id, int(timestamp), body).encode()
    return any(hmac.compare_digest(expected, given.encode()) for given in signatures.split())


def _key(secret: str) -> bytes:
    if not secret.startswith(_PREFIX):
        raise ValueError("a signing secret begins with whsec_")
    try:
        return base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
    except binascii.Error as error:
        raise ValueError("a signing secret ends in standard base64") from error
