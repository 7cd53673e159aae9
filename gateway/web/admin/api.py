"""The table of the administration, and its description."""

from dataclasses import dataclass

from gateway.domain.plans import Role
from gateway.flows.answer import Answer
from gateway.web.admin.keys import Keys
from gateway.web.admin.place import PREFIX
from gateway.web.admin.plans import Plans
from gateway.web.admin.records import Records
from gateway.web.admin.storage import Storage
from gateway.web.admin.users import Users
from gateway.web.endpoints import Call, Endpoint, EndpointTable, answer
from gateway.web.shapes import AnyDocument

__all__ = ["PREFIX", "AdminApi", "AdminFlows"]

_ABOUT = (
    "What the command line does, over HTTP, for the admin role. Every change is written to the "
    "audit log and holds on every worker within a second. Plans, teams and prices are "
    "configuration and can only be read here. Errors are application/problem+json; lists come in "
    "pages, `next` is the address of the next one. Costs are estimates; an unknown one is null."
)


@dataclass(frozen=True, slots=True)
class AdminFlows:
    """What the administration is made of."""

    users: Users
    keys: Keys
    plans: Plans
    records: Records
    storage: Storage


class AdminApi:
    """Puts the table together."""

    def __init__(self, flows: AdminFlows) -> None:
        described = Endpoint(
            name="openapi",
            method="GET",
            path="/openapi.json",
            summary="This description",
            handler=self._openapi,
            answer=AnyDocument,
            tag="description",
        )
        self.table = EndpointTable(
            PREFIX,
            "replicate-gateway: administration",
            _ABOUT,
            (
                *flows.users.endpoints(),
                *flows.keys.endpoints(),
                *flows.plans.endpoints(),
                *flows.records.endpoints(),
                *flows.storage.endpoints(),
                described,
            ),
            role=Role.ADMIN,
        )
        self._document = self.table.document()

    async def _openapi(self, _: Call) -> Answer:
        return answer(self._document)
