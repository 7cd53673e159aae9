"""Erasing predictions from the command line."""

from collections.abc import Callable, Iterable, Sequence
from functools import partial

from gateway.cli.session import Session
from gateway.cli.storage import opened_cache, opened_mirror
from gateway.flows.erase_predictions import ErasePredictions
from gateway.ledger import Connection, Ledger, predictions

_AT_ONCE = 200


def erase(session: Session, ids: Iterable[str]) -> list[str]:
    """Erase what these predictions hold; returns those that the ledger does not know."""

    async def work(ledger: Ledger) -> list[str]:
        async with opened_cache(session) as cache, opened_mirror(session) as mirror:
            flow = ErasePredictions(ledger, cache, mirror, session.clock)
            done = await flow(tuple(ids), _note(session, "predictions.delete"))
        return list(done.unknown)

    return session.run(work)


def purge(
    session: Session, user_id: str, progress: Callable[[int], None] = lambda count: None
) -> int:
    """Erase everything that a user made; returns how many predictions that were."""

    async def work(ledger: Ledger) -> int:
        count = 0
        async with opened_cache(session) as cache, opened_mirror(session) as mirror:
            flow = ErasePredictions(ledger, cache, mirror, session.clock)
            while ids := await _next(ledger, user_id):
                await flow(ids, _note(session, "users.remove"))
                count += len(ids)
                progress(len(ids))
        return count

    return session.run(work)


async def _next(ledger: Ledger, user_id: str) -> Sequence[str]:
    return await ledger.read(partial(predictions.ids_of, user_id=user_id, limit=_AT_ONCE))


def _note(session: Session, action: str) -> Callable[[Connection, str], None]:
    return lambda conn, prediction_id: session.note(conn, action, prediction_id)
