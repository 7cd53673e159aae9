"""Erasing predictions from the command line: rows first, then the copies and the bytes."""

from collections.abc import Iterable
from functools import partial

from gateway.cache import Cache
from gateway.cli.session import Session
from gateway.domain.endings import removed
from gateway.domain.sources import SourceRefused, SourceUnreachable
from gateway.flows.observe import cache_key
from gateway.ledger import Connection, Ledger, bump, predictions
from gateway.mirror import Mirror
from gateway.settings import Settings
from gateway.upstream import Downloads
from gateway.workers import Tasks

_AT_ONCE = 200


def erase(session: Session, ids: Iterable[str]) -> list[str]:
    """Erase what these predictions hold; returns those that the ledger does not know."""

    async def work(ledger: Ledger) -> list[str]:
        return await _erase(session, ledger, tuple(ids), "predictions.delete")

    return session.run(work)


def purge(session: Session, user_id: str) -> int:
    """Erase everything that a user made; returns how many predictions that were."""

    async def work(ledger: Ledger) -> int:
        count = 0
        while ids := await ledger.read(
            partial(predictions.ids_of, user_id=user_id, limit=_AT_ONCE)
        ):
            await _erase(session, ledger, tuple(ids), "users.remove")
            count += len(ids)
        return count

    return session.run(work)


async def _erase(session: Session, ledger: Ledger, ids: tuple[str, ...], action: str) -> list[str]:
    now = session.clock.now()

    def work(conn: Connection) -> tuple[list[str], list[str]]:
        unknown: list[str] = []
        urls: list[str] = []
        for prediction_id in ids:
            body = predictions.document(conn, prediction_id)
            erased = predictions.erase(
                conn, prediction_id, now, None if body is None else removed(body)
            )
            if erased is None:
                unknown.append(prediction_id)
            else:
                urls += erased.urls
                session.note(conn, action, prediction_id)
        # Running workers forget what they remember when the revision grows.
        bump(conn)
        return unknown, urls

    unknown, urls = await ledger.write(work, durable=True)
    known = [prediction_id for prediction_id in ids if prediction_id not in unknown]
    await _drop_copies(session, session.settings, known, urls)
    return unknown


async def _drop_copies(
    session: Session, settings: Settings, ids: Iterable[str], urls: Iterable[str]
) -> None:
    folder, clock = settings.storage.data_dir, session.clock
    cache = Cache(folder / "cache", settings.cache.max_bytes, clock=clock)
    try:
        for prediction_id in ids:
            await cache.delete(cache_key(prediction_id))
    finally:
        await cache.close()
    tasks = Tasks(clock)
    nowhere = Downloads((), connect_timeout_s=1, read_timeout_s=1)  # nothing is fetched here
    mirror = Mirror(
        folder / "mirror",
        nowhere,
        clock,
        settings.mirror.max_file_bytes,
        tasks.spawn,
        faults=(SourceUnreachable, SourceRefused),
    )
    async with mirror:
        for url in urls:
            await mirror.delete(url)
    await tasks.close(0)
