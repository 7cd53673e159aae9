"""A finished prediction as it is kept for answering: the document, and what showing it needs.

The document is upstream's, byte for byte. It is shown to clients of several origins, so what is
kept is not an answer but everything that an answer is made of.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Finished:
    """One settled prediction or training."""

    prediction_id: str
    user_id: str
    team: str | None
    settled_at: float
    """When its end was recorded, in seconds since 1970: `Age` counts from here."""
    body: bytes
    """The document in upstream's form."""
    substitutions: Mapping[str, str] = field(default_factory=dict)
    """Upstream value in `input` → what the caller wrote."""
    webhook: str | None = None
    webhook_events: tuple[str, ...] | None = None

    def pack(self) -> bytes:
        """Write it down as one line of JSON about the document, then the document."""
        head = {
            "id": self.prediction_id,
            "user": self.user_id,
            "team": self.team,
            "settled_at": self.settled_at,
            "substitutions": dict(self.substitutions),
            "webhook": self.webhook,
            "webhook_events": self.webhook_events,
        }
        return json.dumps(head, separators=(",", ":")).encode() + b"\n" + self.body


def unpack(packed: bytes) -> Finished | None:
    """Read what :meth:`Finished.pack` wrote; None for anything else, since a cache may rot."""
    line, found, body = packed.partition(b"\n")
    try:
        head = json.loads(line)
        if not found or not isinstance(head, dict):
            return None
        events = head["webhook_events"]
        return Finished(
            prediction_id=str(head["id"]),
            user_id=str(head["user"]),
            team=None if head["team"] is None else str(head["team"]),
            settled_at=float(head["settled_at"]),
            body=body,
            substitutions={str(key): str(value) for key, value in head["substitutions"].items()},
            webhook=None if head["webhook"] is None else str(head["webhook"]),
            webhook_events=None if events is None else tuple(str(event) for event in events),
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
