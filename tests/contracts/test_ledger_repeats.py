"""Logs of streams and repeats of creates: the same on both engines."""

import asyncio
from collections.abc import Sequence
from functools import partial

from gateway.ledger import Ledger, creates, streams
from tests.support.ledgers import (
    NOW,
    Database,
    database_fixture,
    deciding,
    ledger_fixture,
    prediction,
    reservation,
)

FIXTURES = (database_fixture, ledger_fixture)
Events = Sequence[tuple[str | None, str | None, bytes]]
EVENTS: Events = [("1:1", "output", b"Hel"), (None, "output", b"lo")]
END: Events = [("1:3", "done", b"{}")]


async def register(ledger: Ledger) -> None:
    await ledger.write(lambda conn: streams.register(conn, "p1", "https://stream/a", NOW))


async def log(
    ledger: Ledger,
    by: str,
    events: Events,
    after: int,
    *,
    at: float = NOW,
    ended: bool = False,
) -> bool:
    return await ledger.write(
        lambda conn: streams.log(
            conn, "p1", by, events, after=after, now=at, until=at + 10, ended=ended
        )
    )


async def progress(ledger: Ledger) -> streams.StreamProgress | None:
    return await ledger.read(partial(streams.progress, prediction_id="p1"))


async def test_only_whoever_reads_a_stream_logs_it_and_only_behind_what_is_logged(
    ledger: Ledger,
) -> None:
    assert await progress(ledger) is None
    assert not await log(ledger, "w1", EVENTS, 0)
    await register(ledger)
    assert await log(ledger, "w1", EVENTS, 0)
    assert await progress(ledger) == streams.StreamProgress(2, None, NOW + 10)
    assert not await log(ledger, "w2", END, 2)
    assert not await log(ledger, "w1", END, 1)
    assert await log(ledger, "w2", END, 2, at=NOW + 10, ended=True)
    assert await progress(ledger) == streams.StreamProgress(3, NOW + 10, None)
    assert not await log(ledger, "w2", END, 3, at=NOW + 11)
    assert await ledger.read(partial(streams.last_id, prediction_id="p1")) == "1:3"


async def test_of_many_at_once_one_logs(database: Database) -> None:
    async with database.open() as one, database.open() as other:
        await register(one)
        logged = await asyncio.gather(
            *(log(ledger, f"w{n}", EVENTS, 0) for n, ledger in enumerate((one, other) * 3))
        )
        assert sorted(logged) == [False] * 5 + [True]
        found = await progress(other)
        assert found is not None
        assert found.last_seq == 2


async def test_a_log_is_pruned_as_a_whole_and_can_be_made_anew(ledger: Ledger) -> None:
    await register(ledger)
    assert await log(ledger, "w1", EVENTS, 0)
    assert await log(ledger, "w1", END, 2, at=NOW + 5, ended=True)
    assert await ledger.write(lambda conn: streams.prune(conn, NOW + 3)) == 0
    assert await ledger.write(lambda conn: streams.prune(conn, NOW + 6)) == 3
    assert await progress(ledger) == streams.StreamProgress(0, None, None)
    assert await log(ledger, "w2", EVENTS, 0, at=NOW + 7)


async def test_a_page_of_a_log_is_bounded_by_its_bytes(ledger: Ledger) -> None:
    await register(ledger)
    large = [(None, "output", b"x" * (streams.MAX_PAGE_BYTES // 2)) for _ in range(5)]
    assert await log(ledger, "w1", large, 0)
    page = await ledger.read(lambda conn: streams.events_after(conn, "p1", 0))
    assert [event.seq for event in page] == [1, 2]


async def test_an_attempt_whose_joined_answer_was_lost_too_can_be_joined_again(
    ledger: Ledger,
) -> None:
    asked = reservation("c1")
    await ledger.write(lambda conn: creates.reserve(conn, asked, [], None, deciding()))
    await ledger.write(lambda conn: creates.record(conn, "c1", prediction("p1"), (), NOW))
    take = partial(creates.take_joinable, create_id="c1", now=NOW)
    assert await ledger.write(take)
    assert not await ledger.write(take)
    await ledger.write(partial(creates.leave_joinable, create_id="c1"))
    assert await ledger.write(take)
    await ledger.write(partial(creates.mark_delivered, create_id="c1", now=NOW))
    await ledger.write(partial(creates.leave_joinable, create_id="c1"))
    assert not await ledger.write(take)
