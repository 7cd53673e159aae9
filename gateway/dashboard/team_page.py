"""Team, for admins: users and teams, what they spent, what limits them, their keys."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal, InvalidOperation
from urllib.parse import quote

from gateway.dashboard.keys_page import actor_of, read_new_key, shown_keys
from gateway.dashboard.members import NO_TEAM, ORDERS, STATES, listed, members_of
from gateway.dashboard.usage_page import Quota, model_lines, quotas, start_of
from gateway.dashboard.visit import Page, Place, Redirect, Reply, Visit
from gateway.domain import problems
from gateway.domain.plans import (
    DEFAULT_PLAN,
    Metric,
    Overrides,
    Per,
    Policy,
    QuotaRule,
    Role,
    team_subject,
)
from gateway.domain.quota import to_units
from gateway.flows.administer import Administer, UserChange
from gateway.flows.answer import Refused
from gateway.flows.report_limits import ReportLimits
from gateway.flows.report_usage import Question, ReportUsage, cost_of, total_of
from gateway.flows.show_people import identity_of
from gateway.ledger import Connection, Ledger, keys
from gateway.ledger import quotas as counters
from gateway.ledger import users as user_rows
from gateway.ledger.keys import KeyInfo
from gateway.ledger.usage import UsageLine
from gateway.ledger.users import UserRow

DAYS = 30
MOST_TEAMS = 12
"""How many teams are shown at once; the filter shows any of them."""


@dataclass(frozen=True, slots=True)
class TeamBudget:
    """A team of the configuration: what it used in thirty days, what is left of what it shares."""

    name: str
    plan: str
    share: bool
    members: int
    predictions: int
    cost: int | None
    quotas: list[Quota]


class TeamPage:
    """Answers `/dashboard/team`."""

    def __init__(
        self,
        ledger: Ledger,
        administer: Administer,
        usage: ReportUsage,
        limits: ReportLimits,
    ) -> None:
        self._ledger = ledger
        self._administer = administer
        self._usage = usage
        self._limits = limits

    def places(self) -> tuple[Place, ...]:
        """Return the addresses."""
        return (
            Place("GET", "/team", self.show, admin=True),
            Place("POST", "/team", self.add, admin=True),
            Place("GET", "/team/{user}", self.show_user, admin=True),
            Place("POST", "/team/{user}", self.change, admin=True),
            Place("POST", "/team/{user}/limits", self.limit, admin=True),
            Place("POST", "/team/{user}/disabled", self.disable, admin=True),
            Place("GET", "/team/{user}/keys", self.lead_to_user, admin=True),
            Place("POST", "/team/{user}/keys", self.add_key, admin=True),
            Place("POST", "/team/{user}/keys/{key}/revoke", self.revoke, admin=True),
        )

    async def show(self, visit: Visit) -> Reply:
        """Show everybody, a page at a time."""
        since = start_of(visit.now, DAYS)
        report = await self._usage(Question(by=("user", "team"), since=since, until=visit.now + 1))
        by_user = _summed((line.user_id, line) for line in report.lines)
        by_team = _summed((line.team, line) for line in report.lines)

        def look(conn: Connection) -> tuple[list[UserRow], list[KeyInfo], list[TeamBudget]]:
            people = user_rows.list_users(conn)
            chosen = visit.query.get("team") or None
            teams = _teams(conn, visit.policy, people, by_team, chosen, visit.now)
            return people, keys.list_keys(conn), teams

        people, all_keys, teams = await self._ledger.read(look)
        members = members_of(people, by_user, all_keys, visit.now)
        return Page(
            "team.html",
            {
                "list": listed(members, visit.query),
                "query": visit.query,
                "orders": ORDERS,
                "states": STATES,
                "no_team": NO_TEAM,
                "users": len(people),
                "disabled": sum(user.disabled for user in people),
                "teams": teams[:MOST_TEAMS],
                "more_teams": len(teams[MOST_TEAMS:]),
                "total": report.total,
                "total_cost": cost_of(report.total),
                "days": DAYS,
                **_choices(visit.policy),
            },
        )

    async def add(self, visit: Visit) -> Reply:
        """Add a user, and go to their page, where a key can be made."""
        row = await self._administer.add_user(
            actor_of(visit),
            visit.form.get("name", "").strip(),
            visit.form.get("team") or None,
            visit.form.get("plan") or None,
            _role(visit),
        )
        return Redirect(f"/dashboard/team/{quote(row.id)}")

    async def show_user(self, visit: Visit) -> Reply:
        """Show one."""
        return await self._user_page(visit, None)

    async def change(self, visit: Visit) -> Reply:
        """Change team, plan and role."""
        row = await self._administer.change_user(
            actor_of(visit),
            visit.path["user"],
            UserChange(
                team=visit.form.get("team") or None,
                plan=visit.form.get("plan") or None,
                role=_role(visit),
            ),
        )
        return Redirect(f"/dashboard/team/{quote(row.id)}")

    async def limit(self, visit: Visit) -> Reply:
        """Set a limit of this user's own, or go back to what the plan says."""
        row = await self._administer.user(visit.path["user"])
        overrides = Overrides.from_json(row.overrides)
        if visit.form.get("reset"):
            overrides = Overrides()
        else:
            rule = _rule(visit)
            kept = tuple(known for known in overrides.rules if known.key != rule.key)
            lifted = tuple(key for key in overrides.lifted if key != rule.key)
            overrides = replace(overrides, rules=(*kept, rule), lifted=lifted)
        await self._administer.change_user(actor_of(visit), row.id, UserChange(overrides=overrides))
        return Redirect(f"/dashboard/team/{quote(row.id)}")

    async def disable(self, visit: Visit) -> Reply:
        """Let a user's keys stop working, or work again."""
        disabled = visit.form.get("disabled") == "yes"
        row = await self._administer.user(visit.path["user"])
        if disabled and row.id == visit.identity.user_id:
            raise Refused(problems.input_invalid("user", "nobody can disable themselves"))
        await self._administer.change_user(actor_of(visit), row.id, UserChange(disabled=disabled))
        return Redirect(f"/dashboard/team/{quote(row.id)}")

    async def lead_to_user(self, visit: Visit) -> Reply:
        """Lead whoever asks again where a new key was shown to the page with all keys."""
        page = visit.query.get("page")
        address = f"/dashboard/team/{quote(visit.path['user'], safe='')}"
        return Redirect(f"{address}?page={quote(page, safe='')}" if page else address)

    async def add_key(self, visit: Visit) -> Reply:
        """Make a key for a user and show it, this once."""
        label, expires = read_new_key(visit)
        made = await self._administer.add_key(actor_of(visit), visit.path["user"], label, expires)
        return await self._user_page(visit, made.key)

    async def revoke(self, visit: Visit) -> Reply:
        """Revoke a user's key."""
        row = await self._administer.user(visit.path["user"])
        key_id = visit.path["key"]
        known = await self._ledger.read(lambda conn: keys.get_key(conn, key_id))
        if known is None or known.user_id != row.id:
            raise Refused(problems.not_found("key"))
        await self._administer.revoke_key(actor_of(visit), key_id)
        return Redirect(f"/dashboard/team/{quote(row.id)}")

    async def _user_page(self, visit: Visit, new_key: str | None) -> Reply:
        row = await self._administer.user(visit.path["user"])
        limits = await self._limits(identity_of(row, visit.policy))
        report = await self._usage(
            Question(
                by=("model",),
                since=start_of(visit.now, DAYS),
                until=visit.now + 1,
                user_id=row.id,
            )
        )
        found = await self._ledger.read(lambda conn: keys.list_keys(conn, row.id))
        return Page(
            "user.html",
            {
                "user": row,
                "plan": limits.identity.plan,
                "has_overrides": bool(row.overrides),
                "quotas": quotas(limits.standings, limits.at),
                "running": limits.running,
                "models": model_lines(report),
                "total": report.total,
                "total_cost": cost_of(report.total),
                "days": DAYS,
                "keys": shown_keys(found, visit),
                "new_key": new_key,
                "here": f"/dashboard/team/{quote(row.id)}",
                "action": f"/dashboard/team/{quote(row.id)}/keys",
                "metrics": [metric.value for metric in Metric],
                "pers": [per.value for per in Per],
                **_choices(visit.policy),
            },
        )


