"""`webhooks`: the outbox, dead letters included, and the secrets that sign."""

from collections.abc import Sequence

import click

from gateway.cli.commands import PROGRAM, Failed, Group, as_json, say
from gateway.cli.output import Column, Record, print_list
from gateway.cli.session import Session, find_user, with_session
from gateway.cli.times import iso, stamp
from gateway.domain.webhooks import SECRET_BYTES, new_secret
from gateway.ledger import Connection, outbox, users
from gateway.ledger.outbox import OutboxRow

_STATES = ("pending", "delivered", "dead")


@click.group(cls=Group, example=f"{PROGRAM} webhooks list --state dead")
def webhooks() -> None:
    """Look after what is told to users' webhooks."""


@webhooks.command("list", example=f"{PROGRAM} webhooks list --state dead --user alice")
@click.option("--state", type=click.Choice(_STATES), help="In this state; dead is given up.")
@click.option("--user", metavar="USER", help="To this user's webhooks.")
@click.option("--prediction", metavar="ID", help="About this prediction.")
@click.option(
    "--limit", type=click.IntRange(min=1), default=50, show_default=True, help="How many at most."
)
@as_json
@with_session
def list_webhooks(
    session: Session,
    *,
    state: str | None,
    user: str | None,
    prediction: str | None,
    limit: int,
    as_json: bool,
) -> None:
    """List deliveries, newest first."""

    def work(conn: Connection) -> Sequence[OutboxRow]:
        return outbox.list_events(
            conn,
            state=state,
            user_id=None if user is None else find_user(conn, user).id,
            prediction_id=prediction,
            limit=limit,
        )

    print_list(
        session.read(work),
        [
            Column("ID", lambda row: row.id),
            Column("State", lambda row: row.state),
            Column("Event", lambda row: row.event),
            Column("Prediction", lambda row: row.prediction_id or ""),
            Column("Tries", lambda row: str(row.attempts), right=True),
            Column("Next try (UTC)", lambda row: stamp(row.next_attempt_at)),
            Column("Queued (UTC)", lambda row: stamp(row.created_at)),
            Column("Last error", lambda row: row.last_error or ""),
            Column("URL", lambda row: _shown(row.url)),
        ],
        _record,
        as_json=as_json,
        empty="There are no such deliveries.",
    )


@webhooks.command("retry", example=f"{PROGRAM} webhooks retry --all")
@click.argument("webhook_ids", metavar="ID...", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="All dead letters.")
@with_session
def retry(session: Session, webhook_ids: tuple[str, ...], everything: bool) -> None:
    """Try dead letters again, now, with all their attempts before them."""
    if bool(webhook_ids) == everything:
        raise click.UsageError("name dead letters by their IDs, or say --all")
    now = session.clock.now()

    def work(conn: Connection) -> tuple[int, list[str]]:
        if everything:
            done = outbox.retry(conn, now)
            session.note(conn, "webhooks.retry", "all", {"count": done})
            return done, []
        left = [one for one in webhook_ids if not outbox.retry(conn, now, one)]
        for one in webhook_ids:
            if one not in left:
                session.note(conn, "webhooks.retry", one)
        return len(webhook_ids) - len(left), left

    done, left = session.write(work)
    say(f"{done} dead letter{' is' if done == 1 else 's are'} being tried again.")
    if left:
        raise Failed(
            f"no dead letter: {', '.join(left)}; {PROGRAM} webhooks list --state dead shows them"
        )


@webhooks.command("rotate-secret", example=f"{PROGRAM} webhooks rotate-secret alice")
@click.argument("user")
@with_session
def rotate_secret(session: Session, user: str) -> None:
    """Give a user a new signing secret, and print it alone on stdout.

    What is delivered from now on, retries included, is signed with it: the receiver needs it at
    once.
    """
    secret = new_secret(session.clock.secret(SECRET_BYTES))

    def work(conn: Connection) -> str:
        row = find_user(conn, user)
        users.set_webhook_secret(conn, row.id, secret)
        session.note(conn, "webhooks.rotate-secret", row.name)
        return row.name

    say(f"{session.write(work)}'s webhooks are signed with a new secret from now on:")
    click.echo(secret)


def _shown(url: str) -> str:
    """Return a URL without its query: that is where people put secrets."""
    address, question, _ = url.partition("?")
    return address + (question and "?…")


def _record(row: OutboxRow) -> Record:
    return {
        "id": row.id,
        "state": row.state,
        "event": row.event,
        "url": _shown(row.url),
        "prediction_id": row.prediction_id,
        "user_id": row.user_id,
        "team": row.team,
        "attempts": row.attempts,
        "created_at": iso(row.created_at),
        "next_attempt_at": iso(row.next_attempt_at),
        "delivered_at": iso(row.delivered_at),
        "dead_at": iso(row.dead_at),
        "last_status": row.last_status,
        "last_error": row.last_error,
    }
