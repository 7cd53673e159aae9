"""Following, settling, listing and erasing predictions: the same on both engines."""

import asyncio
from functools import partial

import pytest

from gateway.domain.usage import Usage
from gateway.ledger import (
    Ledger,
    files,
    outbox,
    predictions,
    quotas,
    streams,
    totals,
)
from gateway.ledger.outbox import OutboxEvent
from gateway.ledger.predictions import Cursor, Filter
from tests.contracts.made_predictions import make, settle, shown, store
from tests.support.ledgers import (
    NOW,
    Database,
    database_fixture,
    ledger_fixture,
    rule,
    settlement,
    snapshot,
)

FIXTURES = (database_fixture, ledger_fixture)
DAY_S = 86_400
URL = "https://replicate.delivery/a.png"


async def test_an_unknown_prediction_is_none(ledger: Ledger) -> None:
    assert await ledger.read(lambda conn: predictions.get(conn, "p1")) is None
    assert await ledger.read(lambda conn: predictions.document(conn, "p1")) is None
    assert await ledger.read(lambda conn: predictions.get_with_document(conn, "p1")) is None
    assert not await store(ledger, snapshot())
    assert not await settle(ledger)


async def test_one_of_many_who_ask_at_once_gets_to_look(database: Database) -> None:
    async with database.open() as one, database.open() as other:
        await make(one)
        claims = await asyncio.gather(
            *(
                ledger.write(
                    partial(
                        predictions.claim_look,
                        prediction_id="p1",
                        now=NOW,
                        not_newer_than=NOW,
                        until=NOW + 30,
                        by=f"w{number}",
                    )
                )
                for number, ledger in enumerate([one, other] * 5)
            )
        )
        assert sum(claims) == 1


async def test_a_claim_ends_by_time_by_release_and_with_the_snapshot(ledger: Ledger) -> None:
    await make(ledger)

    async def claim(now: float, by: str = "w1", not_newer_than: float | None = None) -> bool:
        limit = now if not_newer_than is None else not_newer_than
        return await ledger.write(
            lambda conn: predictions.claim_look(
                conn, "p1", now=now, not_newer_than=limit, until=now + 30, by=by
            )
        )

    assert await claim(NOW)
    assert not await claim(NOW + 29, "w2")
    assert await claim(NOW + 30, "w2")
    await ledger.write(lambda conn: predictions.release_look(conn, "p1", by="w1"))
    assert not await claim(NOW + 31, "w3")  # w1 has no say any more
    await ledger.write(lambda conn: predictions.release_look(conn, "p1", by="w2"))
    assert await claim(NOW + 31, "w3")
    # Given back, but not to be taken before the interval is over.
    await ledger.write(lambda conn: predictions.release_look(conn, "p1", by="w3", until=NOW + 31.5))
    assert not await claim(NOW + 31.4)
    assert await claim(NOW + 31.5)
    assert await store(ledger, snapshot(at=NOW + 32))
    assert not await claim(NOW + 32.2, not_newer_than=NOW + 31.7)  # young enough
    assert await claim(NOW + 32.6, not_newer_than=NOW + 32.1)
    await settle(ledger)
    assert not await claim(NOW + 100)


async def test_snapshots_never_move_backwards(ledger: Ledger) -> None:
    await make(ledger)
    assert await store(ledger, snapshot("processing", at=NOW + 5, document=b"5"))
    assert not await store(ledger, snapshot("starting", at=NOW + 9, document=b"9"))
    assert not await store(ledger, snapshot("processing", at=NOW + 4, document=b"4"))
    assert await shown(ledger) == ("processing", b"5")
    assert await store(ledger, snapshot("processing", at=NOW + 5, document=b"5 again"))
    await settle(ledger, settlement(document=b"end"))
    assert not await store(ledger, snapshot("processing", at=NOW + 99, document=b"late"))
    assert await shown(ledger) == ("succeeded", b"end")


async def test_a_snapshot_registers_its_files_and_moves_the_next_look(ledger: Ledger) -> None:
    await make(ledger)
    assert await ledger.read(lambda conn: predictions.due(conn, NOW, 10)) == []
    (row,) = await ledger.read(lambda conn: predictions.due(conn, NOW + 1, 10))
    assert row.id == "p1"
    await store(ledger, snapshot(at=NOW + 1, next_look_at=NOW + 3, files=[URL]))
    assert await ledger.read(lambda conn: files.known(conn, URL)) is not None
    assert await ledger.read(lambda conn: predictions.due(conn, NOW + 2.9, 10)) == []
    assert await ledger.read(predictions.next_due) == NOW + 3
    await ledger.write(lambda conn: predictions.look_at(conn, "p1", NOW + 2))
    assert len(await ledger.read(lambda conn: predictions.due(conn, NOW + 2, 10))) == 1
    await ledger.write(
        lambda conn: predictions.claim_look(
            conn, "p1", now=NOW + 2, not_newer_than=NOW + 2, until=NOW + 9, by="w1"
        )
    )
    assert await ledger.read(lambda conn: predictions.due(conn, NOW + 2, 10)) == []
    await settle(ledger)
    assert await ledger.read(lambda conn: predictions.due(conn, NOW + 99, 10)) == []
    assert await ledger.read(predictions.next_due) is None


