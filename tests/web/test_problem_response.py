import json

import pytest
from starlette.exceptions import HTTPException
from starlette.types import Message

from gateway.domain import problems
from gateway.web.problem_response import (
    problem_of_http_exception,
    problem_response,
    send_problem,
)
from tests.web.asgi import Heard


async def test_both_ways_of_answering_say_the_same() -> None:
    problem = problems.unauthenticated()
    heard = Heard()

    async def send(message: Message) -> None:
        heard.messages.append(message)

    await send_problem(problem, send)
    response = problem_response(problem)
    assert heard.status == response.status_code == 401
    assert heard.body == bytes(response.body)
    assert heard.headers == dict(response.headers)
    assert json.loads(heard.body)["detail"]


@pytest.mark.parametrize(
    ("error", "status", "headers"),
    [
        (HTTPException(404, "x"), 404, {}),
        (HTTPException(405, headers={"Allow": "GET, HEAD"}), 405, {"Allow": "GET, HEAD"}),
        (HTTPException(403, "no"), 403, {}),
        (HTTPException(599, "odd"), 599, {}),
        (HTTPException(429, headers={"Retry-After": "3"}), 429, {"Retry-After": "3"}),
    ],
)
def test_the_routers_exceptions_become_problems(
    error: HTTPException, status: int, headers: dict[str, str]
) -> None:
    problem = problem_of_http_exception(error)
    assert problem.status == status
    assert headers.items() <= dict(problem.headers).items()
    assert json.loads(problem.body())["status"] == status
