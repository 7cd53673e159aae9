"""`users`: who may use the gateway, in which team, on which plan."""

import sys
from collections.abc import Sequence

import click

from gateway.app.policy import policy_of
from gateway.cli import banner, erasing
from gateway.cli.commands import PROGRAM, Failed, Group, as_json, say
from gateway.cli.names import check_plan, check_team, check_user_name
from gateway.cli.output import Column, print_json, print_list
from gateway.cli.overrides import Wishes, change, parse_lifted
from gateway.cli.session import Session, find_user, with_session
from gateway.cli.times import stamp
from gateway.cli.user_facts import Standing, print_user, user_facts
from gateway.domain import webhooks
from gateway.domain.plans import Overrides, Role, effective_plan
from gateway.flows.show_people import user_record
from gateway.ledger import Connection
from gateway.ledger import users as rows
from gateway.ledger.users import UNSET, UserRow
from gateway.settings import Settings, process_environment

_ROLE = click.Choice([role.value for role in Role])


@click.group(cls=Group, example=f"{PROGRAM} users add alice --team research --plan pro")
def users() -> None:
    """Add, change and remove users.

    A user belongs to at most one team and has at most one plan of their own, which beats the
    team's; who has neither is on the plan "default". Plans and teams are made in the configuration.
    """


@users.command("add", example=f"{PROGRAM} users add alice --team research --plan pro")
@click.argument("name")
@click.option("--team", metavar="TEAM", help="The team, one of the configuration.")
@click.option("--plan", metavar="PLAN", help="The plan, one of the configuration.")
@click.option("--role", type=_ROLE, default="member", show_default=True, help="What they may do.")
@with_session
def add(session: Session, name: str, team: str | None, plan: str | None, role: str) -> None:
    """Add a user; then give them a key with "keys create"."""
    check_user_name(name)
    check_team(team, session.settings)
    check_plan(plan, session.settings)
    clock = session.clock
    user_id, secret = clock.new_id(), webhooks.new_secret(clock.secret(webhooks.SECRET_BYTES))

    def work(conn: Connection) -> None:
        rows.add_user(
            conn,
            id=user_id,
            name=name,
            team=team,
            plan=plan,
            role=role,
            webhook_secret=secret,
            now=clock.now(),
        )
        detail = {"team": team, "plan": plan, "role": role}
        session.note(conn, "users.add", name, detail)

    session.write(work)
    before, after = banner.same_ledger(session.config_file, process_environment())
    say(f"Added {name}. A key for them: {before}{banner.program()}{after} keys create {name}")


@users.command("list", example=f"{PROGRAM} users list --json")
@as_json
@with_session
def list_users(session: Session, as_json: bool) -> None:
    """List all users."""
    print_list(
        session.read(rows.list_users),
        [
            Column("Name", lambda user: user.name),
            Column("Team", lambda user: user.team or "-"),
            Column("Plan", lambda user: user.plan or "-"),
            Column("Role", lambda user: user.role),
            Column("State", lambda user: "disabled" if user.disabled else "active"),
            Column("Created (UTC)", lambda user: stamp(user.created_at)),
            Column("ID", lambda user: user.id),
        ],
        user_record,
        as_json=as_json,
        empty=f"There are no users yet: {PROGRAM} users add NAME",
    )


@users.command("show", example=f"{PROGRAM} users show alice")
@click.argument("user")
@as_json
@with_session
def show(session: Session, user: str, as_json: bool) -> None:
    """Show a user: the plan in force, what is left of each quota, the keys."""
    now, settings = session.clock.now(), session.settings

    def work(conn: Connection) -> Standing:
        return user_facts(conn, find_user(conn, user), settings, now)

    found = session.read(work)
    if as_json:
        print_json(found.record())
    else:
        print_user(found)


