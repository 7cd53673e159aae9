"""The shortest way: a finished prediction that is in memory, before middleware and router.

Clients poll; most of what a gateway is asked is what it has answered before. Such a question is
recognised here by its first bytes and answered without waiting for anything. It is an abbreviation
and nothing else: the answer, its headers, what is counted and what is logged are those of the
ordinary way, and whatever is not plain goes there, refusals first of all.
"""

from starlette.types import ASGIApp, Receive, Scope, Send

from gateway import log
from gateway.clock import Clock
from gateway.domain.compat import aborted_as
from gateway.domain.plans import Identity
from gateway.flows.count_requests import READS_OF_ONES_OWN, CountRequests
from gateway.flows.present import Shown
from gateway.flows.read_prediction import ReadPrediction
from gateway.upstream.operations import OPERATIONS
from gateway.web.access_log import Note, Observe
from gateway.web.answers import wire_headers
from gateway.web.api import PREFIX
from gateway.web.identity import KeyRing
from gateway.web.middleware import OUTSIDE_DASHBOARD, Gate, RequestNames
from gateway.web.origin import Origins
from gateway.web.problem_response import ProblemError
from gateway.web.request_facts import Facts, authorization

_PATH = b"/replicate/v1/predictions/"
_ROUTE = PREFIX + OPERATIONS["predictions.get"].template
_CACHE_RESULT = "hit"


class Front:
    """Answers for finished predictions in memory; leads everything else to the application."""

    def __init__(
        self,
        app: ASGIApp,
        read: ReadPrediction,
        count: CountRequests,
        keys: KeyRing,
        origins: Origins,
        clock: Clock,
        gate: Gate,
        *,
        observe: Observe,
        aborted_setting: str,
    ) -> None:
        self._app = app
        self._read = read
        self._count = count
        self._keys = keys
        self._origins = origins
        self._clock = clock
        self._gate = gate
        self._note = Note(clock, observe)
        self._name = RequestNames(clock)
        self._aborted_setting = aborted_setting

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] == "http" and scope["method"] == "GET":
            path: bytes = scope.get("raw_path") or b""
            if path.startswith(_PATH) and await self._answered(scope, path[len(_PATH) :], send):
                return
        await self._app(scope, receive, send)

    async def _answered(self, scope: Scope, name: bytes, send: Send) -> bool:
        """Answer if everything for it is at hand; returns whether."""
        started_at = self._clock.monotonic()
        gate = self._gate
        if not name.isalnum() or gate.draining or gate.in_flight >= gate.max_in_flight:
            return False
        headers: dict[bytes, bytes] = {}
        for field, value in scope["headers"]:
            headers.setdefault(field, value)  # the first one counts, as on the ordinary way
        found = self._at_hand(scope, headers, name.decode("ascii"))
        if found is None:
            return False
        identity, shown = found
        if not self._count.admit_now(identity, spared=READS_OF_ONES_OWN):
            return False
        answer = self._read.answer_at_hand(shown, _text(headers.get(b"if-none-match")))

        request_id = self._name(_text(headers.get(b"x-request-id")))
        log.bind_request(request_id)
        log.bind_user(identity.user_name)
        client = scope.get("client")
        seen = Facts(
            request_id,
            "GET",
            started_at,
            client[0] if client else "",
            route=_ROUTE,
            user=identity.user_name,
            cache_result=_CACHE_RESULT,
            status=answer.status,
        )
        wire = wire_headers(answer)
        wire += (*OUTSIDE_DASHBOARD, (b"x-request-id", request_id.encode()))
        try:
            await send({"type": "http.response.start", "status": answer.status, "headers": wire})
            await send({"type": "http.response.body", "body": answer.body})
            seen.bytes_sent, seen.finished = len(answer.body), True
        finally:
            self._note(scope, seen)
        return True

    def _at_hand(
        self, scope: Scope, headers: dict[bytes, bytes], prediction_id: str
    ) -> tuple[Identity, Shown] | None:
        identity = self._keys.identify_now(authorization(scope))
        if not isinstance(identity, Identity):
            return None
        try:
            origin = self._origins.of(scope)
        except ProblemError:
            return None  # the ordinary way says what is wrong with it
        reader = aborted_as(self._aborted_setting, _text(headers.get(b"user-agent")))
        shown = self._read.at_hand(identity, prediction_id, origin, reader)
        return None if shown is None else (identity, shown)


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode("latin-1")
