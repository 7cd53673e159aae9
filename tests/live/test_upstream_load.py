"""A tenth of `make bench-upstream`: impatient clients before upstream's own limits."""

import pytest

from benchmarks.upstream import POLL_EVERY_S, Size, run_queueing, run_watching


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_hundred_impatient_clients_cost_upstream_no_more_than_a_few() -> None:
    size = Size.of(0.1, seconds=15)
    found = run_watching(size, workers=1)
    assert set(found.statuses) == {200}
    assert found.most_requests_in_a_minute <= size.requests_per_minute
    assert found.most_creates_in_a_minute <= size.creates_per_minute
    # On a machine too busy to send what such clients would, upstream is asked no more often either.
    impatient = size.clients * size.seconds / POLL_EVERY_S
    assert found.seen_by_upstream <= 0.05 * max(found.sent_by_clients, impatient)
    assert found.view_age_median < 2
    assert found.ends > 0
    assert found.end_lag_median < 2
    # The crowd does not keep the gateway from learning what nobody asks for.
    assert found.silent_ends >= size.silent // 2


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_one_users_burst_does_not_starve_another_users_single_creates() -> None:
    found = run_queueing(Size.of(0.1, seconds=15), workers=1)
    assert found.beside_median - found.alone_median < 1.5
    assert found.burst[201] > 20
    assert set(found.burst) <= {201, 429}
