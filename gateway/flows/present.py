"""How kept documents are shown: upstream's bytes on one side, one client's view on the other."""

import hashlib
import logging
from dataclasses import dataclass

from gateway.domain.documents import View, client_prediction
from gateway.domain.finished import Finished
from gateway.domain.plans import Identity
from gateway.domain.urls import UrlMap, origin_of
from gateway.flows.answer import Caller
from gateway.ledger.predictions import Row
from gateway.metrics import Metrics

_log = logging.getLogger(__name__)

JSON = ("content-type", "application/json")


@dataclass(frozen=True, slots=True)
class Shown:
    """A finished prediction in one client's form, ready to be sent."""

    prediction_id: str
    user_id: str
    team: str | None
    settled_at: float
    etag: str
    body: bytes


class Presenter:
    """Writes documents the way one caller reads them."""

    def __init__(self, urls: UrlMap, metrics: Metrics) -> None:
        self._urls = urls
        self._metrics = metrics

    def view(self, row: Row, caller: Caller) -> View:
        """Return what is needed to show this prediction to this caller."""
        return View(
            prediction_id=row.id,
            origin=caller.origin,
            substitutions=row.substitutions,
            webhook=row.webhook,
            webhook_events=row.webhook_events,
            aborted_as=caller.aborted_as,
        )

    def document(self, body: bytes, view: View) -> bytes:
        """Return the document as the client of this view sees it."""
        rewritten = client_prediction(body, self._urls, view)
        if rewritten.dropped_stream is not None:
            # A stream that this gateway may not read would take the caller's key to a host that
            # nobody configured.
            _log.warning(
                "prediction %s: its stream is at %s, which is not among upstream.stream_origins",
                view.prediction_id,
                origin_of(rewritten.dropped_stream),
            )
            self._metrics.streams_dropped.inc()
        return rewritten.body

    def finished(self, kept: Finished, origin: str, aborted_as: str) -> Shown:
        """Return a finished prediction in the form of one origin, with its strong ETag."""
        view = View(
            prediction_id=kept.prediction_id,
            origin=origin,
            substitutions=kept.substitutions,
            webhook=kept.webhook,
            webhook_events=kept.webhook_events,
            aborted_as=aborted_as,
        )
        body = self.document(kept.body, view)
        return Shown(
            prediction_id=kept.prediction_id,
            user_id=kept.user_id,
            team=kept.team,
            settled_at=kept.settled_at,
            etag=f'"{hashlib.sha256(body).hexdigest()[:32]}"',
            body=body,
        )


def finished_of(row: Row, body: bytes) -> Finished:
    """Return what is kept for answering, of a settled prediction."""
    if row.settled_at is None:
        raise ValueError(f"prediction {row.id} is not settled")
    return Finished(
        prediction_id=row.id,
        user_id=row.user_id,
        team=row.team,
        settled_at=row.settled_at,
        body=body,
        substitutions=row.substitutions,
        webhook=row.webhook,
        webhook_events=row.webhook_events,
    )


def may_read(caller: Caller, user_id: str, team: str | None) -> bool:
    """Return whether the caller may see what this user made in this team."""
    return reads(caller.identity, user_id, team)


def reads(identity: Identity, user_id: str, team: str | None) -> bool:
    """Return whether this identity may see what the user made in this team."""
    if identity.user_id == user_id:
        return True
    return identity.share and team is not None and identity.team == team
