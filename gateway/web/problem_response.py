"""Problems as responses.

Flows return values or raise their own `Refused`; only the web room raises :class:`ProblemError`.
Whatever is raised, the error boundary (:mod:`gateway.web.middleware`) turns it into one of these
responses, so that every error of the gateway has the same shape.
"""

from http import HTTPStatus

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Send

from gateway.domain import problems
from gateway.domain.problems import CONTENT_TYPE, Problem


class ProblemError(Exception):
    """Ends the handling of a request with this problem as its answer."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(f"{problem.status} {problem.title}")
        self.problem = problem


def problem_response(problem: Problem) -> Response:
    """Return the response that says it."""
    response = Response(problem.body(), problem.status, media_type=CONTENT_TYPE)
    for name, value in problem.headers:
        response.headers[name] = value
    return response


async def send_problem(problem: Problem, send: Send, *, close: bool = False) -> None:
    """Answer with the problem where there is no Starlette; `close` ends the connection after it."""
    body = problem.body()
    headers = [
        (b"content-type", CONTENT_TYPE.encode()),
        (b"content-length", str(len(body)).encode()),
        *((name.lower().encode(), value.encode("latin-1")) for name, value in problem.headers),
    ]
    if close:
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": problem.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def problem_of_http_exception(error: HTTPException) -> Problem:
    """Say in the gateway's shape what the router says by an exception (404, 405, …)."""
    if error.status_code == 404:
        return problems.not_found("address")
    allow = next(
        (value for name, value in (error.headers or {}).items() if name.lower() == "allow"), None
    )
    if error.status_code == 405 and allow is not None:
        return problems.method_not_allowed(tuple(sorted(allow.split(", "))))
    try:
        title = HTTPStatus(error.status_code).phrase
    except ValueError:
        title = "Error"
    return Problem(
        error.status_code,
        title,
        problems.printable(str(error.detail or title)),
        headers=tuple((error.headers or {}).items()),
    )


async def http_exception_response(_: Request, error: Exception) -> Response:
    """Handle the router's own exceptions; registered for `HTTPException` with Starlette."""
    if not isinstance(error, HTTPException):
        raise error
    return problem_response(problem_of_http_exception(error))