def _summed(lines: Iterable[tuple[str | None, UsageLine]]) -> dict[str, UsageLine]:
    """Add up the lines of each name."""
    by_name: defaultdict[str, list[UsageLine]] = defaultdict(list)
    for name, line in lines:
        if name:
            by_name[name].append(line)
    return {name: total_of(those) for name, those in by_name.items()}


def _teams(
    conn: Connection,
    policy: Policy,
    people: Sequence[UserRow],
    used: Mapping[str, UsageLine],
    chosen: str | None,
    now: float,
) -> list[TeamBudget]:
    """Return the teams, or the one that is chosen."""
    sizes = Counter(user.team for user in people)
    budgets = []
    for name, team in sorted(policy.teams.items()):
        if chosen not in (None, name):
            continue
        rules = [(rule, team_subject(name)) for rule in team.rules]
        line = used.get(name)
        budgets.append(
            TeamBudget(
                name=name,
                plan=team.plan or DEFAULT_PLAN,
                share=team.share,
                members=sizes[name],
                predictions=0 if line is None else line.predictions,
                cost=0 if line is None else cost_of(line),
                quotas=quotas(tuple(counters.standings(conn, rules, now)), now),
            )
        )
    return budgets


def _choices(policy: Policy) -> dict[str, object]:
    return {
        "team_names": sorted(policy.teams),
        "plan_names": sorted({DEFAULT_PLAN, *policy.plans}),
        "roles": [role.value for role in Role],
    }


def _role(visit: Visit) -> str:
    try:
        return Role(visit.form.get("role", Role.MEMBER)).value
    except ValueError:
        raise Refused(problems.input_invalid("role", "choose one of the list")) from None


def _rule(visit: Visit) -> QuotaRule:
    try:
        metric, per = Metric(visit.form.get("metric", "")), Per(visit.form.get("per", ""))
    except ValueError:
        raise Refused(
            problems.input_invalid("limit", "choose what it counts, and per what")
        ) from None
    text = visit.form.get("limit", "").strip().replace(",", "")
    try:
        return QuotaRule(metric, to_units(metric, Decimal(text)), per)
    except InvalidOperation:
        raise Refused(problems.input_invalid("limit", "it must be a number")) from None
    except ValueError as error:
        raise Refused(problems.input_invalid("limit", str(error))) from None
