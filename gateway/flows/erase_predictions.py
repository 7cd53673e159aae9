"""Erase what predictions hold: rows first, then the copies, then the bytes. Totals stay."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gateway.cache import Cache
from gateway.clock import Clock
from gateway.domain.endings import removed
from gateway.flows.observe import cache_key
from gateway.ledger import Connection, Ledger, bump, predictions
from gateway.mirror import Mirror

_log = logging.getLogger(__name__)

Note = Callable[[Connection, str], None]
"""Writes into the audit that this prediction was erased, in the same transaction."""


def unnoted(_conn: Connection, _prediction_id: str) -> None:
    """Write nothing: their time was over."""


@dataclass(frozen=True, slots=True)
class Erasure:
    """What became of it: ids that were erased, ids that nobody knows, files whose bytes went."""

    erased: tuple[str, ...]
    unknown: tuple[str, ...]
    files: int


class ErasePredictions:
    """Erases documents, files, webhooks and streams of predictions.

    What runs on is followed to its end for its charges; nothing else of it is kept. Files that
    belong to another prediction as well stay. Every worker forgets its copies within a second,
    because the revision grows (``ForgetErased``).
    """

    def __init__(self, ledger: Ledger, cache: Cache, mirror: Mirror, clock: Clock) -> None:
        self._ledger = ledger
        self._cache = cache
        self._mirror = mirror
        self._clock = clock

    async def __call__(
        self, ids: Sequence[str], note: Note = unnoted, *, keep_files: bool = False
    ) -> Erasure:
        """Erase them; twice is harmless."""
        now = self._clock.now()

        def work(conn: Connection) -> tuple[list[str], list[str], list[str]]:
            erased: list[str] = []
            unknown: list[str] = []
            urls: list[str] = []
            for prediction_id in ids:
                body = predictions.document(conn, prediction_id)
                rest = None if body is None else removed(body)
                gone = predictions.erase(conn, prediction_id, now, rest, keep_files=keep_files)
                if gone is None:
                    unknown.append(prediction_id)
                    continue
                erased.append(prediction_id)
                urls += gone.urls
                note(conn, prediction_id)
            if erased:
                bump(conn)
            return erased, unknown, urls

        erased, unknown, urls = await self._ledger.write(work, durable=True)
        for prediction_id in erased:
            await self._cache.delete(cache_key(prediction_id))
        for url in urls:
            await delete_file(self._mirror, url)
        return Erasure(tuple(erased), tuple(unknown), len(urls))


async def delete_file(mirror: Mirror, url: str) -> bool:
    """Delete a file's bytes; its row says already that it is gone."""
    try:
        return await mirror.delete(url)
    except OSError as error:
        # `mirror verify` finds what is left behind.
        _log.error("the bytes of an erased file could not be deleted: %s", error)
        return False
