"""How results are printed: tables for people, aligned text for pipes, JSON for programs."""

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeAlias, TypeVar

import click
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

T = TypeVar("T")

Record: TypeAlias = Mapping[str, object]
"""What programs are told of one thing."""


@dataclass(frozen=True, slots=True)
class Column(Generic[T]):
    """A column of a table: its heading and what it says of an item."""

    title: str
    cell: Callable[[T], str]
    right: bool = False


def print_json(value: object) -> None:
    """Print for programs. Raises TypeError for what JSON has no form of."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))


def print_list(
    items: Sequence[T],
    columns: Sequence[Column[T]],
    record: Callable[[T], Record],
    *,
    as_json: bool,
    empty: str,
) -> None:
    """Print a list; `empty` tells people what to do when there is nothing."""
    if as_json:
        print_json([record(item) for item in items])
    elif not items:
        click.echo(empty, err=True)
    else:
        print_table(
            [column.title for column in columns],
            [[column.cell(item) for column in columns] for item in items],
            right=frozenset(place for place, column in enumerate(columns) if column.right),
        )


def print_table(
    titles: Sequence[str], rows: Sequence[Sequence[str]], *, right: frozenset[int] = frozenset()
) -> None:
    """Print a table: drawn on a terminal, aligned with blanks elsewhere."""
    if sys.stdout.isatty():
        Console().print(_drawn(titles, rows, right))
        return
    lines = [[clean(cell) for cell in row] for row in ([title.upper() for title in titles], *rows)]
    widths = [max(len(line[place]) for line in lines) for place in range(len(titles))]
    for line in lines:
        cells = (
            cell.rjust(width) if place in right else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        click.echo("  ".join(cells).rstrip())


def _drawn(titles: Sequence[str], rows: Sequence[Sequence[str]], right: frozenset[int]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, header_style="bold", pad_edge=False)
    for place, title in enumerate(titles):
        table.add_column(
            title, justify="right" if place in right else "left", overflow="fold", no_wrap=False
        )
    for row in rows:
        table.add_row(*(Text(clean(cell)) for cell in row))
    return table


def print_facts(facts: Sequence[tuple[str, str]]) -> None:
    """Print what is known of one thing, a line each; what is empty is left out."""
    told = [(name, value) for name, value in facts if value]
    width = max((len(name) for name, _ in told), default=0)
    for name, value in told:
        click.echo(f"{name:{width}}  {clean(value)}")


def clean(text: str) -> str:
    """Return text without anything that would move a terminal's cursor or change its colours."""
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)
