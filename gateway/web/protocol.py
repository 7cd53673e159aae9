"""The server's protocol, with two manners more: errors in the gateway's shape, bounded heads.

What is no HTTP never reaches the application, so the server answers it itself: in its own words,
which no client of the official API can read. And its parser takes a head of any size: whoever sends
one that never ends would be listened to until memory is full.
"""

import itertools
from http import HTTPStatus

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from gateway.domain import http_problems
from gateway.domain.problems import CONTENT_TYPE

MAX_HEAD_BYTES = 64 * 1024
"""Request line and headers together: twice what the largest of other servers take."""

_NO_HTTP = http_problems.not_http()
_HEAD_TOO_LARGE = http_problems.head_too_large(MAX_HEAD_BYTES)

_count = itertools.count(1)


class Protocol(HttpToolsProtocol):
    """One connection; give it to the server as its `http`."""

    _head_bytes = 0
    _in_body = False
    _too_large = False

    def data_received(self, data: bytes) -> None:
        """Take in what arrived; ends the connection when it is no HTTP, or a head without end."""
        if not self._in_body:
            self._head_bytes += len(data)
        super().data_received(data)
        # What ended a message in the middle of `data` set the count back; what follows it is
        # counted with the next piece, early enough.
        if self._head_bytes > MAX_HEAD_BYTES and not self.transport.is_closing():
            self._too_large = True
            self.send_400_response("")

    def on_headers_complete(self) -> None:
        """Hand the request to the application, unless its head is too large."""
        self._head_bytes = 0
        size = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
        if size > MAX_HEAD_BYTES:
            self._too_large = True
            raise ValueError("head too large")  # the parser gives up, and the answer is below
        self._in_body = True
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Note that a head comes next."""
        self._in_body = False
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """Answer in the gateway's shape, and close the connection."""
        problem = _HEAD_TOO_LARGE if self._too_large else _NO_HTTP
        body = problem.body()
        lines = [
            f"HTTP/1.1 {problem.status} {HTTPStatus(problem.status).phrase}",
            f"content-type: {CONTENT_TYPE}",
            f"content-length: {len(body)}",
            "x-content-type-options: nosniff",
            "content-security-policy: sandbox",
            "x-should-retry: false",
            f"x-request-id: unread-{next(_count)}",
            "connection: close",
            "\r\n",
        ]
        cycle: RequestResponseCycle | None = self.cycle
        if cycle is None or cycle.response_complete or not cycle.response_started:
            self.transport.write("\r\n".join(lines).encode("ascii") + body)
        # Else a response is under way, and bytes in its middle would be taken for a part of it.
        self.transport.close()
