"""What is written down of each request, and counted."""

import logging

import pytest
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from gateway.web.request_facts import facts
from tests.web.asgi import Receiver, make_scope
from tests.web.house import House, hello


def access_lines(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    return [record for record in caplog.records if record.name == "gateway.access"]


async def test_a_request_is_one_line_and_one_measurement_with_its_route(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    house = House(hello)

    async def handler(scope: Scope, receive: Receive, send: Send) -> None:
        seen = facts(scope)
        seen.route = "/v1/things/{id}"
        seen.cache_result = "hit"
        seen.identified("ada")
        house.clock.advance(0.25)
        await hello(scope, receive, send)

    house.handler = handler
    await house.call(make_scope("/v1/things/17"))
    assert house.observed == [("/v1/things/{id}", "GET", 200, 0.25)]
    (record,) = access_lines(caplog)
    assert record.getMessage() == "GET /v1/things/17 200"
    facts_told = vars(record)["fields"]
    assert facts_told["route"] == "/v1/things/{id}"
    assert facts_told["ms"] == 250.0
    assert facts_told["bytes"] == 5
    assert facts_told["cache"] == "hit"


async def test_a_route_of_the_router_is_known_by_its_template() -> None:
    async def thing(_: Request) -> Response:
        return Response(b"x")

    house = House(Starlette(routes=[Route("/things/{id}", thing)]))
    await house.call(make_scope("/things/17"))
    await house.call(make_scope("/nothing/17"))
    assert [seen[0] for seen in house.observed] == ["/things/{id}", "unmatched"]


async def test_an_invented_method_is_no_new_series() -> None:
    house = House(hello)
    await house.call(make_scope(method="BREW"))
    assert house.observed[0][1] == "other"


async def test_a_query_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    scope = make_scope("/x")
    scope["query_string"] = b"token=secret"
    await House(hello).call(scope)
    assert "secret" not in caplog.text


async def test_probes_are_not_news(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    await House(hello).call(make_scope("/healthz"))
    assert not access_lines(caplog)


@pytest.mark.parametrize("began", [True, False])
async def test_a_client_that_leaves_is_499_and_no_error(
    began: bool, caplog: pytest.LogCaptureFixture
) -> None:
    async def handler(scope: Scope, receive: Receive, send: Send) -> None:
        if began:
            await send({"type": "http.response.start", "status": 200, "headers": []})
        while (await receive())["type"] != "http.disconnect":
            pass
        raise ClientDisconnect

    house = House(handler)
    heard = await house.call(make_scope(), Receiver(leaves=True))
    assert house.observed[0][2] == 499
    assert len(heard.messages) == began
    assert not [r for r in caplog.records if r.levelno >= logging.WARNING]


async def test_a_fault_after_the_client_left_is_still_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def handler(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await receive()
        raise RuntimeError("x")

    await House(handler).call(make_scope(), Receiver(leaves=True))
    assert "after its client had left" in caplog.text


async def test_leaving_after_the_last_byte_is_nothing_special() -> None:
    async def handler(scope: Scope, receive: Receive, send: Send) -> None:
        await hello(scope, receive, send)
        await receive()
        await receive()

    house = House(handler)
    await house.call(make_scope(), Receiver(leaves=True))
    assert house.observed[0][2] == 200
