"""How a gateway proves that it is this one: whoever shares its ledger can check, nobody else.

A public address leads somewhere; whether it leads here cannot be told from an answer that any
gateway would give. So a question may carry a nonce, and the answer a keyed hash of it.
"""

import hmac
import re
from typing import Final

NONCE_HEADER: Final = "x-gateway-nonce"
PROOF_HEADER: Final = "x-gateway-proof"

_NONCE: Final = re.compile(r"[0-9a-f]{32,64}")


def proof(secret: bytes, nonce: str) -> str | None:
    """Return what answers this nonce; None for one of another shape."""
    if not _NONCE.fullmatch(nonce):
        return None
    return hmac.digest(secret, f"instance\n{nonce}".encode(), "sha256").hex()


def proves(secret: bytes, nonce: str, given: str | None) -> bool:
    """Return whether this answer to the nonce is that of a gateway with this secret."""
    expected = proof(secret, nonce)
    return expected is not None and given is not None and hmac.compare_digest(expected, given)
