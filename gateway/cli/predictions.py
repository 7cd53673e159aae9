"""`predictions`: the ledger's list of what was made."""

from collections.abc import Sequence
from dataclasses import dataclass

import click

from gateway.cli import erasing
from gateway.cli.amounts import dollars, seconds
from gateway.cli.commands import PROGRAM, Failed, Group, as_json, say
from gateway.cli.orphans import orphans
from gateway.cli.output import Column, Record, print_facts, print_json, print_list
from gateway.cli.session import Session, find_owner, with_session
from gateway.cli.times import instant, iso, stamp
from gateway.domain.foreign_json import load_foreign
from gateway.flows.show_rows import row_record
from gateway.ledger import Connection, files
from gateway.ledger import predictions as rows
from gateway.ledger.files import FileRow
from gateway.ledger.predictions import Cursor, Filter, Row

_STATUSES = ("starting", "processing", "succeeded", "failed", "canceled", "aborted")
_PAGE = 500


@click.group(cls=Group, example=f"{PROGRAM} predictions list --user alice --since 7d")
def predictions() -> None:
    """List, show and erase predictions (and trainings)."""


@predictions.command(
    "list", example=f"{PROGRAM} predictions list --user alice --status failed --since 7d"
)
@click.option("--user", metavar="USER", help="Made by this user.")
@click.option("--team", metavar="TEAM", help="Made in this team.")
@click.option("--model", metavar="OWNER/NAME", help="Of this model.")
@click.option("--status", type=click.Choice(_STATUSES), help="In this state.")
@click.option("--since", metavar="7d", callback=instant, help="Not older: 12h, 7d or a date.")
@click.option("--until", metavar="1d", callback=instant, help="Older: 12h, 7d or a date.")
@click.option(
    "--limit",
    type=click.IntRange(min=0),
    default=50,
    show_default=True,
    help="How many at most; 0 is all.",
)
@as_json
@with_session
def list_predictions(
    session: Session,
    *,
    user: str | None,
    team: str | None,
    model: str | None,
    status: str | None,
    since: float | None,
    until: float | None,
    limit: int,
    as_json: bool,
) -> None:
    """List predictions, newest first."""

    def work(conn: Connection) -> Sequence[Row]:
        which = Filter(
            user_id=None if user is None else find_owner(conn, user),
            team=team,
            model=None if model is None else model.lower(),
            status=status,
            created_after=since,
            created_before=until,
        )
        return _rows(conn, which, limit)

    print_list(
        session.read(work),
        [
            Column("ID", lambda row: row.id),
            Column("Status", _status),
            Column("Model", lambda row: row.model or row.version or ""),
            Column("User", lambda row: row.user_name),
            Column("Created (UTC)", lambda row: stamp(row.created_at)),
            Column("Time", lambda row: seconds(row.predict_us), right=True),
            Column("Cost (estimated)", _cost, right=True),
        ],
        _record,
        as_json=as_json,
        empty="There are no such predictions.",
    )


def _rows(conn: Connection, which: Filter, limit: int) -> Sequence[Row]:
    found: list[Row] = []
    before = None
    while not limit or len(found) < limit:
        size = min(_PAGE, limit - len(found)) if limit else _PAGE
        page = rows.rows(conn, which, before=before, limit=size)
        found += page
        if len(page) < size:
            break
        before = Cursor.of(page[-1])
    return found


@dataclass(frozen=True, slots=True)
class _Shown:
    row: Row
    body: bytes
    files: tuple[FileRow, ...]


@predictions.command("show", example=f"{PROGRAM} predictions show qpt5jq1fssrmc0cmd5hvy31mdg")
@click.argument("prediction_id", metavar="ID")
@as_json
@with_session
def show(session: Session, prediction_id: str, as_json: bool) -> None:
    """Show one prediction: whose it is, what it took, its files and its document."""

    def work(conn: Connection) -> _Shown:
        found = rows.get_with_document(conn, prediction_id)
        if found is None:
            raise _unknown(prediction_id)
        return _Shown(*found, tuple(files.files_of(conn, prediction_id)))

    shown = session.read(work)
    document = load_foreign(shown.body)
    if as_json:
        listed = [_file_record(file) for file in shown.files]
        print_json({**_record(shown.row), "files": listed, "document": document})
        return
    row = shown.row
    print_facts(
        [
            ("ID", row.id),
            ("Kind", row.kind),
            ("Status", _status(row)),
            ("Model", row.model or ""),
            ("Answered as", (row.answered_model or "") if row.answered_model != row.model else ""),
            ("Version", row.version or ""),
            ("Deployment", row.deployment or ""),
            ("User", row.user_name),
            ("Team", row.team or ""),
            ("Created", f"{stamp(row.created_at)} UTC"),
            ("Finished", f"{stamp(row.completed_at)} UTC" if row.completed_at else ""),
            ("Removed", f"{stamp(row.removed_at)} UTC" if row.removed_at else ""),
            ("Time", seconds(row.predict_us)),
            ("Images", str(row.images or "")),
            ("Tokens", _tokens(row)),
            ("Cost (estimated)", _cost(row)),
            *((f"File ({file.state})", file.url) for file in shown.files),
        ]
    )
    click.echo()
    print_json(document)


@predictions.command("delete", example=f"{PROGRAM} predictions delete qpt5jq1fssrmc0cmd5hvy31mdg")
@click.argument("prediction_ids", metavar="ID...", nargs=-1, required=True)
@with_session
def delete(session: Session, prediction_ids: tuple[str, ...]) -> None:
    """Erase predictions: document, files and streams. Totals and charges stay."""
    unknown = erasing.erase(session, prediction_ids)
    done = len(prediction_ids) - len(unknown)
    if done:
        say(f"Erased {done} prediction{'' if done == 1 else 's'}.")
    if unknown:
        raise _unknown(*unknown)


predictions.add_command(orphans)


def _unknown(*ids: str) -> Failed:
    return Failed(
        f"the ledger knows no prediction {', '.join(ids)}; predictions list shows those it has"
    )


def _status(row: Row) -> str:
    return f"{row.status}, removed" if row.removed_at is not None else row.status


def _tokens(row: Row) -> str:
    if not row.tokens_in and not row.tokens_out:
        return ""
    return f"{row.tokens_in or 0:,} in, {row.tokens_out or 0:,} out"


def _cost(row: Row) -> str:
    """Of what still runs nothing is known; of what has no price, that it is unknown."""
    if row.settled_at is None:
        return ""
    return "unknown" if row.cost_nano is None else dollars(row.cost_nano)


def _record(row: Row) -> Record:
    """Return what the administration tells, and what only this command does."""
    record = row_record(row, "")
    del record["url"]
    return {
        **record,
        "answered_model": row.answered_model,
        "key_id": row.key_id,
        "account": row.account,
        "settled_at": iso(row.settled_at),
    }


def _file_record(file: FileRow) -> Record:
    return {
        "url": file.url,
        "state": file.state,
        "size": file.size,
        "content_type": file.content_type,
        "stored_at": iso(file.stored_at),
        "error": file.last_error,
    }
