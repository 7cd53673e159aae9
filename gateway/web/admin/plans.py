"""The plans, teams and prices in force: configuration, which can only be read here."""

from collections.abc import Callable
from dataclasses import dataclass

from gateway.domain.plans import Policy
from gateway.flows.answer import Answer
from gateway.flows.show_people import plan_record, price_record, team_record
from gateway.ledger import Ledger, users
from gateway.web.admin import shapes_of_plans as shapes
from gateway.web.admin.paging import PageQuery, cut, link
from gateway.web.admin.place import PREFIX
from gateway.web.endpoints import Call, Endpoint, answer


@dataclass(frozen=True, slots=True)
class Plans:
    """Answers what the configuration says."""

    ledger: Ledger
    policy: Callable[[], Policy]

    def endpoints(self) -> tuple[Endpoint, ...]:
        """Return the addresses."""
        return (
            Endpoint(
                name="list_plans",
                method="GET",
                path="/plans",
                summary="The plans in force",
                handler=self._list_plans,
                query=PageQuery,
                answer=shapes.PlanPage,
                tag="plans",
            ),
            Endpoint(
                name="list_teams",
                method="GET",
                path="/teams",
                summary="The teams in force, and who is in them",
                handler=self._list_teams,
                query=PageQuery,
                answer=shapes.TeamPage,
                tag="plans",
            ),
            Endpoint(
                name="list_prices",
                method="GET",
                path="/prices",
                summary="The prices that costs are estimated by",
                handler=self._list_prices,
                query=PageQuery,
                answer=shapes.PricePage,
                tag="plans",
            ),
        )

    async def _list_plans(self, call: Call) -> Answer:
        query = call.asked(PageQuery)
        found = list(self.policy().plans.values())
        page, last = cut(found, lambda plan: plan.name, query.cursor, query.limit)
        return answer(
            {
                "next": link(call, f"{PREFIX}/plans", last),
                "results": [plan_record(plan) for plan in page],
            }
        )

    async def _list_teams(self, call: Call) -> Answer:
        query = call.asked(PageQuery)
        found = list(self.policy().teams.values())
        page, last = cut(found, lambda team: team.name, query.cursor, query.limit)
        everybody = await self.ledger.read(users.list_users)
        return answer(
            {
                "next": link(call, f"{PREFIX}/teams", last),
                "results": [
                    team_record(team, [row.name for row in everybody if row.team == team.name])
                    for team in page
                ],
            }
        )

    async def _list_prices(self, call: Call) -> Answer:
        query = call.asked(PageQuery)
        found = list(enumerate(self.policy().prices))
        page, last = cut(found, lambda item: f"p{item[0]}", query.cursor, query.limit)
        return answer(
            {
                "next": link(call, f"{PREFIX}/prices", last),
                "results": [price_record(price) for _, price in page],
            }
        )
