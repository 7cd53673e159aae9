"""One allowance for all workers, kept in the ledger."""

from collections.abc import AsyncIterator

import pytest

from gateway.flows.shared_allowance import LEASE_S, SharedAllowance
from gateway.ledger import Ledger
from gateway.upstream.bucket import Correction, burst
from gateway.upstream.share import Kind
from tests.support.clock import START
from tests.support.ledgers import Database, database_fixture

FIXTURES = (database_fixture,)
RATES = {Kind.CREATE: 600.0, Kind.REQUEST: 3000.0}


@pytest.fixture
async def ledgers(database: Database) -> AsyncIterator[list[Ledger]]:
    async with database.open() as one, database.open() as other:
        yield [one, other]


@pytest.fixture
def shares(ledgers: list[Ledger]) -> list[SharedAllowance]:
    return [SharedAllowance(ledger, RATES) for ledger in ledgers * 2]


async def test_four_workers_together_never_take_more_than_a_minutes_worth(
    shares: list[SharedAllowance],
) -> None:
    granted = 0
    for tick in range(240):
        now = START + tick * 0.25
        for share in shares:
            granted += (await share.take(Kind.CREATE, 10, now)).granted
    assert 560 <= granted <= 601


async def test_most_requests_need_no_transaction(
    ledgers: list[Ledger], monkeypatch: pytest.MonkeyPatch
) -> None:
    written = 0
    plain = Ledger.write

    async def write(*args: object, **kwargs: object) -> object:
        nonlocal written
        written += 1
        return await plain(*args, **kwargs)  # type: ignore[arg-type]  # as they come

    monkeypatch.setattr(Ledger, "write", write)
    share = SharedAllowance(ledgers[0], RATES)
    for tick in range(60):
        assert (await share.take(Kind.REQUEST, 1, START + tick * 0.02)).granted == 1
    assert written <= 15


async def test_a_429_that_one_worker_hears_stops_them_all(shares: list[SharedAllowance]) -> None:
    await shares[0].take(Kind.CREATE, 1, START)
    await shares[1].correct(Kind.CREATE, Correction(throttled_s=7), START)
    later = START + LEASE_S
    for share in shares:
        grant = await share.take(Kind.CREATE, 1, later)
        assert (grant.granted, grant.retry_at) == (0, START + 7)
    taken = [(await share.take(Kind.CREATE, 1, START + 7)).granted for share in shares]
    assert sum(taken) == 1
    # What was learned is that half of it is too much; other kinds are not concerned.
    assert (await shares[2].take(Kind.CREATE, 0, START + 7)).per_minute == 300
    assert (await shares[2].take(Kind.REQUEST, 1, START + 7)).granted == 1


async def test_what_upstream_says_is_left_is_believed_by_all(shares: list[SharedAllowance]) -> None:
    await shares[0].take(Kind.CREATE, 1, START)
    await shares[0].correct(Kind.CREATE, Correction(remaining=2), START)
    assert (await shares[1].take(Kind.CREATE, 10, START)).granted == 2


async def test_a_clock_that_is_behind_gains_nothing(shares: list[SharedAllowance]) -> None:
    everything = int(burst(600))
    assert (await shares[0].take(Kind.CREATE, everything, START)).granted == everything
    assert (await shares[1].take(Kind.CREATE, 1, START - 50)).granted == 0
    assert (await shares[1].take(Kind.CREATE, 5, START)).granted == 0
