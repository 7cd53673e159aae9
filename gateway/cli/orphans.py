"""`predictions orphans`: creates whose answer was lost, and what they may have become."""

import click

from gateway.cli.commands import PROGRAM, Command, Failed, as_json, say
from gateway.cli.output import Column, print_list
from gateway.cli.session import Session, with_session
from gateway.cli.times import stamp
from gateway.flows.show_rows import orphan_record
from gateway.ledger import Connection, creates
from gateway.ledger.create_rows import DOUBT
from gateway.ledger.creates import CreateRow


@click.command(
    "orphans", cls=Command, example=f"{PROGRAM} predictions orphans --assign CREATE_ID ID"
)
@click.option(
    "--assign",
    nargs=2,
    metavar="CREATE_ID ID",
    help="Say which prediction a create became: its user gets it, and is charged for it.",
)
@click.option(
    "--release",
    metavar="CREATE_ID",
    help="Say that a create became nothing: its user gets back what it had reserved.",
)
@as_json
@with_session
def orphans(
    session: Session, *, assign: tuple[str, str] | None, release: str | None, as_json: bool
) -> None:
    """List creates whose fate is unknown because upstream's answer was lost.

    Most settle themselves within a minute of Replicate listing what they made, or after five
    minutes if they made nothing. What could be several users', or may have become something whose
    input cannot be compared any more, stays here until it is assigned or released.
    """
    if assign is not None and release is not None:
        raise click.UsageError("either --assign or --release")
    if release is not None:
        _release(session, release)
        return
    if assign is not None:
        _assign(session, *assign)
        return
    print_list(
        session.read(creates.doubts),
        [
            Column("Create", lambda row: row.id),
            Column("Sent (UTC)", lambda row: stamp(row.at)),
            Column("User", lambda row: row.user_name),
            Column("Kind", lambda row: row.kind),
            Column("Asked for", lambda row: row.model or row.target),
            Column("May be", _may_be),
        ],
        orphan_record,
        as_json=as_json,
        empty="Nothing is in doubt.",
    )


def _assign(session: Session, create_id: str, prediction_id: str) -> None:
    def work(conn: Connection) -> bool:
        if creates.known_predictions(conn, [prediction_id]):
            raise Failed(f"prediction {prediction_id} has an owner already")
        done = creates.assign(conn, create_id, prediction_id)
        if done:
            session.note(conn, "predictions.assign", prediction_id, {"create_id": create_id})
        return done

    if not session.write(work):
        raise _not_in_doubt(create_id)
    say("Noted. A running gateway fetches the prediction and hands it over within seconds.")


def _release(session: Session, create_id: str) -> None:
    now = session.clock.now()

    def work(conn: Connection) -> bool:
        row = creates.get(conn, create_id)
        if row is None or row.state != DOUBT:
            return False
        session.note(conn, "predictions.release", create_id, {"user": row.user_name})
        return creates.release(conn, create_id, now)

    if not session.write(work):
        raise _not_in_doubt(create_id)
    say("Noted. What it had reserved is given back.")


def _not_in_doubt(create_id: str) -> Failed:
    return Failed(
        f"no create {create_id} is in doubt; {PROGRAM} predictions orphans lists those that are"
    )


def _may_be(row: CreateRow) -> str:
    if row.prediction_id is not None:
        return f"{row.prediction_id} (assigned)"
    return ", ".join((row.candidates or "").split()) or "nothing seen so far"
