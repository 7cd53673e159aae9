"""What the three public origins have in common: log, break on purpose, answer."""

import asyncio
import hashlib
from typing import Protocol

from gateway.simulator.breaking import break_off, early_reply, late_reply
from gateway.simulator.creation import Refused
from gateway.simulator.faults import Fault, FaultKind
from gateway.simulator.fetching import INTERNAL_HEADER
from gateway.simulator.log import KEEP_BODY_BYTES, LoggedRequest
from gateway.simulator.wire import (
    BodyTooLarge,
    BrokenOff,
    ClientGone,
    Message,
    Receive,
    Reply,
    Request,
    Scope,
    Send,
    gone,
    problem,
    send_reply,
    transport_of,
)
from gateway.simulator.world import World

MAX_BODY_BYTES = 64 * 1024 * 1024


class Answers(Protocol):
    """What makes one origin different from another."""

    name: str

    def operation(self, request: Request) -> str:
        """Return what a request is for, as faults and the log name it; sets its parameters."""

    def reads_body(self, entry: LoggedRequest) -> bool:
        """Return whether the answer reads the request's body by itself."""

    async def answer(self, request: Request, entry: LoggedRequest, fault: Fault | None) -> Reply:
        """Answer a request. Raises Refused, ClientGone."""

    def finish(self, request: Request, reply: Reply) -> None:
        """Add what every answer of this origin carries."""


class Origin:
    """An ASGI application around one origin's answers."""

    def __init__(self, world: World, answers: Answers) -> None:
        self._world = world
        self._answers = answers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            return
        request = Request(scope, receive)
        entry = LoggedRequest(
            at=self._world.now(),
            origin=self._answers.name,
            method=request.method,
            path=request.path,
            query=request.raw_query,
            headers=request.headers,
            operation=self._answers.operation(request),
            internal=request.header(INTERNAL_HEADER) is not None,
        )
        self._world.log.add(entry)

        async def counting_send(message: Message) -> None:
            if message["type"] == "http.response.start":
                entry.status = message["status"]
            else:
                entry.sent_bytes += len(message.get("body", b""))
            await send(message)

        try:
            await self._serve(scope, request, entry, counting_send)
        except ClientGone:
            entry.status = 0 if entry.status is None else entry.status
        except asyncio.CancelledError:
            # The origin is being taken down, and the task ends here anyway.
            entry.status = entry.status or 0
        except BrokenOff:
            transport_of(scope).close()
            await gone(receive)

    async def _serve(
        self, scope: Scope, request: Request, entry: LoggedRequest, send: Send
    ) -> None:
        too_large = await self._read_body(request, entry)
        fault = self._take_fault(request, entry)
        reply = too_large or await early_reply(fault, self._world, scope, request)
        if reply is None:
            try:
                reply = await self._answers.answer(request, entry, fault)
            except Refused as refused:
                reply = refused.reply
            reply = await late_reply(fault, scope, request, reply)
        self._answers.finish(request, reply)
        if fault is not None and fault.kind in (
            FaultKind.TRUNCATE,
            FaultKind.RESET_MIDWAY,
            FaultKind.WRONG_LENGTH,
        ):
            await break_off(fault, scope, request, reply, send)
            return
        await send_reply(reply, send, head=request.method == "HEAD")

    async def _read_body(self, request: Request, entry: LoggedRequest) -> Reply | None:
        if self._answers.reads_body(entry):
            self._listen_in(request, entry)
            return None
        try:
            await request.read(MAX_BODY_BYTES)
        except BodyTooLarge:
            await request.drain(4 * MAX_BODY_BYTES)
            return problem(413, "The request body is too large")
        if request.body:
            self._world.log.keep_body(entry, request.body)
        return None

    def _listen_in(self, request: Request, entry: LoggedRequest) -> None:
        """Log a body that is read elsewhere: its beginning, its length and its digest."""
        digest, head, size, noted = hashlib.sha256(), bytearray(), 0, False
        receive = request.receive

        async def listening() -> Message:
            nonlocal size, noted
            message = await receive()
            if message["type"] == "http.request" and not noted:
                piece: bytes = message.get("body", b"")
                digest.update(piece)
                head.extend(piece[: max(0, KEEP_BODY_BYTES - len(head))])
                size += len(piece)
                if not message.get("more_body", False):
                    noted = True
                    self._world.log.keep_body(entry, bytes(head), size, digest.hexdigest())
            return message

        request.receive = listening

    def _take_fault(self, request: Request, entry: LoggedRequest) -> Fault | None:
        if entry.internal:
            return None
        fault = self._world.faults.take(
            entry.origin, entry.method, entry.path, entry.operation, request.body
        )
        if fault is not None:
            entry.fault = str(fault.kind)
        return fault
