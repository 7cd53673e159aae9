import asyncio
import logging
import re

import pytest
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from gateway.domain import problems
from gateway.flows.answer import Refused
from gateway.ledger import LedgerUnavailable
from gateway.web.middleware import Gate
from gateway.web.problem_response import ProblemError, http_exception_response
from gateway.web.request_facts import facts
from tests.web.asgi import Heard, Receiver, make_scope
from tests.web.house import House, KnownFault, hello, raising

# Every response.


@pytest.mark.parametrize("path", ["/", "/v1/things", "/dashboardish", "/nowhere"])
async def test_every_response_outside_the_dashboard_is_sandboxed(path: str) -> None:
    heard = await House(hello).call(make_scope(path))
    assert heard.headers["x-content-type-options"] == "nosniff"
    assert heard.headers["content-security-policy"] == "sandbox"


@pytest.mark.parametrize("path", ["/dashboard", "/dashboard/gallery"])
async def test_the_dashboard_has_a_policy_of_its_own(path: str) -> None:
    heard = await House(hello).call(make_scope(path))
    assert heard.headers["x-content-type-options"] == "nosniff"
    assert "content-security-policy" not in heard.headers


@pytest.mark.parametrize("sane", ["abc", "A-b_c.9", "x" * 128])
async def test_a_sane_request_id_is_the_callers(sane: str) -> None:
    heard = await House(hello).call(make_scope(headers=[("X-Request-Id", sane)]))
    assert heard.headers["x-request-id"] == sane


@pytest.mark.parametrize(
    "mad", ["", "x" * 129, "a b", "a\r\nb", "ä", "<x>", "hk-abcdefgh", "r8_abcdefgh"]
)
async def test_another_request_id_is_replaced(mad: str) -> None:
    heard = await House(hello).call(make_scope(headers=[("X-Request-Id", mad)]))
    assert re.fullmatch(r"[0-9a-z]{12}-1", heard.headers["x-request-id"])


@pytest.mark.parametrize(
    "error", [RuntimeError("x"), ProblemError(problems.unauthenticated()), LedgerUnavailable("x")]
)
async def test_errors_too_carry_the_promised_headers(error: Exception) -> None:
    heard = await House(raising(error)).call(make_scope(headers=[("X-Request-Id", "abc")]))
    assert heard.headers["x-request-id"] == "abc"
    assert heard.headers["content-security-policy"] == "sandbox"


async def test_a_message_that_is_sent_again_is_not_written_to() -> None:
    start = {"type": "http.response.start", "status": 200, "headers": [(b"a", b"b")]}

    async def handler(scope: Scope, receive: Receive, send: Send) -> None:
        await send(start)
        await send({"type": "http.response.body", "body": b""})

    house = House(handler)
    await house.call(make_scope())
    await house.call(make_scope())
    assert start == {"type": "http.response.start", "status": 200, "headers": [(b"a", b"b")]}


# Errors.


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (ProblemError(problems.too_large(5)), 413),
        (Refused(problems.gone()), 410),
        (KnownFault(), 502),
        (LedgerUnavailable("gone fishing"), 503),
        (HTTPException(404), 404),
        (HTTPException(418), 418),
        (RuntimeError("a fault of ours"), 500),
        (OSError("a fault of ours"), 500),
        (ExceptionGroup("tasks", [ProblemError(problems.too_large(5))]), 413),
        (ExceptionGroup("tasks", [RuntimeError("a"), RuntimeError("b")]), 500),
    ],
)
async def test_whatever_is_raised_is_answered_in_the_one_shape(
    error: Exception, status: int
) -> None:
    house = House(raising(error))
    heard = await house.call(make_scope())
    assert heard.status == status
    assert heard.complete
    assert heard.headers["content-type"] == "application/problem+json"
    assert heard.headers["content-length"] == str(len(heard.body))
    assert f'"status": {status}'.encode() in heard.body
    assert house.observed[0][2] == status


async def test_without_the_ledger_clients_are_told_to_come_back() -> None:
    heard = await House(raising(LedgerUnavailable("x"))).call(make_scope())
    assert int(heard.headers["retry-after"]) >= 1


async def test_a_fault_of_ours_is_logged_with_its_traceback_and_says_nothing_of_itself(
    caplog: pytest.LogCaptureFixture,
) -> None:
    heard = await House(raising(RuntimeError("inner secret"))).call(make_scope())
    assert b"inner secret" not in heard.body
    (record,) = [r for r in caplog.records if r.levelno == logging.ERROR]
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], RuntimeError)


async def test_an_answer_that_was_planned_is_no_error_in_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    await House(raising(ProblemError(problems.unauthenticated()))).call(make_scope())
    assert not [r for r in caplog.records if r.levelno >= logging.WARNING]


