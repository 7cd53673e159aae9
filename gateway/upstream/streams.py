"""Reading server-sent events from upstream: from the configured stream origins only.

A stream's URL works by itself (official clients read it without any `Authorization`), so the token
never goes there.
"""

import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Final

import httpx

from gateway.domain.origins import OriginPattern
from gateway.upstream.answers import StreamedAnswer, passed_on
from gateway.upstream.connected import Connected
from gateway.upstream.errors import StreamRefused
from gateway.upstream.origins import belongs_to
from gateway.upstream.wire import Wire, tls_context

# A cold model says nothing for minutes; heartbeats are comments and need not come.
_SILENCE_S: Final = 900.0


class Streams(Connected):
    """Opens streams of events; raises StreamRefused and the errors of a broken connection."""

    def __init__(
        self,
        origins: Sequence[OriginPattern],
        *,
        connect_timeout_s: float,
        silence_s: float = _SILENCE_S,
        context: ssl.SSLContext | None = None,
    ) -> None:
        self._origins = tuple(origins)
        self._silence_s = silence_s
        self._wire = Wire(
            context=context or tls_context(), connect_timeout_s=connect_timeout_s, reuse=False
        )
        super().__init__(self._wire)

    @asynccontextmanager
    async def open_stream(
        self, url: str, last_event_id: str | None = None
    ) -> AsyncIterator[StreamedAnswer]:
        """Yield the stream, from behind the event `last_event_id` if one is named.

        Its `chunks` are bytes as they arrive, cut anywhere. Raises StreamRefused with upstream's
        status (403 for an address outside the configured origins, which nobody is asked; 415 for an
        answer that is no stream of events), UpstreamUnreachable, UpstreamTimeout, UpstreamBroken.
        """
        if not belongs_to(url, self._origins):
            raise StreamRefused(403, "not an address of a configured stream origin")
        headers = [
            ("accept", "text/event-stream"),
            ("accept-encoding", "identity"),
            ("cache-control", "no-store"),
        ]
        if last_event_id is not None:
            headers.append(("last-event-id", last_event_id))
        response = await self._wire.handle_async_request(
            httpx.Request(
                "GET", url, headers=headers, extensions={"timeout": {"read": self._silence_s}}
            )
        )
        try:
            if response.status_code != 200:
                raise StreamRefused(response.status_code)
            kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
            if kind != "text/event-stream":
                raise StreamRefused(415, "upstream's answer is not a stream of events")
            yield StreamedAnswer(200, passed_on(response), None, response)
        finally:
            await response.aclose()
