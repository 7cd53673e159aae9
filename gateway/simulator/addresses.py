"""Addresses of the simulated origins: what they are made of and how they are recognised.

Names that must not be guessed carry the prediction's id and a seal made with a secret of this
simulation, so that nothing needs to be remembered for them.
"""

import base64
import hashlib
import hmac
from dataclasses import dataclass
from urllib.parse import quote

ID_CHARS = 26


@dataclass(slots=True)
class Addresses:
    """The four origins (without a trailing slash) and the secret of the seals."""

    secret: bytes
    api: str = ""
    delivery: str = ""
    streams: str = ""
    control: str = ""

    def _seal(self, purpose: str, subject: str) -> str:
        text = f"{purpose}/{subject}".encode()
        return hashlib.blake2b(text, digest_size=ID_CHARS // 2, key=self.secret).hexdigest()

    def v1(self, path: str) -> str:
        """Return an address of the API."""
        return f"{self.api}/v1{path}"

    def output(self, prediction_id: str, name: str) -> str:
        """Return the address of an output file."""
        seal = self._seal("output", prediction_id)
        return f"{self.delivery}/xezq/{prediction_id}{seal}/{quote(name)}"

    def read_output(self, path: str) -> tuple[str, str] | None:
        """Return prediction and file name of an output file's path, if it is a real one."""
        parts = path.split("/", 3)
        if len(parts) != 4 or parts[1] != "xezq":
            return None
        prediction_id, seal = parts[2][:ID_CHARS], parts[2][ID_CHARS:]
        if not hmac.compare_digest(seal.encode(), self._seal("output", prediction_id).encode()):
            return None
        return prediction_id, parts[3]

    def stream(self, prediction_id: str, kind: str) -> str:
        """Return the address of a prediction's events; `kind` is `files` or `streams`."""
        token = f"bcwr-{prediction_id}{self._seal(kind, prediction_id)}"
        return f"{self.streams}/v1/{kind}/{token}"

    def read_stream(self, path: str) -> str | None:
        """Return the prediction of a stream's path, if it is a real one."""
        parts = path.split("/")
        if len(parts) != 4 or parts[1] != "v1" or parts[2] not in ("files", "streams"):
            return None
        token = parts[3].removeprefix("bcwr-")
        prediction_id, seal = token[:ID_CHARS], token[ID_CHARS:]
        real = self._seal(parts[2], prediction_id)
        return prediction_id if hmac.compare_digest(seal.encode(), real.encode()) else None

    def signature(self, owner: str, file_id: str, expiry: int) -> str:
        """Return what a file's signed download carries."""
        message = f"{owner} {file_id} {expiry}".encode()
        return base64.b64encode(hmac.new(self.secret, message, hashlib.sha256).digest()).decode()
