"""Speaking to Replicate's API: one call, one answer, and certainty about what happened."""

import asyncio
import re
import ssl
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Final, Protocol

import httpx

from gateway.clock import Clock
from gateway.domain.foreign_json import is_json
from gateway.upstream.allowance import Allowance
from gateway.upstream.answers import (
    Answer,
    StreamedAnswer,
    is_about_the_token,
    passed_on,
    plain_length,
    read_bounded,
    retry_after,
    whole_number,
)
from gateway.upstream.bucket import Correction
from gateway.upstream.connected import Connected
from gateway.upstream.errors import (
    AllowanceExhausted,
    UpstreamBroken,
    UpstreamGarbage,
    UpstreamTimeout,
    UpstreamTokenRefused,
    UpstreamUnreachable,
)
from gateway.upstream.hooks import Hooks
from gateway.upstream.line import Urgency
from gateway.upstream.operations import AnswerKind, Operation
from gateway.upstream.share import Kind
from gateway.upstream.wire import Wire, tls_context

Body = bytes | AsyncIterator[bytes] | None
Pairs = Iterable[tuple[str, str]]

_USER_AGENT: Final = "replicate-gateway"
_LARGEST_ANSWER: Final = 64 * 1024 * 1024
_LARGEST_ERROR: Final = 1024 * 1024
# What a caller may not say for us: who we are, where the request goes, how the connection is used.
_NOT_SENT: Final = frozenset(
    {
        "accept-encoding",
        "authorization",
        "connection",
        "cookie",
        "expect",
        "host",
        "keep-alive",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
# Carried out twice, these do what they do once; aiohttp repeats them on its own when a kept
# connection turns out to be closed. Everything else gets a connection of its own.
_AS_IT_IS: Final = re.compile(rb"[!\"$-~]+")
_REPEATABLE: Final = frozenset({"GET", "HEAD", "DELETE"})


class Turn(Protocol):
    """Follows one request through the line."""

    def taken(self) -> Sequence[tuple[str, str]]:
        """Hear that it is sent now; return headers that depend on how long it has waited."""

    def lost(self) -> None:
        """Hear that upstream turned it away unread (429), and that it waits again."""


class Upstream(Connected):
    """Replicate's API, with the gateway's token and within the account's allowance.

    `base_url` is an origin without a path. All exceptions are gateway.upstream.errors'; where the
    `body` is an iterator, the iterator's own exceptions come through unchanged.

    A create is sent at most once, except after a 429: that one upstream has surely not carried out,
    so it takes its turn again.
    """

    def __init__(
        self,
        *,
        base_url: str,
        token: str,
        connect_timeout_s: float,
        read_timeout_s: float,
        allowance: Allowance,
        clock: Clock,
        hooks: Hooks | None = None,
        max_answer_bytes: int = _LARGEST_ANSWER,
        context: ssl.SSLContext | None = None,
    ) -> None:
        self._base_url = base_url.rstrip("/")
        self._token = token
        self._read_timeout_s = read_timeout_s
        self._allowance = allowance
        self._clock = clock
        self._hooks = hooks or Hooks()
        self._max_answer_bytes = max_answer_bytes
        tls = context or tls_context()
        self._kept = Wire(context=tls, connect_timeout_s=connect_timeout_s)
        # A fresh connection costs a create a handshake. A kept one could be closed under it, and
        # then the user waits minutes to learn whether it ran. At ten creates a second the handshake
        # is the better bargain.
        self._fresh = Wire(context=tls, connect_timeout_s=connect_timeout_s, reuse=False)
        super().__init__(self._kept, self._fresh)

    async def call(
        self,
        operation: Operation,
        path: str,
        *,
        query: bytes = b"",
        headers: Pairs = (),
        body: Body = None,
        urgency: Urgency = Urgency.READ,
        user: str | None = None,
        read_timeout_s: float | None = None,
        max_wait_s: float | None = None,
        turn: Turn | None = None,
    ) -> Answer:
        """Send one request and return the whole answer, whatever its status says.

        `path` begins with ``/v1/``, `query` comes without ``?`` and is sent as it is, `user` is
        whose turn it costs, `max_wait_s` how long it may stand in line (by default as long as a
        create), `read_timeout_s` the longest silence. A successful answer to a JSON operation is
        checked to be JSON. Raises UpstreamError's subclasses.
        """
        silence_s = read_timeout_s or self._read_timeout_s
        async with self.open(
            operation,
            path,
            query=query,
            headers=headers,
            body=body,
            urgency=urgency,
            user=user,
            read_timeout_s=silence_s,
            max_wait_s=max_wait_s,
            turn=turn,
        ) as answer:
            try:
                # A body that drips is not silence; but it must come to an end.
                async with asyncio.timeout(2 * silence_s):
                    whole = await answer.read(self._max_answer_bytes)
            except TimeoutError:
                raise UpstreamTimeout("the answer did not end in time", sent=True) from None
        if operation.answer.is_json and answer.status < 300 and not is_json(whole):
            raise UpstreamGarbage(answer.status, "not JSON")
        return Answer(answer.status, answer.headers, whole)

    @asynccontextmanager
    async def open(
        self,
        operation: Operation,
        path: str,
        *,
        query: bytes = b"",
        headers: Pairs = (),
        body: Body = None,
        urgency: Urgency = Urgency.READ,
        user: str | None = None,
        read_timeout_s: float | None = None,
        max_wait_s: float | None = None,
        turn: Turn | None = None,
        signed: bool = False,
    ) -> AsyncIterator[StreamedAnswer]:
        """Send one request; the answer's body is read from what this yields, as it arrives.

        As `call` otherwise, except that a successful answer is not checked to be JSON. With
        `signed` the query itself is the permission: the token stays here, and an error is about it.
        """
        request = self._request(operation, path, query, headers, body, read_timeout_s)
        if signed:
            del request.headers["authorization"]
        response = await self._in_turn(
            operation,
            request,
            urgency,
            user,
            self._allowance.max_queue_s if max_wait_s is None else max_wait_s,
            turn,
        )
        try:
            passed, length = passed_on(response), plain_length(response)
            if response.status_code < 300 or response.status_code == 304:
                yield StreamedAnswer(response.status_code, passed, length, response)
            else:
                error = await read_bounded(response, _LARGEST_ERROR)
                if not signed:
                    self._check_error(operation, response.status_code, error)
                yield StreamedAnswer(response.status_code, passed, len(error), response, error)
        finally:
            await response.aclose()

    def _request(
        self,
        operation: Operation,
        path: str,
        query: bytes,
        headers: Pairs,
        body: Body,
        read_timeout_s: float | None,
    ) -> httpx.Request:
        if not path.startswith("/v1/"):
            raise ValueError("a path of the API begins with /v1/")
        sent = [
            (name, value)
            for key, value in headers
            if (name := key.lower()) not in _NOT_SENT
            and not (name == "content-length" and isinstance(body, bytes | None))
        ]
        names = {name for name, _ in sent}
        if "user-agent" not in names:
            sent.append(("user-agent", _USER_AGENT))
        if "accept" not in names:
            sent.append(("accept", "*/*"))
        coding = "identity" if operation.answer is AnswerKind.BINARY else "gzip"
        sent += [("accept-encoding", coding), ("authorization", f"Bearer {self._token}")]
        question = "?" + query.decode("latin-1") if query else ""
        request = httpx.Request(
            operation.method,
            self._base_url + path + question,
            headers=sent,
            content=body,
            extensions={"timeout": {"read": read_timeout_s or self._read_timeout_s}},
        )
        if _AS_IT_IS.fullmatch(query):
            # httpx would quote some of it; what can stand in a request line goes as it was sent.
            request.extensions["target"] = str(request.url).partition("?")[0] + question
        return request

    async def _in_turn(
        self,
        operation: Operation,
        request: httpx.Request,
        urgency: Urgency,
        user: str | None,
        max_wait_s: float,
        turn: Turn | None,
    ) -> httpx.Response:
        kind = Kind.CREATE if operation.creates else Kind.REQUEST
        deadline = self._clock.now() + max_wait_s
        again = False
        late: dict[str, str] = {}
        while True:
            await self._allowance.admit(kind, urgency, user, deadline=deadline, again=again)
            if turn is not None:
                for name in late:
                    request.headers.pop(name, None)
                late = dict(turn.taken())
                request.headers.update(late)
            response = await self._once(operation, request)
            remaining = whole_number(response.headers.get("ratelimit-remaining"))
            if response.status_code != 429:
                try:
                    if remaining is not None:
                        await self._allowance.note(kind, Correction(remaining))
                except BaseException:  # cancelled: nobody will close it otherwise
                    await response.aclose()
                    raise
                return response
            if turn is not None:
                turn.lost()
            wait_s = await self._throttled(response)
            await self._allowance.note(kind, Correction(remaining, wait_s))
            if not _can_be_sent_again(request):
                raise AllowanceExhausted(max(1, round(wait_s + 0.499)))
            again = True

    async def _once(self, operation: Operation, request: httpx.Request) -> httpx.Response:
        wire = self._kept if operation.method in _REPEATABLE else self._fresh
        began = self._clock.monotonic()
        status = "cancelled"
        try:
            response = await wire.handle_async_request(request)
            status = str(response.status_code)
        except UpstreamUnreachable:
            status = "unreachable"
            raise
        except UpstreamBroken:
            status = "broken"
            raise
        except UpstreamTimeout:
            status = "timeout"
            raise
        finally:
            self._hooks.on_request(operation.name, status, self._clock.monotonic() - began)
        return response

    @staticmethod
    async def _throttled(response: httpx.Response) -> float:
        try:
            # Whatever becomes of its body: a 429 was said, so nothing was carried out.
            body = await read_bounded(response, _LARGEST_ERROR)
        except (UpstreamBroken, UpstreamTimeout, UpstreamGarbage):
            body = b""
        finally:
            await response.aclose()
        return retry_after(response, body)

    def _check_error(self, operation: Operation, status: int, body: bytes) -> None:
        if status == 401 or (status == 403 and is_about_the_token(body)):
            self._hooks.on_token_refused(status)
            raise UpstreamTokenRefused(status)
        json_is_due = operation.answer.is_json or status >= 500
        # An error may say nothing at all; from a 5xx that is no word of the API's.
        silent = not body and 400 <= status < 500
        if json_is_due and not silent and not is_json(body):
            raise UpstreamGarbage(status, "not JSON")


def _can_be_sent_again(request: httpx.Request) -> bool:
    try:
        return request.content is not None
    except httpx.RequestNotRead:
        return False
