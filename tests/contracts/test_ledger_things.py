"""Files, webhooks, streams, uploads, versions, allowance, audit: the same on both engines."""

import asyncio
from dataclasses import replace
from functools import partial

from gateway.ledger import (
    Connection,
    Ledger,
    allowance,
    audit,
    creates,
    files,
    outbox,
    streams,
    uploads,
    versions,
)
from gateway.ledger.outbox import OutboxEvent
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
URL = "https://replicate.delivery/a.png"


async def make(ledger: Ledger, name: str, *urls: str, user: str = "u1") -> None:
    asked = reservation(f"c-{name}", user=user, team="red")
    await ledger.write(lambda conn: creates.reserve(conn, asked, [], None, deciding()))
    await ledger.write(lambda conn: creates.record(conn, asked.id, prediction(name), urls, NOW))


async def file(ledger: Ledger, url: str = URL) -> files.FileRow:
    found = await ledger.read(lambda conn: files.known(conn, url))
    assert found is not None
    return found


async def test_a_file_is_known_with_everybody_whose_it_is(ledger: Ledger) -> None:
    assert await ledger.read(lambda conn: files.known(conn, URL)) is None
    await make(ledger, "p1", URL)
    await make(ledger, "p2", URL, user="u2")
    known = await file(ledger)
    assert known.state == "wanted"
    assert set(known.prediction_ids) == {"p1", "p2"}
    assert known.user_ids == {"u1", "u2"}
    assert {owner.team for owner in known.owners} == {"red"}
    assert [row.url for row in await ledger.read(lambda conn: files.files_of(conn, "p2"))] == [URL]


async def test_a_file_is_fetched_by_one_at_a_time(database: Database) -> None:
    async with database.open() as one, database.open() as other:
        await make(one, "p1", URL)
        claims = await asyncio.gather(
            *(
                ledger.write(
                    partial(files.claim, url=URL, now=NOW, until=NOW + 60, by=f"w{number}")
                )
                for number, ledger in enumerate([one, other] * 4)
            )
        )
        assert sum(claims) == 1
        assert await one.read(lambda conn: files.wanted(conn, NOW, 10)) == []
        assert len(await one.read(lambda conn: files.wanted(conn, NOW + 60, 10))) == 1
        await one.write(lambda conn: files.release(conn, URL, f"w{claims.index(True)}"))
        assert len(await one.read(lambda conn: files.wanted(conn, NOW, 10))) == 1


async def test_a_file_that_cannot_be_fetched_is_tried_again_later(ledger: Ledger) -> None:
    await make(ledger, "p1", URL)
    await ledger.write(lambda conn: files.claim(conn, URL, NOW, NOW + 60, "w1"))
    await ledger.write(lambda conn: files.failed(conn, URL, NOW + 5, "broke off"))
    assert await ledger.read(lambda conn: files.wanted(conn, NOW + 4, 10)) == []
    (again,) = await ledger.read(lambda conn: files.wanted(conn, NOW + 5, 10))
    assert (again.attempts, again.last_error) == (1, "broke off")


async def test_a_stored_file_is_wanted_no_more_and_known_by_its_facts(ledger: Ledger) -> None:
    await make(ledger, "p1", URL, "https://replicate.delivery/b.png")
    assert await ledger.write(
        lambda conn: files.stored(conn, URL, 12, "image/png", '"e"', "ab", NOW)
    )
    stored = await file(ledger)
    assert (stored.state, stored.size, stored.content_type) == ("stored", 12, "image/png")
    assert (stored.etag, stored.sha256, stored.stored_at) == ('"e"', "ab", NOW)
    await ledger.write(lambda conn: files.register(conn, "p1", [URL], NOW + 9))
    assert (await file(ledger)).state == "stored"
    assert not await ledger.write(lambda conn: files.claim(conn, URL, NOW, NOW + 60, "w1"))
    totals = await ledger.read(files.stats)
    assert totals.counts == {"stored": 1, "wanted": 1}
    assert totals.stored_bytes == 12


