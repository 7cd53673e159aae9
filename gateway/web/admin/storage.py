"""Webhooks, the mirror, the cache and retention."""

from dataclasses import dataclass
from urllib.parse import urlsplit

from gateway.cache import Cache
from gateway.clock import Clock
from gateway.domain.instants import iso
from gateway.flows.administer import Administer
from gateway.flows.answer import Answer
from gateway.flows.prune import Prune
from gateway.flows.verify_mirror import VerifyMirror
from gateway.ledger import Ledger, files, outbox
from gateway.ledger.outbox import OutboxRow
from gateway.mirror import Mirror
from gateway.web.admin import shapes_of_storage as shapes
from gateway.web.admin.paging import link
from gateway.web.admin.place import PREFIX, actor_of
from gateway.web.endpoints import Call, Endpoint, answer
from gateway.web.me_api import read_place

_MOST_FAULTS = 1000


@dataclass(frozen=True, slots=True)
class Storage:
    """Answers and does what concerns what is kept."""

    ledger: Ledger
    clock: Clock
    administer: Administer
    cache: Cache
    mirror: Mirror
    max_bytes: int
    prune: Prune

    def endpoints(self) -> tuple[Endpoint, ...]:
        """Return the addresses."""
        return (
            Endpoint(
                name="list_webhooks",
                method="GET",
                path="/webhooks",
                summary="What is on its way to webhooks, newest first; dead letters included",
                handler=self._list_webhooks,
                query=shapes.WebhookQuery,
                answer=shapes.WebhookPage,
                errors=(403, 404),
                tag="webhooks",
            ),
            Endpoint(
                name="retry_webhooks",
                method="POST",
                path="/webhooks/retry",
                summary="Try all dead letters again",
                handler=self._retry_all,
                answer=shapes.Retried,
                tag="webhooks",
            ),
            Endpoint(
                name="retry_webhook",
                method="POST",
                path="/webhooks/{event}/retry",
                summary="Try one dead letter again",
                handler=self._retry,
                answer=shapes.Retried,
                errors=(403, 404),
                tag="webhooks",
            ),
            Endpoint(
                name="mirror",
                method="GET",
                path="/mirror",
                summary="How much is kept of output files",
                handler=self._mirror,
                answer=shapes.MirrorShape,
                tag="storage",
            ),
            Endpoint(
                name="verify_mirror",
                method="POST",
                path="/mirror/verify",
                summary="Compare files, ledger and digests; takes as long as reading all files",
                handler=self._verify,
                query=shapes.VerifyQuery,
                answer=shapes.Verification,
                tag="storage",
            ),
            Endpoint(
                name="cache",
                method="GET",
                path="/cache",
                summary="How much is cached on this machine",
                handler=self._cache,
                answer=shapes.CacheShape,
                tag="storage",
            ),
            Endpoint(
                name="clear_cache",
                method="POST",
                path="/cache/clear",
                summary="Drop this machine's copies; they are made again",
                handler=self._clear,
                answer=shapes.Cleared,
                tag="storage",
            ),
            Endpoint(
                name="prune",
                method="POST",
                path="/prune",
                summary="Remove now what retention no longer keeps",
                handler=self._prune,
                answer=shapes.PrunedShape,
                tag="storage",
            ),
        )

    async def _list_webhooks(self, call: Call) -> Answer:
        query = call.asked(shapes.WebhookQuery)
        owner = None if query.user is None else (await self.administer.user(query.user)).id
        place = read_place(query.cursor)
        before = None if place is None else (place.created_at, place.id)
        found = await self.ledger.read(
            lambda conn: outbox.list_events(
                conn, state=query.state, user_id=owner, limit=query.limit + 1, before=before
            )
        )
        page = found[: query.limit]
        following = None
        if len(found) > query.limit:
            following = link(call, f"{PREFIX}/webhooks", page[-1].id, page[-1].created_at)
        return answer({"next": following, "results": [_event_record(row) for row in page]})

    async def _retry_all(self, call: Call) -> Answer:
        return answer({"retried": await self.administer.retry_webhooks(actor_of(call), None)})

    async def _retry(self, call: Call) -> Answer:
        count = await self.administer.retry_webhooks(actor_of(call), call.path["event"])
        return answer({"retried": count})

    async def _mirror(self, _: Call) -> Answer:
        found = await self.ledger.read(files.stats)
        return answer(
            {
                "files": found.counts,
                "stored_bytes": found.stored_bytes,
                "max_bytes": self.max_bytes,
            }
        )

    async def _verify(self, call: Call) -> Answer:
        repair = call.asked(shapes.VerifyQuery).repair
        found = await VerifyMirror(self.ledger, self.mirror, self.clock)(repair=repair)
        if repair:
            detail = {"faults": len(found.faults)}
            await self.administer.noted(actor_of(call), "mirror.repair", "mirror", detail)
        return answer(
            {
                "checked": found.checked,
                "faults": [
                    {"key": fault.key, "url": fault.url, "fault": fault.what}
                    for fault in found.faults[:_MOST_FAULTS]
                ],
            }
        )

    async def _cache(self, _: Call) -> Answer:
        entries, size, most = self.cache.stats()
        return answer({"entries": entries, "bytes": size, "max_bytes": most})

    async def _clear(self, call: Call) -> Answer:
        count = await self.cache.clear()
        await self.administer.noted(actor_of(call), "cache.clear", "cache")
        return answer({"cleared": count})

    async def _prune(self, call: Call) -> Answer:
        found = (await self.prune()).counts
        await self.administer.noted(actor_of(call), "prune", "storage", found)
        return answer({"removed": found})


def _event_record(row: OutboxRow) -> dict[str, object]:
    return {
        "id": row.id,
        "event": row.event,
        "host": urlsplit(row.url).hostname or "",
        "state": row.state,
        "prediction_id": row.prediction_id,
        "team": row.team,
        "user_id": row.user_id,
        "attempts": row.attempts,
        "created_at": iso(row.created_at),
        "next_attempt_at": _iso(row.next_attempt_at),
        "delivered_at": _iso(row.delivered_at),
        "last_status": row.last_status,
        "last_error": row.last_error,
    }


def _iso(at: float | None) -> str | None:
    return None if at is None else iso(at)
