"""From reservation to prediction: the same on both engines."""

import asyncio
from functools import partial

import pytest

from gateway.domain.admission import Demand, QuotaRefused, TooManyRunning
from gateway.ledger import Ledger, creates, files, predictions, quotas, workers
from gateway.ledger.create_rows import Reservation
from gateway.ledger.creates import Conflict, Refused, Repeated, Reserved, StoredAnswer
from tests.support.ledgers import (
    NOW,
    Database,
    database_fixture,
    deciding,
    ledger_fixture,
    prediction,
    reservation,
    rule,
    settlement,
)

FIXTURES = (database_fixture, ledger_fixture)

Outcome = Reserved | Refused | Repeated | Conflict


async def reserve(
    ledger: Ledger,
    asked: Reservation,
    *,
    limit: int = 100,
    concurrent: int | None = None,
    subject: str | None = None,
) -> Outcome:
    rules = [(rule(limit=limit), subject or f"user:{asked.user_id}")]
    return await ledger.write(
        lambda conn: creates.reserve(
            conn, asked, rules, concurrent, deciding(asked.demand, concurrent, asked.at)
        ),
        durable=True,
    )


async def record(ledger: Ledger, name: str, prediction_id: str, *urls: str) -> bool:
    return await ledger.write(
        lambda conn: creates.record(conn, name, prediction(prediction_id), urls, NOW),
        durable=True,
    )


async def taken(ledger: Ledger, subject: str = "user:u1") -> int:
    (standing,) = await ledger.read(lambda conn: quotas.standings(conn, [(rule(), subject)], NOW))
    return standing.taken


@pytest.mark.parametrize("left", [1, 7])
async def test_with_n_left_n_of_many_simultaneous_creates_succeed(
    database: Database, left: int
) -> None:
    async with database.open() as one, database.open() as other:
        outcomes = await asyncio.gather(
            *(
                reserve(ledger, reservation(f"c{name}", team="red"), limit=left, subject="team:red")
                for name, ledger in enumerate([one, other] * 12)
            )
        )
        assert sum(isinstance(outcome, Reserved) for outcome in outcomes) == left
        refused = [outcome for outcome in outcomes if isinstance(outcome, Refused)]
        assert len(refused) == 24 - left
        assert all(isinstance(outcome.decision, QuotaRefused) for outcome in refused)
        assert await taken(one, "team:red") == left


async def test_no_more_run_at_a_time_than_allowed_however_many_arrive_together(
    database: Database,
) -> None:
    async with database.open() as one, database.open() as other:
        outcomes = await asyncio.gather(
            *(
                reserve(ledger, reservation(f"c{name}"), concurrent=3)
                for name, ledger in enumerate([one, other] * 6)
            )
        )
        reserved = [
            f"c{name}" for name, outcome in enumerate(outcomes) if isinstance(outcome, Reserved)
        ]
        assert len(reserved) == 3
        assert Refused(TooManyRunning(3, 3)) in outcomes
        # A recorded prediction is still running; a settled one has made room.
        assert await record(one, reserved[0], "p1")
        assert isinstance(await reserve(one, reservation("d1"), concurrent=3), Refused)
        await one.write(lambda conn: predictions.settle(conn, "p1", settlement()))
        assert isinstance(await reserve(one, reservation("d2"), concurrent=3), Reserved)
        # Another user's do not matter.
        assert isinstance(await reserve(one, reservation("e", user="u2"), concurrent=1), Reserved)


async def test_a_reservation_says_where_its_rules_stand_afterwards(ledger: Ledger) -> None:
    outcome = await reserve(ledger, reservation("c1"), limit=5)
    assert isinstance(outcome, Reserved)
    (standing,) = outcome.standings
    assert (standing.used, standing.reserved, standing.remaining) == (0, 1, 4)


async def test_a_refusal_by_upstream_gives_everything_back_once(ledger: Ledger) -> None:
    await reserve(ledger, reservation("c1"))
    await reserve(ledger, reservation("c2"))
    for first in (True, False):
        given_back = await ledger.write(
            lambda conn: creates.refuse(conn, "c1", NOW, 422, b"{}", [("content-type", "x/y")])
        )
        assert given_back is first
        assert await taken(ledger) == 1
    row = await ledger.read(lambda conn: creates.get(conn, "c1"))
    assert row is not None
    assert row.state == "refused"
    assert row.answer == StoredAnswer(422, (("content-type", "x/y"),), b"{}")
    assert not await record(ledger, "c1", "p1")