async def test_a_file_that_is_gone_stays_gone(ledger: Ledger) -> None:
    await make(ledger, "p1", URL)
    await ledger.write(lambda conn: files.gone(conn, URL, "pruned"))
    assert not await ledger.write(lambda conn: files.stored(conn, URL, 1, None, None, None, NOW))
    await ledger.write(lambda conn: files.register(conn, "p1", [URL], NOW))
    await ledger.write(lambda conn: files.failed(conn, URL, NOW))
    assert (await file(ledger)).state == "gone"


async def test_a_file_too_large_to_keep_is_passed_on(ledger: Ledger) -> None:
    await make(ledger, "p1", URL)
    await ledger.write(lambda conn: files.passed(conn, URL, "too large"))
    assert (await file(ledger)).state == "passed"
    assert await ledger.read(lambda conn: files.wanted(conn, NOW + 99, 10)) == []


async def test_the_oldest_stored_files_come_first_when_space_is_needed(ledger: Ledger) -> None:
    urls = [f"https://replicate.delivery/{name}" for name in "abc"]
    await make(ledger, "p1", *urls)
    for url, at in zip(urls, (NOW + 3, NOW + 1, NOW + 2), strict=True):
        await ledger.write(
            partial(
                files.stored, url=url, size=1, content_type=None, etag=None, sha256=None, now=at
            )
        )
    oldest = await ledger.read(lambda conn: files.oldest_stored(conn, NOW + 3, 10))
    assert [row.url[-1] for row in oldest] == ["b", "c"]
    paged = await ledger.read(lambda conn: files.after(conn, urls[0], 1))
    assert [row.url for row in paged] == [urls[1]]


def event(name: str, **more: str) -> OutboxEvent:
    return OutboxEvent(
        id=name, event="completed", url="https://hook", body=b"{}", user_id="u1", **more
    )


async def test_an_event_is_queued_once_however_often_it_is_told(ledger: Ledger) -> None:
    async def enqueue(*events: OutboxEvent) -> int:
        return await ledger.write(lambda conn: outbox.enqueue(conn, events, NOW))

    assert await enqueue(event("e1", once="p1 completed"), event("e2")) == 2
    assert await enqueue(event("e3", once="p1 completed"), event("e2"), event("e4")) == 1
    assert (await ledger.read(outbox.stats)).pending == 3


async def test_a_due_event_is_delivered_by_one(database: Database) -> None:
    async with database.open() as one, database.open() as other:
        await one.write(
            lambda conn: outbox.enqueue(conn, [event(f"e{number}") for number in range(9)], NOW)
        )
        taken = await asyncio.gather(
            *(
                ledger.write(lambda conn: outbox.claim_due(conn, NOW, 2, NOW + 60, "w"))
                for ledger in [one, other] * 5
            )
        )
        ids = [row.id for rows in taken for row in rows]
        assert len(ids) == len(set(ids))
        rest = await one.write(lambda conn: outbox.claim_due(conn, NOW, 10, NOW + 60, "w"))
        assert len(ids) + len(rest) == 9
        # Whoever took them has died: somebody else's turn.
        late = await one.write(lambda conn: outbox.claim_due(conn, NOW + 60, 10, NOW + 120, "w"))
        assert len(late) == 9


