"""Pages of uploads, and who uploads a mirrored file again: the same on both engines."""

import asyncio
from functools import partial

from gateway.ledger import Ledger, uploads
from tests.support.ledgers import NOW, database_fixture, ledger_fixture

FIXTURES = (database_fixture, ledger_fixture)
URL = "https://replicate.delivery/a.png"


async def filled(ledger: Ledger) -> None:
    for number in range(5):
        for user in ("u1", "u2"):
            row = uploads.UploadRow(
                file_id=f"{user}-{number}",
                account="acme",
                user_id=user,
                user_name=user,
                team=None,
                name=None,
                content_type=None,
                size=1,
                # Two at one moment: then the id decides.
                created_at=NOW + number // 2,
                expires_at=None if number == 0 else NOW + 10 * number,
                document=b'{"n": 1.0}',
            )
            await ledger.write(partial(uploads.add, upload=row))


async def page(ledger: Ledger, **which: object) -> list[str]:
    rows = await ledger.read(
        lambda conn: uploads.page(conn, "u1", **{"alive_at": NOW, **which})  # type: ignore[arg-type]  # the test's own shorthand
    )
    assert all(row.document == b'{"n": 1.0}' for row in rows)
    return [row.file_id for row in rows]


async def test_pages_hold_ones_own_newest_first_in_both_directions(ledger: Ledger) -> None:
    await filled(ledger)
    assert await page(ledger) == ["u1-4", "u1-3", "u1-2", "u1-1", "u1-0"]
    assert await page(ledger, limit=2) == ["u1-4", "u1-3"]
    assert await page(ledger, before=(NOW + 1, "u1-3"), limit=2) == ["u1-2", "u1-1"]
    assert await page(ledger, after=(NOW, "u1-1"), limit=2) == ["u1-3", "u1-2"]


async def test_pages_leave_out_what_has_expired(ledger: Ledger) -> None:
    await filled(ledger)
    assert await page(ledger, alive_at=NOW + 20) == ["u1-4", "u1-3", "u1-0"]


async def test_one_worker_at_a_time_uploads_again(ledger: Ledger) -> None:
    async def claim(by: str, now: float) -> bool:
        return await ledger.write(
            lambda conn: uploads.claim_reupload(conn, URL, now=now, until=now + 30, by=by)
        )

    won = await asyncio.gather(*(claim(f"w{number}", NOW) for number in range(10)))
    assert won.count(True) == 1
    holder = f"w{won.index(True)}"
    assert await claim(holder, NOW + 20), "the holder renews"
    assert not await claim("other", NOW + 49)
    assert await claim("other", NOW + 50), "a dead holder's claim runs out"
    await ledger.write(lambda conn: uploads.release_reupload(conn, URL, holder))
    assert not await claim(holder, NOW + 51), "somebody else's claim is not given back"
    await ledger.write(lambda conn: uploads.release_reupload(conn, URL, "other"))
    assert await claim(holder, NOW + 52)