@users.command("set", example=f"{PROGRAM} users set alice --plan pro --quota cost_usd=20/month")
@click.argument("user")
@click.option("--name", metavar="NAME", help="A new name; what was made keeps the old one.")
@click.option("--team", metavar="TEAM", help="Another team.")
@click.option("--no-team", is_flag=True, help="No team.")
@click.option("--plan", metavar="PLAN", help="A plan of their own.")
@click.option("--no-plan", is_flag=True, help="The team's plan, or the default one.")
@click.option("--role", type=_ROLE, help="What they may do.")
@click.option(
    "--quota",
    "quotas",
    multiple=True,
    metavar="METRIC=LIMIT/PER",
    help="Another limit than the plan's, or one more; can be given several times. After PER, "
    ":MODELS (patterns, separated by commas) limits it to some, @team to what the team shares.",
)
@click.option(
    "--no-quota",
    "no_quotas",
    multiple=True,
    metavar="METRIC/PER",
    help="Lift a rule of the plan, named as in --quota; can be given several times.",
)
@click.option(
    "--concurrent", metavar="N", help='How many at the same time (0: none at all), or "unlimited".'
)
@click.option("--trainings/--no-trainings", default=None, help="Whether they may train.")
@click.option("--allow", multiple=True, metavar="MODEL", help="Only these models (patterns).")
@click.option("--deny", multiple=True, metavar="MODEL", help="Not these models (patterns).")
@click.option("--reset", is_flag=True, help="First go back to what the plan says.")
@with_session
def set_user(
    session: Session,
    user: str,
    *,
    name: str | None,
    team: str | None,
    no_team: bool,
    plan: str | None,
    no_plan: bool,
    role: str | None,
    quotas: tuple[str, ...],
    no_quotas: tuple[str, ...],
    concurrent: str | None,
    trainings: bool | None,
    allow: tuple[str, ...],
    deny: tuple[str, ...],
    reset: bool,
) -> None:
    """Change a user. What a plan says can be changed for one user here; all else stays."""
    wishes = Wishes(quotas, no_quotas, concurrent, trainings, allow, deny, reset)
    if (team and no_team) or (plan and no_plan):
        raise click.UsageError("--team and --no-team, --plan and --no-plan exclude each other")
    if name is not None:
        check_user_name(name)
    check_team(team, session.settings)
    check_plan(plan, session.settings)
    given = {
        key: value
        for key, value, said in (
            ("name", name, name is not None),
            ("team", team, team is not None or no_team),
            ("plan", plan, plan is not None or no_plan),
            ("role", role, role is not None),
        )
        if said
    }
    if not given and not wishes.any:
        raise click.UsageError("nothing to change was said; see --help")
    change(Overrides(), wishes)  # a wrong wish is told before the ledger is opened

    def work(conn: Connection) -> UserRow:
        row = find_user(conn, user)
        row = rows.update_user(
            conn,
            row.id,
            name=UNSET if name is None else name,
            team=given.get("team", UNSET),
            plan=given.get("plan", UNSET),
            role=UNSET if role is None else role,
        )
        detail: dict[str, object] = dict(given)
        if wishes.any:
            overrides = change(Overrides.from_json(row.overrides), wishes)
            text = None if overrides == Overrides() else overrides.to_json()
            row = rows.set_overrides(conn, row.id, text)
            detail["overrides"] = text
        session.note(conn, "users.set", row.name, detail)
        return row

    row = session.write(work)
    for text in _vain(row, no_quotas, session.settings):
        say(f"Note: {row.name}'s plan has no rule {text}: nothing was lifted by that.")
    if concurrent is not None and concurrent.isdigit() and int(concurrent) == 0:
        say(f"Note: 0 at the same time means that {row.name} can start nothing at all.")
    say(f"Changed {row.name}; it holds within a second. To see it: {PROGRAM} users show {row.name}")


def _vain(row: UserRow, no_quotas: Sequence[str], settings: Settings) -> list[str]:
    """Return those of the wishes to lift a rule that no rule of the user's plan answers to."""
    plan = effective_plan(policy_of(settings), row.plan, row.team)
    rules = {rule.key for rule in plan.rules}
    return [text for text in no_quotas if parse_lifted(text) not in rules]


@users.command("disable", example=f"{PROGRAM} users disable alice")
@click.argument("user")
@with_session
def disable(session: Session, user: str) -> None:
    """Let a user's keys stop working; what they made stays."""
    _set_disabled(session, user, session.clock.now())
    say(f"Disabled {user}: their keys stop working within a second.")


@users.command("enable", example=f"{PROGRAM} users enable alice")
@click.argument("user")
@with_session
def enable(session: Session, user: str) -> None:
    """Let a disabled user's keys work again."""
    _set_disabled(session, user, None)
    say(f"Enabled {user}: their keys work again.")


def _set_disabled(session: Session, user: str, at: float | None) -> None:
    def work(conn: Connection) -> None:
        row = find_user(conn, user)
        rows.set_disabled(conn, row.id, at)
        session.note(conn, "users.enable" if at is None else "users.disable", row.name)

    session.write(work)


@users.command("remove", example=f"{PROGRAM} users remove alice --purge")
@click.argument("user")
@click.option("--purge", is_flag=True, help="Erase what they made too: documents, files, streams.")
@click.option("--yes", is_flag=True, help="Erase without asking; needed where nobody can answer.")
@with_session
def remove(session: Session, user: str, purge: bool, yes: bool) -> None:
    """Remove a user and their keys; what they made stays.

    With --purge it is erased for good; totals stay always.
    """
    row = session.read(lambda conn: find_user(conn, user))
    if purge and not yes:
        _ask(row)
    # The keys go first: what is purged must not grow meanwhile.
    if not row.disabled:
        _set_disabled(session, row.id, session.clock.now())
    erased = erasing.purge(session, row.id) if purge else 0

    def work(conn: Connection) -> None:
        if not rows.remove_user(conn, row.id):
            raise Failed(f"{row.name} has been removed by somebody else meanwhile")
        session.note(conn, "users.remove", row.name, {"purge": purge, "erased": erased})

    session.write(work)
    made = f" and erased {erased} predictions" if purge else "; what they made stays"
    say(f"Removed {row.name}{made}.")


def _ask(row: UserRow) -> None:
    """Let nobody lose by a slip what cannot be had back."""
    if not sys.stdin.isatty():
        raise click.UsageError(
            f"--purge erases for good what {row.name} made: say --yes where nobody can be asked"
        )
    click.confirm(f"Erase everything that {row.name} made, for good?", abort=True, err=True)
