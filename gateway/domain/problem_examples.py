"""One example of every problem: what ``docs/errors.md`` shows, and what the tests go through."""

import sys
from collections.abc import Callable
from http import HTTPStatus

from gateway.domain import http_problems, problems
from gateway.domain.plans import Metric, Per, QuotaRule, Role
from gateway.domain.problems import Problem
from gateway.domain.quota import Standing, window

_NOW = 1_767_268_790.0  # 2026-01-01 11:59:50 UTC
_CONTACT = "ops@example.org"


def _standing(metric: Metric, limit: int, per: Per, used: int, reserved: int = 0) -> Standing:
    return Standing(QuotaRule(metric, limit, per), "user:1", window(per, _NOW), used, reserved)


_BUDGET = _standing(Metric.COST_USD, 100 * 10**9, Per.MONTH, 98_740_000_000, 900_000_000)
_RATE = _standing(Metric.PREDICTIONS, 60, Per.MINUTE, 60)

EXAMPLES: tuple[tuple[Callable[..., Problem], Problem], ...] = (
    (problems.invalid_body, problems.invalid_body("The body is not JSON: it ends after 12 bytes")),
    (problems.unauthenticated, problems.unauthenticated()),
    (problems.quota_used_up, problems.quota_used_up(_BUDGET, _CONTACT, 500_000_000)),
    (problems.model_not_allowed, problems.model_not_allowed("owner/name", _CONTACT)),
    (problems.unknown_version, problems.unknown_version(_CONTACT)),
    (problems.trainings_not_allowed, problems.trainings_not_allowed(_CONTACT)),
    (problems.role_required, problems.role_required(Role.MANAGE, _CONTACT)),
    (http_problems.not_http, http_problems.not_http()),
    (http_problems.invalid_host, http_problems.invalid_host()),
    (http_problems.key_in_address, http_problems.key_in_address()),
    (http_problems.body_timed_out, http_problems.body_timed_out(60)),
    (http_problems.unsupported_encoding, http_problems.unsupported_encoding()),
    (http_problems.head_too_large, http_problems.head_too_large(65_536)),
    (http_problems.not_ready, http_problems.not_ready({"disk": "only 1,024 bytes are free"})),
    (problems.invalid_query, problems.invalid_query("created_after", "it is not a time")),
    (problems.not_found, problems.not_found("prediction")),
    (problems.method_not_allowed, problems.method_not_allowed(("GET", "POST"))),
    (problems.idempotency_conflict, problems.idempotency_conflict()),
    (problems.already_exists, problems.already_exists("a user named alice")),
    (problems.gone, problems.gone("file")),
    (problems.too_large, problems.too_large(33_554_432)),
    (problems.range_not_satisfiable, problems.range_not_satisfiable(20_480)),
    (
        problems.input_invalid,
        problems.input_invalid("input.image", "this file is no longer stored"),
    ),
    (problems.key_in_body, problems.key_in_body("input.api_token")),
    (problems.invalid_version, problems.invalid_version()),
    (problems.webhook_not_allowed, problems.webhook_not_allowed()),
    (problems.rate_limited, problems.rate_limited(_RATE, _NOW, 1)),
    (problems.too_many_running, problems.too_many_running(4, 4)),
    (problems.queue_full, problems.queue_full(12, 600)),
    (problems.internal_error, problems.internal_error()),
    (problems.upstream_unreachable, problems.upstream_unreachable()),
    (problems.upstream_account_unknown, problems.upstream_account_unknown()),
    (problems.upstream_broke_off, problems.upstream_broke_off(create=True)),
    (problems.upstream_broke_off, problems.upstream_broke_off(create=False)),
    (problems.upstream_garbage, problems.upstream_garbage(create=True)),
    (problems.upstream_garbage, problems.upstream_garbage(create=False)),
    (problems.upstream_token_refused, problems.upstream_token_refused()),
    (problems.create_in_doubt, problems.create_in_doubt(5)),
    (problems.shutting_down, problems.shutting_down()),
    (problems.overloaded, problems.overloaded()),
    (problems.ledger_unavailable, problems.ledger_unavailable()),
    (problems.upstream_timed_out, problems.upstream_timed_out(create=True)),
    (problems.upstream_timed_out, problems.upstream_timed_out(create=False)),
)

_HEAD = """\
# Errors

<!-- Made from gateway/domain/problems.py by
     `python -m gateway.domain.problem_examples > docs/errors.md`; changes here are overwritten. -->

The gateway's own errors have Replicate's shape: `application/problem+json` with `title`, `detail`
(always a string) and `status`. Replicate's errors are passed on unchanged, except those named here.

A client may repeat a request that was answered with 429 or 503 after `Retry-After` seconds, and one
answered with 502 or 504 unless it carries `x-should-retry: false`. That header stands wherever a
repetition cannot help, and on a create that may have reached Replicate although no answer came
back: look into `predictions.list()` before you repeat it. With an `Idempotency-Key` a repetition is
always safe.

`ratelimit-limit`, `ratelimit-remaining` and `ratelimit-reset` are whole numbers: pieces, seconds of
prediction time or US cents, rounded down, and seconds until the window ends.
"""


def markdown() -> str:
    """Return the page that lists every error with an example of it."""
    sections = [_HEAD]
    status = 0
    for make, problem in sorted(EXAMPLES, key=lambda example: example[1].status):
        if problem.status != status:
            status = problem.status
            sections.append(f"## {status} {HTTPStatus(status).phrase}\n")
        when = (make.__doc__ or "").partition("\n\n")[0].partition(": ")[2].replace("\n   ", "")
        headers = "".join(f"{name}: {value}\n" for name, value in problem.headers)
        body = problem.body().decode()
        sections.append(f"### {problem.title}\n\n{when[:1].upper()}{when[1:]}\n")
        sections.append(f"```http\n{headers}\n{body}\n```\n")
    return "\n".join(sections)


if __name__ == "__main__":
    sys.stdout.write(markdown())
