"""Migrations: they lead to the tables that the code has, once, and never from the future."""

import asyncio
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, create_engine, inspect, make_url, text

from gateway.ledger import LedgerTooNew, migrate, postgres, read_revision, sqlite
from gateway.ledger.engine import FILE_NAME
from gateway.ledger.tables import metadata
from tests.support.ledgers import Database, migrated
from tests.support.postgres import create_database, drop_database


def scripts() -> ScriptDirectory:
    config = Config()
    config.set_main_option("script_location", str(migrate.SCRIPTS))
    return ScriptDirectory.from_config(config)


def test_the_newest_migration_is_the_one_the_code_asks_for() -> None:
    assert scripts().get_heads() == [migrate.HEAD]


def differences(conn: Connection) -> list[object]:
    context = MigrationContext.configure(
        conn, opts={"compare_type": True, "compare_server_default": True}
    )
    return list(compare_metadata(context, metadata))


def lite_schema(conn: Connection) -> set[tuple[object, ...]]:
    """Columns, indexes and kinds of tables, in whatever order they were made."""
    found: set[tuple[object, ...]] = set()
    for name, without_rowid in conn.execute(
        text("SELECT name, wr FROM pragma_table_list WHERE schema = 'main' AND type = 'table'")
    ).all():
        if name.startswith(("alembic", "sqlite")):
            continue
        found.add((name, "without rowid", without_rowid))
        for column in conn.execute(text(f"PRAGMA table_info({name})")):
            found.add((name, *column[1:]))
        for key in conn.execute(text(f"PRAGMA foreign_key_list({name})")):
            found.add((name, *key[2:]))
    indexes = conn.execute(text("SELECT sql FROM sqlite_master WHERE type = 'index'"))
    return found | {(" ".join(row[0].split()),) for row in indexes if row[0] is not None}


def test_on_sqlite_the_migrations_make_exactly_the_tables(tmp_path: Path) -> None:
    made = sqlite.make_engine(tmp_path / "migrated")
    migrate.bring_up_sqlite(made, tmp_path / "migrated")
    plain = sqlite.make_engine(tmp_path / "plain")
    metadata.create_all(plain)
    with made.connect() as conn, plain.connect() as other:
        assert differences(conn) == []
        assert lite_schema(conn) == lite_schema(other)


@pytest.mark.postgres
def test_on_postgresql_the_migrations_make_exactly_the_tables(tmp_path: Path) -> None:
    plain = create_database("plain")
    try:
        for database in migrated("postgresql", tmp_path):
            made = postgres.make_engine(make_url(database.url))
            other = postgres.make_engine(make_url(plain))
            metadata.create_all(other)
            with made.connect() as conn, other.connect() as conn2:
                assert differences(conn) == []
                assert postgres_schema(conn) == postgres_schema(conn2)
    finally:
        drop_database("plain")


def postgres_schema(conn: Connection) -> set[tuple[object, ...]]:
    columns = conn.execute(
        text(
            "SELECT table_name, column_name, data_type, is_nullable, column_default"
            " FROM information_schema.columns WHERE table_schema = 'public'"
        )
    )
    indexes = conn.execute(text("SELECT indexdef FROM pg_indexes WHERE schemaname = 'public'"))
    constraints = conn.execute(
        text(
            "SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid)"
            " FROM pg_constraint WHERE connamespace = 'public'::regnamespace"
        )
    )
    found = {tuple(row) for rows in (columns, indexes, constraints) for row in rows}
    return {row for row in found if "alembic_version" not in str(row)}


async def test_a_new_database_begins_with_a_revision(tmp_path: Path) -> None:
    async with Database("", tmp_path).open() as ledger:
        assert await ledger.read(read_revision) == 1


async def test_a_database_of_a_newer_version_is_left_alone(tmp_path: Path) -> None:
    for database in migrated("sqlite", tmp_path):
        path = tmp_path / FILE_NAME
        conn = sqlite3.connect(path)
        with conn:
            conn.execute("UPDATE alembic_version SET version_num = '9999'")
        before = path.read_bytes()
        with pytest.raises(LedgerTooNew, match=rf"newer version.*9999.*{migrate.HEAD}") as raised:
            await database.open().__aenter__()
        assert "\n" not in str(raised.value)
        assert path.read_bytes() == before
        conn.close()


@pytest.mark.postgres
async def test_a_server_of_a_newer_version_is_left_alone(tmp_path: Path) -> None:
    for database in migrated("postgresql", tmp_path):
        engine = create_engine(make_url(database.url).set(drivername="postgresql+psycopg"))
        with engine.begin() as conn:
            conn.execute(text("UPDATE alembic_version SET version_num = '9999'"))
        engine.dispose()
        with pytest.raises(LedgerTooNew, match="newer version"):
            await database.open().__aenter__()


async def test_many_who_open_a_new_database_at_once_migrate_it_once(tmp_path: Path) -> None:
    ledgers = [Database("", tmp_path).open() for _ in range(5)]
    await asyncio.gather(*(ledger.__aenter__() for ledger in ledgers))
    assert [await ledger.read(read_revision) for ledger in ledgers] == [1] * 5
    for ledger in ledgers:
        await ledger.__aexit__(None, None, None)


@pytest.mark.postgres
async def test_many_who_open_a_new_server_at_once_migrate_it_once(tmp_path: Path) -> None:
    url = create_database("fresh")
    try:
        ledgers = [Database(url, tmp_path).open() for _ in range(4)]
        await asyncio.gather(*(ledger.__aenter__() for ledger in ledgers))
        assert [await ledger.read(read_revision) for ledger in ledgers] == [1] * 4
        for ledger in ledgers:
            await ledger.__aexit__(None, None, None)
    finally:
        drop_database("fresh")


async def test_a_migration_that_breaks_off_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    upgrade = migrate.upgrade

    def breaks_off(conn: Connection, target: str = "head") -> None:
        upgrade(conn, target)
        raise OSError("the power went")

    monkeypatch.setattr(migrate, "upgrade", breaks_off)
    with pytest.raises(Exception, match="the power went"):
        await Database("", tmp_path).open().__aenter__()
    engine = create_engine(f"sqlite:///{tmp_path / FILE_NAME}")
    with engine.connect() as conn:
        assert inspect(conn).get_table_names() == []
    engine.dispose()
    monkeypatch.undo()
    async with Database("", tmp_path).open() as ledger:
        assert await ledger.read(read_revision) == 1


def test_opening_a_database_that_is_up_to_date_does_not_import_alembic(tmp_path: Path) -> None:
    code = (
        "import asyncio, sys\n"
        "from pathlib import Path\n"
        "from gateway.clock import SystemClock\n"
        "from gateway.ledger import Ledger\n"
        "async def main():\n"
        "    async with Ledger('', SystemClock(), folder=Path(sys.argv[1])) as ledger:\n"
        "        await ledger.ping()\n"
        "asyncio.run(main())\n"
        "print('alembic' in sys.modules)\n"
    )
    said = [
        subprocess.run(
            [sys.executable, "-c", code, str(tmp_path)],
            check=True,
            capture_output=True,
            text=True,
            env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
        ).stdout.strip()
        for _ in range(2)
    ]
    assert said == ["True", "False"]