async def test_many_who_settle_at_once_settle_once(database: Database) -> None:
    async with database.open() as one, database.open() as other:
        await make(one)
        event = OutboxEvent(id="e1", event="completed", url="https://hook", body=b"{}", once="p1")
        ends = [
            predictions.Settlement(
                document=b"end %d" % number,
                status="succeeded",
                rank=2,
                at=NOW,
                usage=Usage(1_000_000),
                cost_nano=5,
                files=[f"https://replicate.delivery/{number}.png"],
                events=[event],
            )
            for number in range(8)
        ]
        settled = await asyncio.gather(
            *(settle(ledger, end) for ledger, end in zip([one, other] * 4, ends, strict=True))
        )
        assert sum(settled) == 1
        winner = settled.index(True)
        assert await shown(one) == ("succeeded", b"end %d" % winner)
        (total,) = await one.read(lambda conn: totals.daily(conn, 0, 10**6))
        assert (total.predictions, total.predict_us, total.cost_nano) == (1, 1_000_000, 5)
        (file,) = await one.read(lambda conn: files.files_of(conn, "p1"))
        assert file.url.endswith(f"/{winner}.png")
        assert (await one.read(outbox.stats)).pending == 1


async def test_a_settled_row_says_when_and_how_it_ended(ledger: Ledger) -> None:
    await make(ledger)
    end = predictions.Settlement(
        document=b"{}",
        status="failed",
        rank=2,
        at=NOW + 9,
        started_at=NOW + 1,
        completed_at=NOW + 8,
        usage=Usage(7, 1, 2, 3),
        cost_nano=None,
    )
    assert await settle(ledger, end)
    row = await ledger.read(lambda conn: predictions.get(conn, "p1"))
    assert row is not None
    assert (row.status, row.settled_at, row.snapshot_at) == ("failed", NOW + 9, NOW + 9)
    assert (row.started_at, row.completed_at) == (NOW + 1, NOW + 8)
    assert (row.predict_us, row.images, row.tokens_in, row.tokens_out) == (7, 1, 2, 3)
    assert row.cost_nano is None


async def test_how_long_upstream_has_not_known_a_prediction_counts_from_the_first_time(
    ledger: Ledger,
) -> None:
    await make(ledger)

    async def missing(at: float) -> float:
        return await ledger.write(lambda conn: predictions.note_missing(conn, "p1", at))

    assert await missing(NOW + 1) == NOW + 1
    assert await missing(NOW + 2) == NOW + 1
    await store(ledger, snapshot(at=NOW + 3))  # it was there after all
    assert await missing(NOW + 4) == NOW + 4


