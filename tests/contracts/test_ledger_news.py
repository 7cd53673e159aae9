"""Webhooks' news, claims of the dead, doubts that admins see: the same on both engines."""

import asyncio
from dataclasses import replace
from functools import partial

from gateway.ledger import (
    Connection,
    Ledger,
    creates,
    files,
    outbox,
    predictions,
    streams,
    uploads,
    workers,
)
from gateway.ledger.outbox import OutboxEvent, Tell, Told
from tests.support.ledgers import (
    NOW,
    Database,
    database_fixture,
    deciding,
    ledger_fixture,
    prediction,
    reservation,
    settlement,
    snapshot,
)

FIXTURES = (database_fixture, ledger_fixture)
URL = "https://replicate.delivery/a.png"


def telling(word: str, heard: list[str | None] | None = None) -> Tell:
    """Tell a word, once: what was told before is remembered in the row."""

    def tell(before: str | None) -> Told:
        if heard is not None:
            heard.append(before)
        told = (before or "").split()
        if word in told:
            return Told(before or "")
        event = OutboxEvent(id=f"{word}-{len(told)}", event=word, url="https://h", body=b"{}")
        return Told(" ".join([*told, word]), [event])

    return tell


async def make(ledger: Ledger, name: str = "p1", *, tell: Tell | None = None) -> None:
    def write(conn: Connection) -> bool:
        creates.reserve(conn, reservation(f"c-{name}"), [], None, deciding())
        return creates.record(conn, f"c-{name}", prediction(name), [URL], NOW, tell=tell)

    assert await ledger.write(write)


async def queued(ledger: Ledger) -> list[str]:
    rows = await ledger.read(outbox.list_events)
    return sorted(row.event for row in rows)


async def test_news_is_queued_with_what_is_news_and_told_once(ledger: Ledger) -> None:
    heard: list[str | None] = []
    await make(ledger, tell=telling("start", heard))
    for at in (NOW + 1, NOW + 2):
        one = replace(snapshot(at=at), tell=telling("output", heard))
        assert await ledger.write(
            partial(predictions.store_snapshot, prediction_id="p1", snapshot=one)
        )
    end = replace(settlement(), tell=telling("completed", heard))
    assert await ledger.write(partial(predictions.settle, prediction_id="p1", settlement=end))
    assert not await ledger.write(partial(predictions.settle, prediction_id="p1", settlement=end))
    assert heard == [None, "start", "start output", "start output"]
    assert await queued(ledger) == ["completed", "output", "start"]


async def test_what_is_no_news_is_not_told(ledger: Ledger) -> None:
    await make(ledger)
    await ledger.write(
        partial(predictions.store_snapshot, prediction_id="p1", snapshot=snapshot(at=NOW + 9))
    )
    late = replace(snapshot("starting", at=NOW), tell=telling("output"))
    assert not await ledger.write(
        partial(predictions.store_snapshot, prediction_id="p1", snapshot=late)
    )
    assert await queued(ledger) == []


async def test_what_dead_workers_held_is_free_at_once(ledger: Ledger) -> None:
    await ledger.write(lambda conn: workers.beat(conn, "alive", NOW + 50))
    await ledger.write(lambda conn: workers.beat(conn, "dead", NOW))
    for name, by in (("p1", "dead"), ("p2", "alive")):
        await make(ledger, name)
        await ledger.write(
            partial(
                predictions.claim_look,
                prediction_id=name,
                now=NOW,
                not_newer_than=NOW,
                until=NOW + 999,
                by=by,
            )
        )
    await ledger.write(lambda conn: files.claim(conn, URL, NOW, NOW + 999, "dead"))
    event = OutboxEvent(id="e", event="completed", url="https://h", body=b"{}")
    await ledger.write(lambda conn: outbox.enqueue(conn, [event], NOW))
    await ledger.write(lambda conn: outbox.claim_due(conn, NOW, 9, NOW + 999, "dead"))

    def free(conn: Connection) -> int:
        return workers.free_claims_of_dead(conn, before=NOW + 20, now=NOW + 60)

    assert await ledger.write(free) == 3
    assert await ledger.write(free) == 0
    due = await ledger.read(lambda conn: predictions.due(conn, NOW + 60, 9))
    assert [row.id for row in due] == ["p1"]
    assert len(await ledger.read(lambda conn: files.wanted(conn, NOW + 60, 9))) == 1
    await ledger.write(lambda conn: workers.forget_old(conn, NOW + 20))
    assert await ledger.read(lambda conn: workers.dead_workers(conn, NOW + 999)) == ["alive"]