async def test_an_event_ends_delivered_or_as_a_dead_letter_that_can_be_retried(
    ledger: Ledger,
) -> None:
    await ledger.write(lambda conn: outbox.enqueue(conn, [event("e1"), event("e2")], NOW))

    async def due(now: float) -> list[str]:
        rows = await ledger.write(lambda conn: outbox.claim_due(conn, now, 10, now + 60, "w"))
        return [row.id for row in rows]

    assert await due(NOW) == ["e1", "e2"]
    await ledger.write(lambda conn: outbox.delivered(conn, "e1", NOW + 1, 200))
    await ledger.write(lambda conn: outbox.failed(conn, "e2", NOW + 5, "said 500", 500))
    assert await due(NOW + 4) == []
    assert await due(NOW + 5) == ["e2"]
    await ledger.write(lambda conn: outbox.dead(conn, "e2", NOW + 6, "said 500 again", 500))
    assert await due(NOW + 999) == []
    assert await ledger.read(outbox.stats) == outbox.OutboxStats(0, None, 1)
    (letter,) = await ledger.read(lambda conn: outbox.list_events(conn, state="dead"))
    assert (letter.id, letter.attempts, letter.last_status) == ("e2", 2, 500)
    assert letter.state == "dead"
    done = await ledger.read(lambda conn: outbox.get(conn, "e1"))
    assert done is not None
    assert done.state == "delivered"
    assert await ledger.write(lambda conn: outbox.retry(conn, NOW + 1000, "e1")) == 0
    assert await ledger.write(lambda conn: outbox.retry(conn, NOW + 1000)) == 1
    assert await due(NOW + 1000) == ["e2"]
    # A late word about what is delivered changes nothing.
    await ledger.write(lambda conn: outbox.failed(conn, "e1", NOW, "late"))
    pruned = await ledger.write(
        lambda conn: outbox.prune(conn, delivered_before=NOW + 1, dead_before=NOW + 1)
    )
    assert pruned == 1
    assert [row.id for row in await ledger.read(outbox.list_events)] == ["e2"]


async def test_a_stream_is_read_upstream_by_one_and_replayed_to_all(ledger: Ledger) -> None:
    await ledger.write(lambda conn: streams.register(conn, "p1", "https://stream/a", NOW))

    async def claim(by: str, now: float) -> bool:
        return await ledger.write(lambda conn: streams.claim(conn, "p1", now, now + 10, by))

    assert await claim("w1", NOW)
    assert await claim("w1", NOW + 5)
    assert not await claim("w2", NOW + 14)
    assert await claim("w2", NOW + 15)
    await ledger.write(lambda conn: streams.release(conn, "p1", "w2"))
    assert await claim("w1", NOW + 16)
    events = [("1-0", "output", b"Hel"), ("2-0", "output", b"lo"), (None, None, b"x")]
    assert await ledger.write(lambda conn: streams.append(conn, "p1", events[:2], NOW)) == 2
    assert await ledger.write(lambda conn: streams.append(conn, "p1", events[2:], NOW)) == 3
    assert await ledger.write(lambda conn: streams.append(conn, "p1", [], NOW)) == 3
    logged = await ledger.read(lambda conn: streams.events_after(conn, "p1", 0))
    assert [(one.event_id, one.event, one.data) for one in logged] == events
    place = await ledger.read(lambda conn: streams.seq_of(conn, "p1", "1-0"))
    assert place == 1
    assert await ledger.read(lambda conn: streams.seq_of(conn, "p1", "9-0")) is None
    rest = await ledger.read(lambda conn: streams.events_after(conn, "p1", 1))
    assert [one.seq for one in rest] == [2, 3]
    await ledger.write(lambda conn: streams.done(conn, "p1", NOW + 20))
    assert not await claim("w1", NOW + 99)
    row = await ledger.read(lambda conn: streams.get(conn, "p1"))
    assert row is not None
    assert row.done_at == NOW + 20
    assert "https" not in repr(row)
    assert await ledger.write(lambda conn: streams.prune(conn, NOW + 1)) == 3


