"""Twenty users, five teams, failures, cancels, lost answers, crashes: the books agree."""

import pytest

from tests.support.spending import differences, run


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1])
def test_the_ledgers_totals_equal_the_services_own_books(seed: int) -> None:
    outcome, books = run(seed, count=160, per_user=10, team_usd=0.035)
    assert outcome.crashes >= 1
    assert outcome.answers[201] > 100
    assert outcome.answers[402] > 0
    assert list(differences(outcome, books)) == []
    assert outcome.overruns == []
