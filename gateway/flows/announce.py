"""What a new document means for a prediction's webhook: the events to queue with it.

The body is the document that a GET would give that user: at the origin that served the create, with
what was written in `input` and the webhook itself put back, and `aborted` as it is.
"""

from collections.abc import Callable
from dataclasses import dataclass

from gateway.clock import Clock
from gateway.domain import webhook_news
from gateway.domain.documents import View
from gateway.domain.webhook_wishes import WebhookWish
from gateway.flows.present import Presenter
from gateway.ledger.creates import CreateRow, Reservation
from gateway.ledger.outbox import OutboxEvent, Tell, Told
from gateway.ledger.predictions import Row


@dataclass(frozen=True, slots=True)
class _About:
    view: View
    url: str
    events: tuple[str, ...] | None
    user_id: str
    team: str | None


class Announce:
    """Makes events for webhooks, where somebody named one."""

    def __init__(self, presenter: Presenter, clock: Clock, queued: Callable[[], None]) -> None:
        self._presenter = presenter
        self._clock = clock
        self.queued = queued
        """Called by whoever has committed events: somebody may deliver them now."""

    def of_row(self, row: Row, body: bytes, *, ended: bool) -> Tell | None:
        """Return how `body` is told to the prediction's webhook; None without one."""
        if row.webhook is None or row.removed_at is not None:
            return None
        view = View(
            prediction_id=row.id,
            origin=row.origin,
            substitutions=row.substitutions,
            webhook=row.webhook,
            webhook_events=row.webhook_events,
        )
        about = _About(view, row.webhook, row.webhook_events, row.user_id, row.team)
        return self._tell(about, body, ended=ended)

    def of_create(
        self, create: Reservation | CreateRow, prediction_id: str, body: bytes
    ) -> Tell | None:
        """Return how the first document of a prediction is told; None without a webhook."""
        if create.webhook is None:
            return None
        view = View(
            prediction_id=prediction_id,
            origin=create.origin,
            substitutions=create.substitutions,
            webhook=create.webhook,
            webhook_events=create.webhook_events,
        )
        about = _About(view, create.webhook, create.webhook_events, create.user_id, create.team)
        return self._tell(about, body, ended=False)

    def _tell(self, about: _About, body: bytes, *, ended: bool) -> Tell:
        scene = webhook_news.scene_of(body, ended=ended)
        wanted = WebhookWish(about.url, about.events).wanted
        now = self._clock.now()
        shown = self._presenter.document(body, about.view)
        # The transaction may run more than once: the same names each time.
        names = [f"msg_{self._clock.new_id()}" for _ in wanted]

        def tell(announced: str | None) -> Told:
            said, events = webhook_news.news(webhook_news.read(announced), scene, wanted, now)
            return Told(
                webhook_news.write(said),
                tuple(
                    OutboxEvent(
                        id=name,
                        event=event,
                        url=about.url,
                        body=shown,
                        user_id=about.user_id,
                        team=about.team,
                        prediction_id=about.view.prediction_id,
                        once=f"{about.view.prediction_id}:completed"
                        if event == "completed"
                        else None,
                    )
                    for name, event in zip(names, events, strict=False)
                ),
            )

        return tell
