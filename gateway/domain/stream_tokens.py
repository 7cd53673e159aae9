"""The opaque last part of a stream's address on the client's side.

``T'`` is ``{prediction id}-{code}``: the id finds the prediction, the code (160 bits of a keyed
hash) proves that this gateway made the address for somebody who may read that prediction. No table
is needed, and the upstream stream's own secret is not in it. The code covers the stream's kind, not
its upstream address, so that an address stays good when upstream names a new one for that stream.
"""

import hmac
import re
from typing import Final

STREAM_KINDS: Final = ("streams", "files", "predictions")
"""What upstream's stream paths begin with; clients tell files from text by it."""

_KIND: Final = re.compile(r"https?://[^/?#]*/v1/(streams|files|predictions)/")
_TOKEN: Final = re.compile(r"(?P<id>[A-Za-z0-9_-]{1,128})-(?P<code>[0-9a-f]{40})")


def stream_kind(url: str) -> str:
    """The kind that an upstream stream's path has; ``streams`` for a path that is new to us."""
    match = _KIND.match(url)
    return "streams" if match is None else match[1]


class StreamTokens:
    """Makes and checks stream tokens with one secret, which all workers and machines share."""

    def __init__(self, secret: bytes) -> None:
        if len(secret) < 16:
            raise ValueError("the secret of stream tokens needs at least 16 bytes")
        self._secret = secret

    def seal(self, prediction_id: str, url: str) -> str:
        """The token for a prediction's stream, whose address upstream gave as ``url``."""
        return f"{prediction_id}-{self._code(stream_kind(url), prediction_id)}"

    def open(self, token: str) -> str | None:
        """The prediction that a token names, unproven; ``None`` if it is not shaped like one."""
        match = _TOKEN.fullmatch(token)
        return None if match is None else match["id"]

    def verify(self, token: str, prediction_id: str, url: str) -> bool:
        """Whether this gateway made the token for this prediction's stream; in constant time."""
        return self._verify(token, prediction_id, stream_kind(url))

    def read(self, kind: str, token: str) -> str | None:
        """The prediction of ``/v1/{kind}/{token}``, proven; ``None`` for every other token.

        Needs no look-up, so that guesses cost nothing but a hash.
        """
        prediction_id = self.open(token)
        if prediction_id is None or not self._verify(token, prediction_id, kind):
            return None
        return prediction_id

    def _verify(self, token: str, prediction_id: str, kind: str) -> bool:
        expected = f"{prediction_id}-{self._code(kind, prediction_id)}"
        return hmac.compare_digest(token.encode(), expected.encode())

    def _code(self, kind: str, prediction_id: str) -> str:
        text = f"stream\n{kind}\n{prediction_id}".encode()
        return hmac.digest(self._secret, text, "sha256")[:20].hex()
