"""Users: who they are, what only they may do, and their removal."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from gateway.domain import problems
from gateway.domain.plans import Metric, Overrides, Per, Policy, QuotaRule, Scope, models_key
from gateway.domain.quota import to_units
from gateway.flows.administer import Administer, UserChange
from gateway.flows.answer import Answer, Refused
from gateway.flows.erase_predictions import ErasePredictions
from gateway.flows.report_limits import ReportLimits, limits_record
from gateway.flows.show_people import identity_of, user_record
from gateway.ledger import Ledger, predictions, users
from gateway.ledger.users import UNSET
from gateway.web.admin import shapes_of_people as shapes
from gateway.web.admin.paging import PageQuery, cut, link
from gateway.web.admin.place import PREFIX, actor_of
from gateway.web.admin.shapes_of_plans import OverridesShape, RuleShape
from gateway.web.endpoints import Call, Endpoint, answer

_AT_ONCE = 200


@dataclass(frozen=True, slots=True)
class Users:
    """Answers and changes what concerns users."""

    ledger: Ledger
    administer: Administer
    limits: ReportLimits
    erase: ErasePredictions
    policy: Callable[[], Policy]

    def endpoints(self) -> tuple[Endpoint, ...]:
        """Return the addresses."""
        return (
            Endpoint(
                name="list_users",
                method="GET",
                path="/users",
                summary="All users, by name",
                handler=self._list_users,
                query=PageQuery,
                answer=shapes.UserPage,
                tag="users",
            ),
            Endpoint(
                name="add_user",
                method="POST",
                path="/users",
                summary="Add a user",
                handler=self._add_user,
                body=shapes.NewUser,
                answer=shapes.UserShape,
                status=201,
                errors=(403, 409, 413, 422),
                tag="users",
            ),
            Endpoint(
                name="show_user",
                method="GET",
                path="/users/{user}",
                summary="A user by name or id: plan in force, quotas, what runs",
                handler=self._show_user,
                answer=shapes.UserStanding,
                errors=(403, 404),
                tag="users",
            ),
            Endpoint(
                name="change_user",
                method="PATCH",
                path="/users/{user}",
                summary="Change a user; it holds on every worker within a second",
                handler=self._change_user,
                body=shapes.UserPatch,
                answer=shapes.UserShape,
                errors=(403, 404, 409, 413, 422),
                tag="users",
            ),
            Endpoint(
                name="remove_user",
                method="DELETE",
                path="/users/{user}",
                summary="Remove a user and their keys; totals stay",
                handler=self._remove_user,
                query=shapes.RemoveQuery,
                answer=shapes.Removed,
                errors=(403, 404),
                tag="users",
            ),
            Endpoint(
                name="rotate_webhook_secret",
                method="POST",
                path="/users/{user}/webhook-secret",
                summary="Give a user another secret for webhooks",
                handler=self._rotate,
                answer=shapes.Secret,
                errors=(403, 404),
                tag="users",
            ),
        )

    async def _list_users(self, call: Call) -> Answer:
        query = call.asked(PageQuery)
        found = await self.ledger.read(users.list_users)
        page, last = cut(found, lambda row: row.id, query.cursor, query.limit)
        return answer(
            {
                "next": link(call, f"{PREFIX}/users", last),
                "results": [user_record(row) for row in page],
            }
        )

    async def _add_user(self, call: Call) -> Answer:
        new = call.sent(shapes.NewUser)
        row = await self.administer.add_user(actor_of(call), new.name, new.team, new.plan, new.role)
        return answer(user_record(row), 201)

    async def _show_user(self, call: Call) -> Answer:
        row = await self.administer.user(call.path["user"])
        standing = await self.limits(identity_of(row, self.policy()))
        return answer({"user": user_record(row), "standing": limits_record(standing, call.contact)})

    async def _change_user(self, call: Call) -> Answer:
        patch = call.sent(shapes.UserPatch)
        given = patch.model_fields_set
        change = UserChange(
            name=UNSET if patch.name is None else patch.name,
            team=patch.team if "team" in given else UNSET,
            plan=patch.plan if "plan" in given else UNSET,
            role=UNSET if patch.role is None else patch.role,
            disabled=UNSET if patch.disabled is None else patch.disabled,
            overrides=_overrides(patch.overrides) if "overrides" in given else UNSET,
        )
        row = await self.administer.change_user(actor_of(call), call.path["user"], change)
        return answer(user_record(row))

    async def _remove_user(self, call: Call) -> Answer:
        purge = call.asked(shapes.RemoveQuery).purge
        actor = actor_of(call)
        row = await self.administer.user(call.path["user"])
        # The keys go first: what is purged must not grow meanwhile.
        await self.administer.change_user(actor, row.id, UserChange(disabled=True))
        count = 0
        while purge:
            ids = await self.ledger.read(
                lambda conn: predictions.ids_of(conn, row.id, limit=_AT_ONCE)
            )
            if not ids:
                break
            await self.erase(
                ids,
                lambda conn, name: self.administer.note(conn, actor, "users.remove", name),
            )
            count += len(ids)
        await self.administer.remove_user(actor, row, {"purge": purge, "erased": count})
        return answer({"erased_predictions": count})

    async def _rotate(self, call: Call) -> Answer:
        secret = await self.administer.rotate_secret(actor_of(call), call.path["user"])
        return answer({"key": secret})


def _overrides(shape: OverridesShape | None) -> Overrides | None:
    if shape is None:
        return None
    plain = Overrides(
        models_allow=None if shape.models_allow is None else tuple(shape.models_allow),
        models_deny=None if shape.models_deny is None else tuple(shape.models_deny),
        trainings=shape.trainings,
        concurrent_predictions=shape.concurrent_predictions,
        unlimited_concurrency=shape.unlimited_concurrency,
    )
    rules = tuple(_rule(rule) for rule in shape.quotas)
    if len({rule.key for rule in rules}) < len(rules):
        raise Refused(problems.input_invalid("overrides.quotas", "two rules about the same thing"))
    lifted = tuple(
        (Metric(each.metric), Per(each.per), models_key(tuple(each.models)), Scope(each.scope))
        for each in shape.lifted
    )
    return replace(plain, rules=rules, lifted=tuple(dict.fromkeys(lifted)))


def _rule(shape: RuleShape) -> QuotaRule:
    metric = Metric(shape.metric)
    try:
        limit = to_units(metric, shape.limit)
        return QuotaRule(metric, limit, Per(shape.per), tuple(shape.models), Scope(shape.scope))
    except ValueError as error:
        raise Refused(problems.input_invalid("overrides.quotas", str(error))) from None