async def test_a_doubt_shows_what_it_may_have_become_until_it_is_assigned(ledger: Ledger) -> None:
    await ledger.write(lambda conn: creates.reserve(conn, reservation("c1"), [], None, deciding()))
    assert not await ledger.write(lambda conn: creates.assign(conn, "c1", "p1"))
    await ledger.write(lambda conn: creates.doubt(conn, "c1", NOW))
    await ledger.write(lambda conn: creates.note_candidates(conn, {"c1": ["p1", "p2"]}))
    await ledger.write(lambda conn: creates.note_candidates(conn, {}))
    assert await ledger.write(lambda conn: creates.assign(conn, "c1", "p2"))
    (doubt,) = await ledger.read(creates.doubts)
    assert (doubt.candidates, doubt.prediction_id) == ("p1 p2", "p2")
    assert await ledger.write(lambda conn: creates.adopt(conn, "c1", prediction("p2"), [], NOW))
    assert await ledger.read(creates.doubts) == []


async def test_files_that_a_user_uploaded_come_in_pages(ledger: Ledger) -> None:
    for number in range(5):
        row = uploads.UploadRow(
            f"f{number}", "acme", "u1", "u1", None, None, None, 1, NOW + number // 2, NOW + 99
        )
        await ledger.write(partial(uploads.add, upload=row))

    async def page(
        before: tuple[float, str] | None = None,
        after: tuple[float, str] | None = None,
        alive_at: float = NOW,
    ) -> list[str]:
        rows = await ledger.read(
            lambda conn: uploads.page(
                conn, "u1", alive_at=alive_at, before=before, after=after, limit=2
            )
        )
        return [row.file_id for row in rows]

    assert await page() == ["f4", "f3"]
    assert await page(before=(NOW + 1, "f3")) == ["f2", "f1"]
    assert await page(after=(NOW, "f0")) == ["f2", "f1"]
    assert await page(alive_at=NOW + 99) == []


async def test_one_worker_uploads_a_mirrored_file_again(database: Database) -> None:
    async with database.open() as one, database.open() as other:

        async def claim(ledger: Ledger, by: str, now: float = NOW) -> bool:
            return await ledger.write(
                lambda conn: uploads.claim_reupload(conn, URL, now=now, until=now + 60, by=by)
            )

        claims = await asyncio.gather(
            *(claim(ledger, f"w{number}") for number, ledger in enumerate([one, other] * 3))
        )
        assert sum(claims) == 1
        holder = f"w{claims.index(True)}"
        assert await claim(one, holder)
        await one.write(lambda conn: uploads.release_reupload(conn, URL, "somebody else"))
        assert not await claim(one, "next")
        await one.write(lambda conn: uploads.release_reupload(conn, URL, holder))
        assert await claim(one, "next")
        assert await claim(one, "last", NOW + 60)


async def test_only_the_one_who_reads_a_stream_logs_it_and_never_twice(ledger: Ledger) -> None:
    await ledger.write(lambda conn: streams.register(conn, "p1", "https://stream/a", NOW))

    async def log(by: str, after: int, *data: bytes, now: float = NOW, ended: bool = False) -> bool:
        events = [(None, "output", one) for one in data]
        return bool(
            await ledger.write(
                lambda conn: streams.log(
                    conn, "p1", by, events, after=after, now=now, until=now + 10, ended=ended
                )
            )
        )

    assert await log("w1", 0, b"a", b"b")
    assert not await log("w2", 2, b"c")
    assert not await log("w1", 1, b"b again")
    assert await log("w2", 2, b"c", now=NOW + 10, ended=True)
    events = await ledger.read(lambda conn: streams.events_after(conn, "p1", 0))
    assert [one.data for one in events] == [b"a", b"b", b"c"]
    progress = await ledger.read(lambda conn: streams.progress(conn, "p1"))
    assert progress is not None
    assert (progress.last_seq, progress.done_at) == (3, NOW + 10)
    assert await ledger.read(lambda conn: streams.progress(conn, "p2")) is None
