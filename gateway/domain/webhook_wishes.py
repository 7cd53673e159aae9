"""What a create says about webhooks: kept here, never sent upstream."""

from collections.abc import Mapping
from dataclasses import dataclass

EVENTS = ("start", "output", "logs", "completed")
DEFAULT_EVENTS = ("output", "completed")
"""What upstream sends to those who name no events."""


@dataclass(frozen=True, slots=True)
class WebhookWish:
    """Where somebody wants to be told, and what; `events` None is the default, and is echoed so."""

    url: str
    events: tuple[str, ...] | None = None

    @property
    def wanted(self) -> tuple[str, ...]:
        """The events to send."""
        return DEFAULT_EVENTS if self.events is None else self.events


class InvalidWish(ValueError):
    """`field` does not say what it should."""

    def __init__(self, field: str, description: str) -> None:
        super().__init__(f"{field}: {description}")
        self.field = field
        self.description = description


def read_webhook_wish(document: Mapping[str, object]) -> WebhookWish | None:
    """Read the webhook members of a create's body; raises InvalidWish.

    The legacy `webhook_completed` means `webhook` with the filter `completed`.
    """
    events = _events(document.get("webhook_events_filter"))
    url = document.get("webhook")
    if url is None or url == "":
        url = document.get("webhook_completed")
        events = ("completed",)
        if url is None or url == "":
            return None
        if not isinstance(url, str):
            raise InvalidWish("webhook_completed", "it must be a URL")
        return WebhookWish(url, events)
    if not isinstance(url, str):
        raise InvalidWish("webhook", "it must be a URL")
    return WebhookWish(url, events)


def _events(value: object) -> tuple[str, ...] | None:
    if value is None:
        return None
    if not isinstance(value, list):
        raise InvalidWish("webhook_events_filter", "it must be a list of events")
    names = []
    for name in value:
        if name not in EVENTS:
            raise InvalidWish("webhook_events_filter", f"events are {', '.join(EVENTS)}")
        names.append(str(name))
    return tuple(dict.fromkeys(names))
