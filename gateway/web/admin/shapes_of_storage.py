"""What webhooks, the mirror, the cache and retention look like in the administration."""

from typing import Literal

from pydantic import Field

from gateway.web.endpoints import Shape
from gateway.web.shapes import Named, PageCursor, Size


class WebhookShape(Shape):
    """An event on its way to a webhook."""

    id: str
    event: str
    host: str = Field(description="Where it goes: the rest of the address may be a secret.")
    state: Literal["pending", "delivered", "dead"]
    prediction_id: str | None
    team: str | None
    user_id: str | None
    attempts: int
    created_at: str
    next_attempt_at: str | None
    delivered_at: str | None
    last_status: int | None
    last_error: str | None


class WebhookPage(Shape):
    """A page of events, newest first."""

    next: str | None
    results: list[WebhookShape]


class WebhookQuery(Shape):
    """Which events."""

    state: Literal["pending", "delivered", "dead"] | None = None
    user: Named | None = None
    limit: Size = 100
    cursor: PageCursor | None = None


class Retried(Shape):
    """How many dead letters are tried again."""

    retried: int


class MirrorShape(Shape):
    """What is kept of output files."""

    files: dict[str, int] = Field(description="How many are wanted, stored, passed, gone.")
    stored_bytes: int
    max_bytes: int


class FaultShape(Shape):
    """A file that is not as it was stored."""

    key: str
    url: str | None
    fault: str


class Verification(Shape):
    """What comparing files, ledger and digests found."""

    checked: int
    faults: list[FaultShape]


class VerifyQuery(Shape):
    """How the mirror is verified."""

    repair: bool = Field(False, description="Delete what is damaged; fetch it again.")


class CacheShape(Shape):
    """What is cached on this machine's disk."""

    entries: int
    bytes: int
    max_bytes: int


class Cleared(Shape):
    """How many copies were dropped."""

    cleared: int


class PrunedShape(Shape):
    """What retention removed, by kind."""

    removed: dict[str, int]
