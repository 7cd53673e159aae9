"""How the faults are carried out."""

from collections.abc import AsyncIterator

from gateway.simulator.faults import Fault, FaultKind
from gateway.simulator.prediction_routes import no_credit
from gateway.simulator.waiting import first_of
from gateway.simulator.wire import (
    ClientGone,
    Reply,
    Request,
    Scope,
    Send,
    gone,
    problem,
    reset,
    transport_of,
)
from gateway.simulator.world import World

_PROXY_PAGE = (
    b"<html>\r\n<head><title>%d</title></head>\r\n<body>\r\n"
    b"<center><h1>%d</h1></center>\r\n<hr><center>cloudflare</center>\r\n</body>\r\n</html>\r\n"
)
_JUNK_BYTES = 16
_CUT_BYTES = 1000


def throttled(reset_s: int, retry_after_s: int) -> Reply:
    """Return the error for too many requests."""
    reply = problem(
        429,
        f"Request was throttled. Your rate limit resets in ~{reset_s}s.",
        extra={"retry_after": retry_after_s},
    )
    return reply.set("retry-after", str(retry_after_s))


def unauthenticated() -> Reply:
    """Return the error for a missing or wrong token."""
    return problem(401, "You did not pass a valid authentication token", "Unauthenticated")


def _page(status: int) -> Reply:
    return Reply(status, _PROXY_PAGE % (status, status), [("content-type", "text/html")])


async def early_reply(
    fault: Fault | None, world: World, scope: Scope, request: Request
) -> Reply | None:
    """Carry out what happens instead of (or before) the work; None lets the work be done.

    Raises ClientGone where nobody is left to be answered.
    """
    if fault is None:
        return None
    match FaultKind(fault.kind):
        case FaultKind.SLOW:
            await _pause(fault, world, request)
            return None
        case FaultKind.HANG:
            await gone(request.receive)
            raise ClientGone
        case FaultKind.RESET_BEFORE:
            await reset(scope, request.receive)
            raise ClientGone
        case _:
            return _instead(fault)


def _instead(fault: Fault) -> Reply | None:
    match FaultKind(fault.kind):
        case FaultKind.SERVER_ERROR:
            status = fault.status or 500
            return problem(status, "Internal server error", "Internal Server Error", newline=True)
        case FaultKind.BARE_ERROR:
            return _page(fault.status or 502)
        case FaultKind.THROTTLE:
            return throttled(30, fault.retry_after)
        case FaultKind.GARBAGE:
            return _page(fault.status or 200)
        case FaultKind.TOKEN_REFUSED:
            return unauthenticated()
        case FaultKind.NO_CREDIT:
            return no_credit()
        case FaultKind.NOT_FOUND:
            return problem(404, "The requested resource could not be found.", newline=True)
        case _:
            return None


async def _pause(fault: Fault, world: World, request: Request) -> None:
    if request.complete:
        if await first_of(world.clock.sleep(fault.seconds), request.hung_up()) == 1:
            raise ClientGone
        return
    await world.clock.sleep(fault.seconds)


async def late_reply(fault: Fault | None, scope: Scope, request: Request, reply: Reply) -> Reply:
    """Carry out what happens after the work, before its answer is sent. Raises ClientGone."""
    if fault is None:
        return reply
    if fault.kind == FaultKind.RESET_AFTER:
        await reset(scope, request.receive)
        raise ClientGone
    if fault.kind == FaultKind.ERROR_AFTER:
        return _page(fault.status or 502)
    if fault.kind == FaultKind.NO_LENGTH and reply.pieces is None:
        reply.pieces = _once(reply.body)
    if fault.kind == FaultKind.NO_LENGTH:
        reply.length = None
    return reply


async def _once(body: bytes) -> AsyncIterator[bytes]:
    yield body


async def break_off(fault: Fault, scope: Scope, request: Request, reply: Reply, send: Send) -> None:
    """Send a part of an answer and end the connection. Raises ClientGone."""
    pieces = reply.pieces if reply.pieces is not None else _once(reply.body)
    total = reply.length if reply.pieces is not None else len(reply.body)
    reply.pieces, reply.length = pieces, total
    wrong_length = fault.kind == FaultKind.WRONG_LENGTH
    if wrong_length:
        cut = max(0, (total or 0) - (fault.after_bytes or _JUNK_BYTES))
        reply.length = cut
    elif fault.after_bytes is not None:
        cut = fault.after_bytes
    else:
        cut = total // 2 if total is not None else _CUT_BYTES
    await send(
        {"type": "http.response.start", "status": reply.status, "headers": reply.header_list()}
    )
    rest = b""
    left = cut
    async for piece in pieces:
        part, rest = piece[:left], piece[left:]
        left -= len(part)
        await send({"type": "http.response.body", "body": part, "more_body": True})
        if left <= 0 and not wrong_length:
            break
        if rest:
            break
    transport = transport_of(scope)
    if wrong_length:
        transport.write(rest)
    if fault.kind == FaultKind.RESET_MIDWAY:
        await reset(scope, request.receive)
    else:
        transport.close()
        await gone(request.receive)
    raise ClientGone
