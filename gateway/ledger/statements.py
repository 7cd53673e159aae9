"""What several nouns share: locks, upserts, the revision, and amounts as columns."""

from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, Executable, Table, select, text
from sqlalchemy.dialects import postgresql as pg
from sqlalchemy.dialects import sqlite as lite

from gateway.ledger.tables import state

_READ_REVISION = select(state.c.revision).where(state.c.id == 1)
_BUMP = state.update().where(state.c.id == 1).values(revision=state.c.revision + 1)
_LOCK = text("SELECT pg_advisory_xact_lock(hashtextextended(:name, 0))")
# One trip to the server; a row's expressions are worked out from left to right.
_LOCK_TWO = text(
    "SELECT pg_advisory_xact_lock(hashtextextended(:name, 0)),"
    " pg_advisory_xact_lock(hashtextextended(:other, 0))"
)


@dataclass(frozen=True, slots=True)
class Upsert:
    """One "insert, or if it is there …" in both dialects' words."""

    sqlite: Executable
    postgresql: Executable

    def on(self, conn: Connection) -> Executable:
        """Return the words that this connection understands."""
        return self.sqlite if conn.dialect.name == "sqlite" else self.postgresql


def insert_or_ignore(table: Table) -> Upsert:
    """Insert a whole row unless it is there; the result's rowcount tells (for single rows)."""
    statements = [make(table).on_conflict_do_nothing() for make in (lite.insert, pg.insert)]
    # SQLAlchemy forgets the count of an INSERT unless it is asked to keep it.
    return Upsert(*(one.execution_options(preserve_rowcount=True) for one in statements))


def insert_or_replace(
    table: Table, *replaced: str, added: tuple[str, ...] = (), only_if: str | None = None
) -> Upsert:
    """Insert a row; if its key is there, take the new `replaced` and add the new `added` to it.

    With `only_if`, the row that is there stays unless that column of the new one is larger.
    """
    key = [column.name for column in table.primary_key.columns]
    statements: list[Executable] = []
    for make in (lite.insert, pg.insert):
        statement = make(table)
        new = statement.excluded
        changes: dict[str, ColumnElement[object]] = {name: new[name] for name in replaced}
        changes |= {name: table.c[name] + new[name] for name in added}
        statements.append(
            statement.on_conflict_do_update(
                index_elements=key,
                set_=changes,
                where=None if only_if is None else new[only_if] > table.c[only_if],
            )
        )
    return Upsert(*statements)


def lock(conn: Connection, *names: str) -> None:
    """Let nobody else hold these names until the transaction ends.

    Whoever reads counters in order to change them holds their subjects. A name need not be in any
    table, which a row lock would ask for. SQLite's single writer makes this superfluous there.
    """
    if conn.dialect.name == "sqlite":
        return
    ordered = sorted(set(names))  # in one order, or two could wait for each other
    if len(ordered) == 2:
        conn.execute(_LOCK_TWO, {"name": ordered[0], "other": ordered[1]})
        return
    for name in ordered:
        conn.execute(_LOCK, {"name": name})


def read_revision(conn: Connection) -> int:
    """Return the number that grows with every change of who may do what."""
    return int(conn.execute(_READ_REVISION).scalar_one())


def bump(conn: Connection) -> None:
    """Make every worker look again at who may do what."""
    conn.execute(_BUMP)
