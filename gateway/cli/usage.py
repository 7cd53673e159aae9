"""`usage` and `export`: who used what, in sums and line by line."""

import asyncio
import csv
import io
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Literal

import click

from gateway.cli.amounts import dollars, seconds
from gateway.cli.commands import PROGRAM, Command, say
from gateway.cli.output import print_json, print_table
from gateway.cli.progress import progress
from gateway.cli.session import Session, find_owner, with_session
from gateway.cli.times import instant
from gateway.domain.instants import date_of
from gateway.flows.report_usage import (
    DEFAULT_SPAN_S,
    Question,
    Report,
    ReportUsage,
    cost_of,
    line_record,
    report_record,
)
from gateway.flows.show_rows import ROW_FIELDS, row_record
from gateway.ledger import Ledger, predictions
from gateway.ledger.predictions import Cursor, Filter, Row
from gateway.ledger.usage import By, UsageLine

_PAGE = 1000
_FIELDS = [name for name in ROW_FIELDS if name != "url"]
_BY: Sequence[By] = ("user", "team", "model", "day")


@click.command(
    "usage",
    cls=Command,
    example=f"{PROGRAM} usage --since 30d --by team --by model --format csv",
)
@click.option("--user", metavar="USER", help="Of this user.")
@click.option("--team", metavar="TEAM", help="Of what was made in this team.")
@click.option("--model", metavar="OWNER/NAME", help="Of this model.")
@click.option(
    "--since", metavar="7d", callback=instant, help="From then on: 12h, 7d or a date. [30d]"
)
@click.option("--until", metavar="1d", callback=instant, help="Before then. [now]")
@click.option(
    "--by",
    multiple=True,
    type=click.Choice(_BY),
    help="A line for each of these; can be given several times. [user]",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "json", "csv"]),
    default="table",
    show_default=True,
    help="How it is printed.",
)
@with_session
def usage(
    session: Session,
    *,
    user: str | None,
    team: str | None,
    model: str | None,
    since: float | None,
    until: float | None,
    by: tuple[By, ...],
    form: Literal["table", "json", "csv"],
) -> None:
    """Say who used what, and what it is estimated to have cost.

    Whole days come from totals that are kept for good; a prediction counts in the day (UTC) of its
    creation. Costs are estimates by the price table: what has no price is counted as unpriced.
    """
    now = session.clock.now()

    async def work(ledger: Ledger) -> Report:
        user_id = None
        if user is not None:
            user_id = await ledger.read(lambda conn: find_owner(conn, user))
        return await ReportUsage(ledger)(replace(question, user_id=user_id))

    try:
        question = Question(
            by=by or ("user",),
            since=now - DEFAULT_SPAN_S if since is None else since,
            until=now + 1 if until is None else until,
            team=team,
            model=model,
        )
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--since") from error
    report = session.run(work, begins=False)
    if form == "json":
        print_json(report_record(report))
    elif form == "csv":
        by_ = report.question.by
        _print_csv(
            (line_record(line, by_) for line in report.lines), list(line_record(report.total, by_))
        )
    elif not report.lines:
        say("Nothing was used in this time.")
    else:
        _print_report(report)


def _print_report(report: Report) -> None:
    by = report.question.by
    titles = [axis.capitalize() for axis in by]
    titles += ["Predictions", "Running", "Failed", "Time", "Images", "Tokens", "Cost (estimated)"]
    rows = [[*_axes(line, by), *_amounts(line)] for line in report.lines]
    if len(rows) > 1:
        rows.append(["total", *[""] * (len(by) - 1), *_amounts(report.total)])
    print_table(titles, rows, right=frozenset(range(len(by), len(titles))))


def _axes(line: UsageLine, by: Sequence[By]) -> list[str]:
    texts: Mapping[str, str] = {
        "user": line.user or "-",
        "team": line.team or "-",
        "model": line.model or "-",
        "day": "" if line.day is None else date_of(line.day),
    }
    return [texts[axis] for axis in by]


def _amounts(line: UsageLine) -> list[str]:
    return [
        f"{line.predictions:,}",
        f"{line.running:,}",
        f"{line.failed:,}",
        seconds(line.predict_us),
        f"{line.images:,}",
        f"{line.tokens_in + line.tokens_out:,}",
        _cost(line),
    ]


def _cost(line: UsageLine) -> str:
    cost = cost_of(line)
    if cost is None:
        return "unknown"
    text = dollars(cost)
    return f"{text} + {line.unpriced:,} unpriced" if line.unpriced else text


@click.command(
    "export", cls=Command, example=f"{PROGRAM} export --since 2026-01-01 --format jsonl > all.jsonl"
)
@click.option("--user", metavar="USER", help="Made by this user.")
@click.option("--team", metavar="TEAM", help="Made in this team.")
@click.option("--model", metavar="OWNER/NAME", help="Of this model.")
@click.option("--since", metavar="7d", callback=instant, help="Not older: 12h, 7d or a date.")
@click.option("--until", metavar="1d", callback=instant, help="Older: 12h, 7d or a date.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["csv", "jsonl"]),
    default="csv",
    show_default=True,
    help="Comma-separated, or a JSON object on each line.",
)
@with_session
def export(
    session: Session,
    *,
    user: str | None,
    team: str | None,
    model: str | None,
    since: float | None,
    until: float | None,
    form: Literal["csv", "jsonl"],
) -> None:
    """Write the ledger's usage, a line for each prediction, newest first.

    It is written as it is read, so that it can be of any length. An empty cost is an unknown one.
    """
    # Fixed now: what is made while this goes on is no part of it.
    until = session.clock.now() + 1 if until is None else until

    async def work(ledger: Ledger) -> int:
        user_id = None
        if user is not None:
            user_id = await ledger.read(lambda conn: find_owner(conn, user))
        which = Filter(
            user_id=user_id,
            team=team,
            model=None if model is None else model.lower(),
            created_after=since,
            created_before=until,
        )
        count, before = 0, None
        with progress("Exporting:") as told:
            while True:
                page = await ledger.read(
                    partial(predictions.rows, which=which, before=before, limit=_PAGE)
                )
                await asyncio.to_thread(_write_page, page, form, first=count == 0)
                count += len(page)
                told("predictions", len(page))
                if len(page) < _PAGE:
                    return count
                before = Cursor.of(page[-1])

    say(f"Wrote {session.run(work, begins=False):,} predictions.")


def _write_page(page: Sequence[Row], form: Literal["csv", "jsonl"], *, first: bool) -> None:
    records = (_record(row) for row in page)
    if form == "csv":
        _print_csv(records, _FIELDS, head=first)
        return
    for record in records:
        click.echo(json.dumps(record, ensure_ascii=False))


def _record(row: Row) -> dict[str, object]:
    record = row_record(row, "")
    del record["url"]
    return record


def _print_csv(
    records: Iterable[Mapping[str, object]], names: Sequence[str], *, head: bool = True
) -> None:
    """Print lines under their heading, which stands there even if there are none."""
    text = io.StringIO()
    writer = csv.DictWriter(text, names, lineterminator="\n")
    if head:
        writer.writeheader()
    for record in records:
        writer.writerow({name: _cell(value) for name, value in record.items()})
    click.echo(text.getvalue(), nl=False)
    sys.stdout.flush()


def _cell(value: object) -> object:
    """Keep what users chose from being taken for a formula by a spreadsheet."""
    if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r"):
        return f"'{value}"
    return value
