"""What upstream's answers and failures become on their way to the client."""

import logging
from dataclasses import replace

from gateway.domain import problems
from gateway.domain.headers import response_headers
from gateway.domain.problems import Problem
from gateway.domain.urls import UrlMap
from gateway.flows.answer import Answer
from gateway.upstream import (
    AllowanceExhausted,
    UpstreamAnswer,
    UpstreamError,
    UpstreamGarbage,
    UpstreamTimeout,
    UpstreamTokenRefused,
    UpstreamUnreachable,
)
from gateway.upstream.errors import AccountUnknown

_log = logging.getLogger(__name__)


def upstream_problem(error: UpstreamError, *, create: bool, creates_per_minute: int = 0) -> Problem:
    """Return the contract's error for a request that upstream did not answer usably.

    The client is told what it can do; the cause is for the operator, in the log.
    """
    if not isinstance(error, AllowanceExhausted):
        _log.warning("Replicate did not answer: %s", error)
    in_doubt = create and error.sent
    match error:
        case UpstreamUnreachable():
            return problems.upstream_unreachable()
        case AccountUnknown():
            return problems.upstream_account_unknown()
        case UpstreamTimeout():
            return problems.upstream_timed_out(create=in_doubt)
        case UpstreamTokenRefused():
            return problems.upstream_token_refused()
        case UpstreamGarbage():
            return problems.upstream_garbage(create=in_doubt)
        case AllowanceExhausted():
            return problems.queue_full(error.retry_after, creates_per_minute)
        case _:
            return problems.upstream_broke_off(create=in_doubt)


def passed_on(answer: UpstreamAnswer, body: bytes, *, rewritten: bool) -> Answer:
    """Return upstream's answer with a body that may have been rewritten."""
    pairs = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in answer.headers]
    kept = response_headers(pairs, rewritten=rewritten)
    headers = tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in kept)
    return Answer(answer.status, headers, body)


# Of upstream's refusals these may be another answer later; all others will be the same.
_WORTH_A_RETRY = frozenset({408, 409, 425, 429})


def refused_by_upstream(answer: UpstreamAnswer) -> Answer:
    """Return an error of upstream's: status and body are its own."""
    passed = passed_on(answer, answer.body, rewritten=False)
    if not 400 <= answer.status < 500 or answer.status in _WORTH_A_RETRY:
        return passed
    return replace(passed, headers=(*passed.headers, ("x-should-retry", "false")))


def client_location(urls: UrlMap, location: str, origin: str) -> str:
    """Return where a redirect of upstream's leads from this client's point of view.

    To this gateway, whenever the gateway serves what is there.
    """
    if location.startswith("/v1/"):
        location = urls.api_origin + location
    return urls.delivery_to_client(urls.api_to_client(location, origin), origin)