async def test_a_response_that_fails_after_its_beginning_is_left_unfinished() -> None:
    house = House(raising(RuntimeError("x"), after=(b"part",)))
    heard = await house.call(make_scope())
    assert heard.status == 200
    assert heard.body == b"part"
    assert not heard.complete
    assert house.observed[0][2] == 500


async def test_a_request_that_is_cancelled_is_answered_first() -> None:
    async def handler(scope: Scope, receive: Receive, send: Send) -> None:
        await asyncio.Event().wait()

    house = House(handler)
    heard = Heard()

    async def send(message: object) -> None:
        heard.messages.append(message)  # type: ignore[arg-type]  # what ASGI sends is a mapping

    task = asyncio.ensure_future(house.app(make_scope(), Receiver(), send))
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert heard.status == 503
    assert heard.complete
    assert house.gate.in_flight == 0


# Who gets in.


async def test_while_shutting_down_new_requests_are_sent_elsewhere_and_old_ones_finish() -> None:
    go = asyncio.Event()

    async def handler(scope: Scope, receive: Receive, send: Send) -> None:
        await go.wait()
        await hello(scope, receive, send)

    house = House(handler)
    old = asyncio.ensure_future(house.call(make_scope()))
    await asyncio.sleep(0)
    assert house.gate.in_flight == 1
    house.gate.drain()
    async with asyncio.timeout(5):
        await house.gate.wait_draining()
    new = await house.call(make_scope())
    assert new.status == 503
    assert new.headers["retry-after"] == "1"
    assert new.headers["connection"] == "close"
    go.set()
    assert (await old).status == 200
    async with asyncio.timeout(5):
        await house.gate.wait_idle()


async def test_more_requests_than_fit_are_turned_away_and_places_become_free() -> None:
    go = asyncio.Event()

    async def handler(scope: Scope, receive: Receive, send: Send) -> None:
        await go.wait()
        await hello(scope, receive, send)

    house = House(handler)
    inside = [asyncio.ensure_future(house.call(make_scope())) for _ in range(3)]
    await asyncio.sleep(0)
    refused = await house.call(make_scope())
    assert refused.status == 503
    assert int(refused.headers["retry-after"]) >= 1
    go.set()
    await asyncio.gather(*inside)
    assert (await house.call(make_scope())).status == 200


async def test_a_failing_request_gives_its_place_back() -> None:
    house = House(raising(RuntimeError("x")))
    for _ in range(5):
        assert (await house.call(make_scope())).status == 500
    assert house.gate.in_flight == 0


async def test_probes_get_in_always() -> None:
    house = House(hello, gate=Gate(max_in_flight=0))
    house.gate.drain()
    for path in ("/healthz", "/readyz", "/metrics"):
        assert (await house.call(make_scope(path))).status == 200


# Methods that no handler knows.


async def test_options_names_what_a_path_understands() -> None:
    heard = await House(hello).call(make_scope("/v1/things", "OPTIONS"))
    assert heard.status == 204
    assert heard.headers["allow"] == "GET, OPTIONS, POST"
    assert heard.body == b""


async def test_options_of_an_unknown_path_is_for_the_router() -> None:
    assert (await House(hello).call(make_scope("/nowhere", "OPTIONS"))).status == 200


@pytest.mark.parametrize(
    ("path", "method"),
    [
        ("/replicate/v1/predictions/x", "GET"),
        ("/replicate/predictions/x", "GET"),
        ("/me/v1/usage", "GET"),
        ("/replicate/delivery/replicate.delivery/x.png", "HEAD"),
        ("/v1/streams/x", "HEAD"),
        ("/dashboard", "HEAD"),
    ],
)
async def test_head_is_a_get_for_those_who_answer_at_once(path: str, method: str) -> None:
    methods: list[str] = []

    async def handler(scope: Scope, receive: Receive, send: Send) -> None:
        methods.append(scope["method"])
        facts(scope).route = "/x"
        await hello(scope, receive, send)

    house = House(handler)
    await house.call(make_scope(path, "HEAD"))
    assert methods == [method]
    assert house.observed[0][:2] == ("/x", "HEAD")


# With Starlette's router inside.


async def test_the_routers_own_errors_have_the_one_shape() -> None:
    async def thing(_: Request) -> Response:
        return Response(b"x")

    app = Starlette(
        routes=[Route("/things", thing, methods=["GET"])],
        exception_handlers={HTTPException: http_exception_response},
    )
    house = House(app)
    missing = await house.call(make_scope("/nowhere"))
    assert missing.status == 404
    assert missing.headers["content-type"] == "application/problem+json"
    wrong = await house.call(make_scope("/things", "DELETE"))
    assert wrong.status == 405
    assert wrong.headers["content-type"] == "application/problem+json"
    assert wrong.headers["allow"] == "GET, HEAD"
