"""Charts of usage: what has no known price is never drawn or summed up as nothing."""

from dataclasses import replace

from gateway.dashboard.usage_page import charts
from gateway.flows.report_usage import Question, Report, total_of
from gateway.ledger.usage import UsageLine

DAY = 20_000
NOW = DAY * 86_400.0 + 60
LINE = UsageLine(
    user=None,
    user_id=None,
    team=None,
    model=None,
    day=DAY,
    status=None,
    predictions=2,
    running=0,
    failed=0,
    predict_us=0,
    images=0,
    tokens_in=0,
    tokens_out=0,
    cost_nano=0,
    unpriced=2,
)


def spent(*lines: UsageLine) -> str:
    question = Question(by=("day",), since=NOW - 86_400, until=NOW)
    return charts(Report(question, lines, total_of(lines)), NOW, 7)[1].summary


def test_unknown_costs_are_called_so() -> None:
    assert spent(LINE) == "unknown (no known price: 2) in 7 days"
    priced = replace(LINE, day=DAY - 1, cost_nano=30_000_000, unpriced=0)
    assert spent(LINE, priced) == "≈$0.03 (no known price: 2) in 7 days"
    assert spent(priced) == "≈$0.03 in 7 days"
    assert spent() == "≈$0.00 in 7 days"
