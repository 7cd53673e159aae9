import inspect
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain import http_problems, problems
from gateway.domain.admission import QuotaRefused, TooManyRunning
from gateway.domain.keys import make_key
from gateway.domain.plans import Metric, Per, QuotaRule
from gateway.domain.problem_examples import EXAMPLES, markdown
from gateway.domain.problems import Problem
from gateway.domain.quota import Standing, window

ALL = [problem for _, problem in EXAMPLES]
NOW = 1_767_268_790.25


def standing(per: Per, subject: str = "user:1", used: int = 10, reserved: int = 0) -> Standing:
    rule = QuotaRule(Metric.PREDICTIONS, 10, per)
    return Standing(rule, subject, window(per, NOW), used, reserved)


def headers_of(problem: Problem) -> dict[str, str]:
    return {name.lower(): value for name, value in problem.headers}


def test_every_problem_has_an_example() -> None:
    makers = {
        maker
        for module in (problems, http_problems)
        for name, maker in inspect.getmembers(module, inspect.isfunction)
        if maker.__module__ == module.__name__
        and not name.startswith("_")
        and name not in ("printable", "refusal")
    }
    assert makers == {maker for maker, _ in EXAMPLES}


@pytest.mark.parametrize("problem", ALL, ids=lambda problem: f"{problem.status}-{problem.title}")
def test_every_body_has_the_shape_that_clients_print(problem: Problem) -> None:
    body = json.loads(problem.body())
    assert isinstance(body["detail"], str)
    assert body["detail"]
    assert body["status"] == problem.status
    assert body["title"] == problem.title


@pytest.mark.parametrize("problem", ALL, ids=lambda problem: f"{problem.status}-{problem.title}")
def test_an_error_either_says_when_to_retry_or_not_to_unless_upstream_failed(
    problem: Problem,
) -> None:
    headers = headers_of(problem)
    retry_after, should = headers.get("retry-after"), headers.get("x-should-retry")
    if problem.status in (429, 503):
        assert should is None
        assert int(retry_after or 0) >= 1
    else:
        assert retry_after is None
        assert should == "false" or problem.status in (502, 504)


@pytest.mark.parametrize("problem", ALL, ids=lambda problem: f"{problem.status}-{problem.title}")
def test_every_429_tells_the_callers_own_rate_limit(problem: Problem) -> None:
    names = {name for name in headers_of(problem) if name.startswith("ratelimit-")}
    expected = {"ratelimit-limit", "ratelimit-remaining", "ratelimit-reset"}
    assert names == (expected if problem.status == 429 else set())


@pytest.mark.parametrize(
    "make", [problems.upstream_broke_off, problems.upstream_timed_out, problems.upstream_garbage]
)
def test_a_create_of_unknown_fate_must_not_be_repeated_and_a_read_may(make: object) -> None:
    assert callable(make)
    assert headers_of(make(create=True)).get("x-should-retry") == "false"
    assert "x-should-retry" not in headers_of(make(create=False))


def test_a_used_up_budget_names_quota_use_limit_reset_and_contact() -> None:
    spent = Standing(
        QuotaRule(Metric.COST_USD, 100 * 10**9, Per.MONTH, ("meta/*",)),
        "team:red",
        window(Per.MONTH, NOW),
        98_740_000_000,
        900_000_000,
    )
    problem = problems.quota_used_up(spent, "ops@example.org", 500_000_000)
    assert problem.status == 402
    assert problem.detail == (
        "Your team's quota of $100.00 of estimated cost per month for meta/* has too little left: "
        "$98.74 used, $0.90 reserved for running predictions, and this one is expected to take "
        "$0.50. It resets at 2026-02-01 00:00 UTC. Questions: ops@example.org."
    )


def test_a_refusal_becomes_the_answer_that_belongs_to_it() -> None:
    long = problems.refusal(QuotaRefused(standing(Per.DAY), 402, None, 1), "me", NOW)
    short = problems.refusal(QuotaRefused(standing(Per.MINUTE), 429, 10, 1), "me", NOW)
    running = problems.refusal(TooManyRunning(3, 3), "me", NOW)
    assert (long.status, short.status, running.status) == (402, 429, 429)
    assert headers_of(short)["retry-after"] == headers_of(short)["ratelimit-reset"] == "10"
    assert headers_of(running)["retry-after"] == "1"


def test_the_webhook_problem_is_one_of_the_input() -> None:
    body = json.loads(problems.webhook_not_allowed().body())
    assert body["invalid_fields"][0]["field"] == "webhook"
    assert body["status"] == 422


def test_a_wait_is_a_whole_number_of_seconds_from_one_up() -> None:
    assert headers_of(problems.ledger_unavailable(0.01))["retry-after"] == "1"
    assert headers_of(problems.queue_full(2.1, 600))["retry-after"] == "3"


@given(st.text(alphabet=st.characters(), max_size=500))
def test_what_a_caller_wrote_is_bounded_and_harmless_in_every_problem(text: str) -> None:
    for problem in (
        problems.invalid_body(text),
        problems.model_not_allowed(text, "me"),
        problems.input_invalid(text, text),
        problems.not_found(text),
    ):
        detail = json.loads(problem.body())["detail"]
        assert len(detail) < 700
        assert detail.rstrip("\n").isprintable() or not problems.printable(text).isprintable()
        assert "\r" not in detail
        assert "\x00" not in detail


def test_a_lone_surrogate_does_not_break_a_body() -> None:
    assert b"does not exist" in problems.not_found("\ud800").body()


def test_no_key_gets_into_a_detail() -> None:
    key = make_key(bytes(27))
    assert key not in problems.invalid_body(f"unexpected {key}").detail
    assert key[:20] not in problems.model_not_allowed("x" * 280 + key, "").detail


def test_the_page_of_errors_is_what_the_code_says() -> None:
    page = Path(__file__).parents[2] / "docs" / "errors.md"
    assert page.read_text() == markdown(), "the page names its command"