async def test_a_recorded_create_is_one_prediction_with_its_owner_document_and_files(
    ledger: Ledger,
) -> None:
    asked = reservation(
        "c1",
        team="red",
        substitutions={"image": "https://x/1"},
        webhook="https://hook",
        webhook_events=("completed",),
    )
    await reserve(ledger, asked)
    assert await record(ledger, "c1", "p1", "https://replicate.delivery/a.png")
    assert not await record(ledger, "c1", "p2")
    row = await ledger.read(lambda conn: predictions.get(conn, "p1"))
    assert row is not None
    assert (row.user_id, row.team, row.account, row.kind) == ("u1", "red", "acme", "prediction")
    assert (row.model, row.answered_model, row.charged_at) == ("owner/name", "Owner/Name", NOW)
    assert row.substitutions == {"image": "https://x/1"}
    assert (row.webhook, row.webhook_events) == ("https://hook", ("completed",))
    assert row.reserved == asked.demand
    known = await ledger.read(lambda conn: files.known(conn, "https://replicate.delivery/a.png"))
    assert known is not None
    assert known.prediction_ids == ("p1",)
    create = await ledger.read(lambda conn: creates.of_prediction(conn, "p1"))
    assert create is not None
    assert (create.state, create.prediction_id, create.open) == ("recorded", "p1", False)
    assert await taken(ledger) == 1


async def test_a_prediction_belongs_to_one_create_only(ledger: Ledger) -> None:
    await reserve(ledger, reservation("c1"))
    await reserve(ledger, reservation("c2"))
    assert await record(ledger, "c1", "p1")
    assert not await record(ledger, "c2", "p1")
    other = await ledger.read(lambda conn: creates.get(conn, "c2"))
    assert other is not None
    assert other.state == "reserved"
    assert await ledger.read(lambda conn: creates.known_predictions(conn, ["p1", "p2"])) == {"p1"}


async def test_a_create_in_doubt_stays_counted_until_its_fate_is_known(ledger: Ledger) -> None:
    for name in ("c1", "c2"):
        await reserve(ledger, reservation(name))
        assert await ledger.write(partial(creates.doubt, create_id=name, now=NOW))
        assert not await ledger.write(partial(creates.doubt, create_id=name, now=NOW))
    assert await taken(ledger) == 2
    assert [row.id for row in await ledger.read(creates.doubts)] == ["c1", "c2"]
    assert await ledger.write(lambda conn: creates.adopt(conn, "c1", prediction("p1"), [], NOW))
    assert await ledger.write(lambda conn: creates.release(conn, "c2", NOW))
    assert await taken(ledger) == 1
    assert await ledger.read(creates.doubts) == []


async def test_an_answer_that_comes_after_the_release_is_counted_again(ledger: Ledger) -> None:
    await reserve(ledger, reservation("c1"))
    await ledger.write(lambda conn: creates.release(conn, "c1", NOW))
    assert await taken(ledger) == 0
    assert await record(ledger, "c1", "p1")
    assert await taken(ledger) == 1


async def test_what_a_dead_worker_left_behind_is_in_doubt(ledger: Ledger) -> None:
    await ledger.write(lambda conn: workers.beat(conn, "alive", NOW + 100))
    await ledger.write(lambda conn: workers.beat(conn, "dead", NOW))
    await reserve(ledger, reservation("c1", worker="dead"))
    await reserve(ledger, reservation("c2", worker="alive"))
    await reserve(ledger, reservation("c3", worker="never heard of"))
    await reserve(ledger, reservation("c4", worker="dead", at=NOW + 100))
    doubted = await ledger.write(lambda conn: creates.doubt_of_dead(conn, before=NOW + 60))
    assert doubted == 2
    assert {row.id for row in await ledger.read(creates.doubts)} == {"c1", "c3"}


async def test_the_same_idempotency_key_means_the_same_create(ledger: Ledger) -> None:
    first = await reserve(ledger, reservation("c1", idempotency_key="i"), limit=1)
    assert isinstance(first, Reserved)
    # The quota is used up, but this asks for nothing new.
    again = await reserve(ledger, reservation("c2", idempotency_key="i"), limit=1)
    assert isinstance(again, Repeated)
    assert again.create.id == "c1"
    for other in (
        reservation("c3", idempotency_key="i", body_digest="another"),
        reservation("c3", idempotency_key="i", target="models/other/one"),
    ):
        assert isinstance(await reserve(ledger, other), Conflict)
    # The key is the user's own.
    theirs = await reserve(ledger, reservation("c4", user="u2", idempotency_key="i"))
    assert isinstance(theirs, Reserved)


