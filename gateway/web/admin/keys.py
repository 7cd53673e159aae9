"""Keys: made, listed without themselves, revoked."""

from dataclasses import dataclass

from gateway.clock import Clock
from gateway.flows.administer import Administer
from gateway.flows.answer import Answer
from gateway.flows.show_people import key_record
from gateway.ledger import Ledger, keys
from gateway.web.admin import shapes_of_people as shapes
from gateway.web.admin.paging import cut, link
from gateway.web.admin.place import PREFIX, actor_of
from gateway.web.endpoints import Call, Endpoint, answer, done


@dataclass(frozen=True, slots=True)
class Keys:
    """Answers and changes what concerns keys."""

    ledger: Ledger
    clock: Clock
    administer: Administer

    def endpoints(self) -> tuple[Endpoint, ...]:
        """Return the addresses."""
        return (
            Endpoint(
                name="list_keys",
                method="GET",
                path="/keys",
                summary="Keys, by user; the keys themselves are not kept",
                handler=self._list_keys,
                query=shapes.KeyQuery,
                answer=shapes.KeyPage,
                errors=(403, 404),
                tag="keys",
            ),
            Endpoint(
                name="add_key",
                method="POST",
                path="/keys",
                summary="Make a key for a user; it is shown only once",
                handler=self._add_key,
                body=shapes.NewKeyShape,
                answer=shapes.MadeKey,
                status=201,
                errors=(403, 404, 413, 422),
                tag="keys",
            ),
            Endpoint(
                name="revoke_key",
                method="DELETE",
                path="/keys/{key}",
                summary="Revoke a key for good; it stops working within a second",
                handler=self._revoke_key,
                answer=None,
                status=204,
                errors=(403, 404),
                tag="keys",
            ),
        )

    async def _list_keys(self, call: Call) -> Answer:
        query = call.asked(shapes.KeyQuery)
        owner = None if query.user is None else (await self.administer.user(query.user)).id
        found = await self.ledger.read(lambda conn: keys.list_keys(conn, owner))
        page, last = cut(found, lambda row: row.id, query.cursor, query.limit)
        now = self.clock.now()
        return answer(
            {
                "next": link(call, f"{PREFIX}/keys", last),
                "results": [key_record(row, now) for row in page],
            }
        )

    async def _add_key(self, call: Call) -> Answer:
        new = call.sent(shapes.NewKeyShape)
        made = await self.administer.add_key(actor_of(call), new.user, new.label, new.expires_in_s)
        return answer({"key": made.key, "info": key_record(made.info, self.clock.now())}, 201)

    async def _revoke_key(self, call: Call) -> Answer:
        await self.administer.revoke_key(actor_of(call), call.path["key"])
        return done()