async def test_uploads_belong_to_who_made_them(ledger: Ledger) -> None:
    def upload(name: str, user: str, team: str | None, at: float) -> uploads.UploadRow:
        return uploads.UploadRow(
            name, "acme", user, user, team, "a.png", "image/png", 5, at, at + 86_400
        )

    mine, ours, theirs = (
        upload("f1", "u1", "red", NOW),
        upload("f2", "u2", "red", NOW + 1),
        upload("f3", "u3", None, NOW + 2),
    )
    for one in (mine, ours, theirs):
        await ledger.write(partial(uploads.add, upload=one))
    assert await ledger.read(lambda conn: uploads.get(conn, "f1")) == mine
    assert await ledger.read(lambda conn: uploads.list_uploads(conn, user_id="u1")) == [mine]
    assert await ledger.read(lambda conn: uploads.list_uploads(conn, team="red")) == [ours, mine]
    assert await ledger.read(lambda conn: uploads.known(conn, ["f3", "f9"])) == {"f3": theirs}
    assert await ledger.write(lambda conn: uploads.remove(conn, "f1"))
    assert not await ledger.write(lambda conn: uploads.remove(conn, "f1"))
    assert await ledger.read(lambda conn: uploads.get(conn, "f1")) is None


async def test_a_reupload_is_reused_while_it_lives(ledger: Ledger) -> None:
    first = uploads.Reupload(URL, "f1", "https://api/f1", NOW + 100)
    await ledger.write(lambda conn: uploads.reuploaded(conn, first))
    assert await ledger.read(lambda conn: uploads.reusable(conn, URL, NOW + 99)) == first
    assert await ledger.read(lambda conn: uploads.reusable(conn, URL, NOW + 100)) is None
    second = uploads.Reupload(URL, "f2", "https://api/f2", NOW + 200)
    await ledger.write(lambda conn: uploads.reuploaded(conn, second))
    assert await ledger.read(lambda conn: uploads.reusable(conn, URL, NOW)) == second
    assert await ledger.write(lambda conn: uploads.prune(conn, NOW + 201)) == 1


async def test_a_versions_model_is_what_was_seen_last(ledger: Ledger) -> None:
    await ledger.write(lambda conn: versions.seen(conn, {"v1": "a/b", "v2": "c/d"}, NOW))
    await ledger.write(lambda conn: versions.seen(conn, {"v1": "a/renamed"}, NOW + 1))
    await ledger.write(lambda conn: versions.seen(conn, {}, NOW + 1))
    assert await ledger.read(lambda conn: versions.model_of(conn, "v1")) == "a/renamed"
    assert await ledger.read(lambda conn: versions.model_of(conn, "v2")) == "c/d"
    assert await ledger.read(lambda conn: versions.model_of(conn, "v3")) is None


async def test_buckets_are_changed_by_one_at_a_time(database: Database) -> None:
    full = allowance.BucketRow(10.0, NOW, 60.0, 0.0, 0.0)

    def take(conn: Connection) -> bool:
        bucket = allowance.held(conn, "create") or full
        if bucket.tokens >= 1:
            allowance.put(conn, "create", replace(bucket, tokens=bucket.tokens - 1))
        return bucket.tokens >= 1

    async with database.open() as one, database.open() as other:
        taken = await asyncio.gather(*(ledger.write(take) for ledger in [one, other] * 10))
        assert sum(taken) == 10
        assert await one.write(lambda conn: allowance.held(conn, "request")) is None


async def test_the_audit_lists_what_was_done_newest_first(ledger: Ledger) -> None:
    for number in range(3):
        await ledger.write(
            partial(
                audit.add,
                at=NOW + number,
                actor="root",
                action="keys.revoke",
                subject=f"k{number}",
                detail={"why": "lost"},
            )
        )
    entries = await ledger.read(lambda conn: audit.entries(conn, limit=2))
    assert [(one.subject, one.detail) for one in entries] == [
        ("k2", {"why": "lost"}),
        ("k1", {"why": "lost"}),
    ]
    older = await ledger.read(lambda conn: audit.entries(conn, before_id=entries[-1].id))
    assert [one.subject for one in older] == ["k0"]
    assert await ledger.write(lambda conn: audit.prune(conn, NOW + 2)) == 2