async def test_pages_go_from_the_newest_to_the_oldest_and_back(ledger: Ledger) -> None:
    for number in range(7):
        # Two of each moment: the id decides.
        await make(ledger, f"p{number}", at=NOW + number // 2)
    await make(ledger, "theirs", user="u2")
    await make(ledger, "training", kind="training")
    which = Filter(user_id="u1", kind="prediction")

    async def page(before: Cursor | None = None, after: Cursor | None = None) -> list[str]:
        found = await ledger.read(
            lambda conn: predictions.page(conn, which, before=before, after=after, limit=3)
        )
        assert all(body == b'{"status":"starting"}' for _, body in found)
        return [row.id for row, _ in found]

    assert await page() == ["p6", "p5", "p4"]
    assert await page(before=Cursor(NOW + 2, "p4")) == ["p3", "p2", "p1"]
    assert await page(before=Cursor(NOW, "p1")) == ["p0"]
    assert await page(after=Cursor(NOW, "p0")) == ["p3", "p2", "p1"]
    assert await page(after=Cursor(NOW + 3, "p6")) == []


@pytest.mark.parametrize(
    ("which", "expected"),
    [
        (Filter(), ["c", "b", "a"]),
        (Filter(user_id="u2"), ["b"]),
        (Filter(team="red"), ["c", "a"]),
        (Filter(model="other/model"), ["c"]),
        (Filter(source="web"), ["b"]),
        (Filter(source="api"), ["c", "a"]),
        (Filter(status="succeeded"), ["a"]),
        (Filter(running=True), ["c", "b"]),
        (Filter(running=False), ["a"]),
        (Filter(removed=True), []),
        (Filter(removed=False, kind="training"), ["c"]),
        (Filter(created_after=NOW + 1), ["c", "b"]),
        (Filter(created_before=NOW + 1), ["a"]),
        (Filter(created_after=NOW + 1, created_before=NOW + 2), ["b"]),
    ],
)
async def test_lists_can_be_narrowed(ledger: Ledger, which: Filter, expected: list[str]) -> None:
    await make(ledger, "a", at=NOW, team="red")
    await make(ledger, "b", at=NOW + 1, user="u2", source="web")
    await make(
        ledger, "c", at=NOW + 2, team="red", kind="training", model="other/model", source=None
    )
    await settle(ledger, name="a")
    found = await ledger.read(lambda conn: predictions.page(conn, which))
    assert [row.id for row, _ in found] == expected
    assert [row.id for row in await ledger.read(lambda conn: predictions.rows(conn, which))] == (
        expected
    )


async def test_erasing_leaves_no_content_but_every_charge(ledger: Ledger) -> None:
    shared = "https://replicate.delivery/shared.png"
    await make(ledger, "p1", files=(URL, shared))
    await make(ledger, "p2", files=(shared,))
    await settle(ledger, settlement(files=[URL]))
    event = OutboxEvent(id="e", event="completed", url="https://h", body=b"x", prediction_id="p1")
    await ledger.write(lambda conn: outbox.enqueue(conn, [event], NOW))
    await ledger.write(lambda conn: streams.register(conn, "p1", "https://stream/x", NOW))
    await ledger.write(lambda conn: streams.append(conn, "p1", [("1", "output", b"x")], NOW))
    before = await ledger.read(lambda conn: totals.daily(conn, 0, 10**6))

    erased = await ledger.write(lambda conn: predictions.erase(conn, "p1", NOW + 9, b"removed"))
    assert erased == predictions.Erased((URL,))  # the other file is still p2's
    row, body = await _known(ledger)
    assert (row.removed_at, body) == (NOW + 9, b"removed")
    for url, state in ((URL, "gone"), (shared, "wanted")):
        file = await ledger.read(partial(files.known, url=url))
        assert file is not None
        assert file.state == state
    assert await ledger.read(lambda conn: outbox.get(conn, "e")) is None
    assert await ledger.read(lambda conn: streams.get(conn, "p1")) is None
    assert await ledger.read(lambda conn: streams.events_after(conn, "p1", 0)) == []
    assert await ledger.read(lambda conn: totals.daily(conn, 0, 10**6)) == before
    standing = await ledger.read(lambda conn: quotas.standings(conn, [(rule(), "user:u1")], NOW))
    assert standing[0].taken == 2

    again = await ledger.write(lambda conn: predictions.erase(conn, "p1", NOW + 99))
    assert again == predictions.Erased(())
    row, body = await _known(ledger)
    assert (row.removed_at, body) == (NOW + 9, b"{}")
    assert await ledger.write(lambda conn: predictions.erase(conn, "nothing", NOW)) is None


async def test_one_that_is_erased_while_it_runs_is_charged_but_not_kept(ledger: Ledger) -> None:
    await make(ledger)
    await ledger.write(lambda conn: predictions.erase(conn, "p1", NOW))
    assert not await store(ledger, snapshot(files=[URL], document=b"secret"))
    assert await settle(ledger, settlement(document=b"secret", files=[URL]))
    row, body = await _known(ledger)
    assert (row.status, row.predict_us, body) == ("succeeded", 2_000_000, b"{}")
    assert await ledger.read(lambda conn: files.known(conn, URL)) is None
    assert len(await ledger.read(lambda conn: totals.daily(conn, 0, 10**6))) == 1


async def _known(ledger: Ledger) -> tuple[predictions.Row, bytes]:
    known = await ledger.read(lambda conn: predictions.get_with_document(conn, "p1"))
    assert known is not None
    return known


async def test_what_is_finished_for_long_enough_expires_oldest_first(ledger: Ledger) -> None:
    for name, at in (("p1", NOW + 5), ("p2", NOW + 1), ("p3", NOW + 9)):
        await make(ledger, name)
        await settle(ledger, settlement(at=at), name)
    await make(ledger, "running")

    async def expired() -> list[str]:
        return await ledger.read(lambda conn: predictions.expired(conn, NOW + 6, 10))

    assert await expired() == ["p2", "p1"]
    await ledger.write(lambda conn: predictions.erase(conn, "p2", NOW + 10))
    assert await expired() == ["p1"]
    assert set(await ledger.read(lambda conn: predictions.ids_of(conn, "u1"))) == {
        "p1",
        "p3",
        "running",
    }


async def test_what_was_announced_is_remembered(ledger: Ledger) -> None:
    await make(ledger)
    await ledger.write(lambda conn: predictions.set_announced(conn, "p1", "start"))
    row = await ledger.read(lambda conn: predictions.get(conn, "p1"))
    assert row is not None
    assert row.announced == "start"