async def test_simultaneous_creates_with_one_idempotency_key_reserve_once(
    database: Database,
) -> None:
    async with database.open() as one, database.open() as other:
        outcomes = await asyncio.gather(
            *(
                reserve(ledger, reservation(f"c{name}", idempotency_key="i"))
                for name, ledger in enumerate([one, other] * 6)
            )
        )
        assert sum(isinstance(outcome, Reserved) for outcome in outcomes) == 1
        assert sum(isinstance(outcome, Repeated) for outcome in outcomes) == 11


async def test_an_idempotency_key_is_free_after_a_day_and_after_a_refusal(ledger: Ledger) -> None:
    await reserve(ledger, reservation("c1", idempotency_key="i"))
    await record(ledger, "c1", "p1")
    just_before = reservation("c2", idempotency_key="i", at=NOW + creates.IDEMPOTENCY_S - 1)
    assert isinstance(await reserve(ledger, just_before), Repeated)
    after = reservation("c2", idempotency_key="i", at=NOW + creates.IDEMPOTENCY_S)
    assert isinstance(await reserve(ledger, after), Reserved)
    await ledger.write(lambda conn: creates.refuse(conn, "c2", NOW, 402))
    assert isinstance(await reserve(ledger, reservation("c3", idempotency_key="i")), Reserved)


async def test_a_retry_finds_the_attempt_whose_answer_was_not_delivered(ledger: Ledger) -> None:
    async def find(since: float = NOW - 600, key: str = "k1") -> str | None:
        row = await ledger.read(
            lambda conn: creates.find_joinable(conn, key, "models/owner/name", "body", since)
        )
        return None if row is None else row.id

    assert await find() is None
    await reserve(ledger, reservation("c1"))
    await reserve(ledger, reservation("c2", at=NOW + 1))
    assert await find() == "c1"
    await record(ledger, "c2", "p2")
    assert await find() == "c2"  # there is an answer to give
    assert await find(key="another") is None
    assert await find(since=NOW + 2) is None
    await ledger.write(lambda conn: creates.mark_delivered(conn, "c2", NOW))
    assert await find() == "c1"
    await ledger.write(lambda conn: creates.refuse(conn, "c1", NOW, 422))
    assert await find() is None


async def test_each_attempt_is_joined_at_most_once(database: Database) -> None:
    async with database.open() as one, database.open() as other:
        await reserve(one, reservation("c1"))
        taken_by = await asyncio.gather(
            *(
                ledger.write(lambda conn: creates.take_joinable(conn, "c1", NOW))
                for ledger in (one, other, one, other)
            )
        )
        assert sorted(taken_by) == [False, False, False, True]
        found = await one.read(
            lambda conn: creates.find_joinable(conn, "k1", "models/owner/name", "body", 0)
        )
        assert found is None


async def test_pruning_keeps_what_is_open_or_young(ledger: Ledger) -> None:
    for name, at in (("old", NOW), ("open", NOW), ("young", NOW + 10)):
        await reserve(ledger, reservation(name, at=at))
    await record(ledger, "old", "p1")
    await record(ledger, "young", "p2")
    assert await ledger.write(lambda conn: creates.prune(conn, before=NOW + 5)) == 1
    assert await ledger.read(lambda conn: creates.get(conn, "old")) is None
    assert await taken(ledger) == 3
    fresh = rule(limit=9)  # a counter made only now adds up to the same
    (standing,) = await ledger.read(lambda conn: quotas.standings(conn, [(fresh, "user:u1")], NOW))
    assert standing.taken == 3


async def test_an_unknown_cost_is_kept_as_unknown(ledger: Ledger) -> None:
    await reserve(ledger, reservation("c1", demand=Demand(1, 5, 1, 1, None)))
    row = await ledger.read(lambda conn: creates.get(conn, "c1"))
    assert row is not None
    assert row.demand.cost_nano is None


async def test_attempts_are_pruned_in_pieces_the_oldest_first(ledger: Ledger) -> None:
    for place in range(5):
        name = f"c{place}"
        await reserve(ledger, reservation(name, at=NOW + place))
        await ledger.write(partial(creates.refuse, create_id=name, now=NOW + 9, status=422))
    went = [
        await ledger.write(lambda conn: creates.prune(conn, before=NOW + 9, limit=2))
        for _ in range(2)
    ]
    left = [await ledger.read(partial(creates.get, create_id=f"c{n}")) for n in range(5)]
    assert (went, [row is not None for row in left]) == ([2, 2], [False] * 4 + [True])
