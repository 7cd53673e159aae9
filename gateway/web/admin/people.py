"""Users, keys, and the plans, teams and prices in force."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from decimal import Decimal

from gateway.clock import Clock
from gateway.domain import problems
from gateway.domain.instants import iso
from gateway.domain.plans import (
    Identity,
    Metric,
    Overrides,
    Per,
    Plan,
    Policy,
    Price,
    QuotaRule,
    Role,
    Scope,
    Team,
    effective_plan,
    globs_of,
    models_key,
)
from gateway.domain.quota import to_units
from gateway.flows.administer import Actor, Administer, UserChange
from gateway.flows.answer import Answer, Refused
from gateway.flows.erase_predictions import ErasePredictions
from gateway.flows.report_limits import ReportLimits, limits_record
from gateway.flows.report_usage import number
from gateway.ledger import Ledger, keys, predictions, users
from gateway.ledger.keys import KeyInfo
from gateway.ledger.users import UNSET, UserRow
from gateway.web.admin import shapes
from gateway.web.admin.paging import cut, link
from gateway.web.endpoints import Call, Endpoint, answer, done

PREFIX = "/admin/v1"
_AT_ONCE = 200


def actor_of(call: Call) -> Actor:
    """Return who makes a change, and from where."""
    return Actor(f"admin API: {call.identity.user_name}", call.client)


@dataclass(frozen=True, slots=True)
class People:
    """Answers and changes what concerns people."""

    ledger: Ledger
    clock: Clock
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
                query=shapes.PageQuery,
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
            Endpoint(
                name="list_plans",
                method="GET",
                path="/plans",
                summary="The plans in force",
                handler=self._list_plans,
                query=shapes.PageQuery,
                answer=shapes.PlanPage,
                tag="plans",
            ),
            Endpoint(
                name="list_teams",
                method="GET",
                path="/teams",
                summary="The teams in force, and who is in them",
                handler=self._list_teams,
                query=shapes.PageQuery,
                answer=shapes.TeamPage,
                tag="plans",
            ),
            Endpoint(
                name="list_prices",
                method="GET",
                path="/prices",
                summary="The prices that costs are estimated by",
                handler=self._list_prices,
                query=shapes.PageQuery,
                answer=shapes.PricePage,
                tag="plans",
            ),
        )

    async def _list_users(self, call: Call) -> Answer:
        query = call.asked(shapes.PageQuery)
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

    async def _list_plans(self, call: Call) -> Answer:
        query = call.asked(shapes.PageQuery)
        found = list(self.policy().plans.values())
        page, last = cut(found, lambda plan: plan.name, query.cursor, query.limit)
        return answer(
            {
                "next": link(call, f"{PREFIX}/plans", last),
                "results": [plan_record(plan) for plan in page],
            }
        )

    async def _list_teams(self, call: Call) -> Answer:
        query = call.asked(shapes.PageQuery)
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
        query = call.asked(shapes.PageQuery)
        found = list(enumerate(self.policy().prices))
        page, last = cut(found, lambda item: f"p{item[0]}", query.cursor, query.limit)
        return answer(
            {
                "next": link(call, f"{PREFIX}/prices", last),
                "results": [price_record(price) for _, price in page],
            }
        )


def identity_of(row: UserRow, policy: Policy) -> Identity:
    """Return a user as they would come with a key."""
    team = None if row.team is None else policy.teams.get(row.team)
    return Identity(
        user_id=row.id,
        user_name=row.name,
        team=row.team,
        role=Role(row.role),
        key_id="",
        plan=effective_plan(policy, row.plan, row.team, Overrides.from_json(row.overrides)),
        team_rules=() if team is None else team.rules,
        share=team is not None and team.share,
    )


def user_record(row: UserRow) -> dict[str, object]:
    """Write a user for programs."""
    overrides = Overrides.from_json(row.overrides)
    return {
        "id": row.id,
        "name": row.name,
        "team": row.team,
        "plan": row.plan,
        "role": row.role,
        "disabled": row.disabled,
        "created_at": iso(row.created_at),
        "disabled_at": _iso(row.disabled_at),
        "overrides": {
            "models_allow": _listed(overrides.models_allow),
            "models_deny": _listed(overrides.models_deny),
            "trainings": overrides.trainings,
            "concurrent_predictions": overrides.concurrent_predictions,
            "unlimited_concurrency": overrides.unlimited_concurrency,
            "quotas": [rule_record(rule) for rule in overrides.rules],
            "lifted": [
                {"metric": metric, "per": per, "models": list(globs_of(models)), "scope": scope}
                for metric, per, models, scope in overrides.lifted
            ],
        },
    }


def key_record(row: KeyInfo, now: float) -> dict[str, object]:
    """Write what is known of a key."""
    state = "active"
    if row.revoked_at is not None:
        state = "revoked"
    elif row.expires_at is not None and row.expires_at <= now:
        state = "expired"
    return {
        "id": row.id,
        "user": row.user_name,
        "user_id": row.user_id,
        "hint": row.hint,
        "label": row.label,
        "state": state,
        "created_at": iso(row.created_at),
        "expires_at": _iso(row.expires_at),
        "revoked_at": _iso(row.revoked_at),
        "last_used_at": _iso(row.last_used_at),
    }


def rule_record(rule: QuotaRule) -> dict[str, object]:
    """Write a rule in the units of people."""
    return {
        "metric": rule.metric.value,
        "limit": number(rule.metric, rule.limit),
        "per": rule.per.value,
        "models": list(rule.models),
        "scope": rule.scope.value,
    }


def plan_record(plan: Plan) -> dict[str, object]:
    """Write a plan."""
    return {
        "name": plan.name,
        "models_allow": list(plan.models_allow),
        "models_deny": list(plan.models_deny),
        "trainings": plan.trainings,
        "concurrent_predictions": plan.concurrent_predictions,
        "quotas": [rule_record(rule) for rule in plan.rules],
    }


def team_record(team: Team, members: list[str]) -> dict[str, object]:
    """Write a team; its webhook's address may be a secret."""
    return {
        "name": team.name,
        "plan": team.plan,
        "share": team.share,
        "quotas": [rule_record(rule) for rule in team.rules],
        "warned": team.webhook is not None,
        "members": members,
    }


def price_record(price: Price) -> dict[str, object]:
    """Write a price."""

    def amount(value: Decimal | None) -> float | None:
        return None if value is None else float(value)

    return {
        "pattern": price.pattern,
        "per_second": amount(price.per_second),
        "per_image": amount(price.per_image),
        "per_input_token": amount(price.per_input_token),
        "per_output_token": amount(price.per_output_token),
        "per_prediction": amount(price.per_prediction),
        "expected_seconds": float(price.expected_seconds),
        "expected_tokens": price.expected_tokens,
    }


def _overrides(shape: shapes.OverridesShape | None) -> Overrides | None:
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


def _rule(shape: shapes.RuleShape) -> QuotaRule:
    metric = Metric(shape.metric)
    try:
        limit = to_units(metric, shape.limit)
        return QuotaRule(metric, limit, Per(shape.per), tuple(shape.models), Scope(shape.scope))
    except ValueError as error:
        raise Refused(problems.input_invalid("overrides.quotas", str(error))) from None


def _listed(globs: tuple[str, ...] | None) -> list[str] | None:
    return None if globs is None else list(globs)


def _iso(at: float | None) -> str | None:
    return None if at is None else iso(at)
