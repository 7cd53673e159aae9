"""Bring a database's schema up to date when it is opened, one process at a time."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Connection, Engine, text
from sqlalchemy import inspect as look_into

from gateway.ledger import postgres, sqlite
from gateway.ledger.errors import LedgerTooNew

HEAD = "0006"
"""The newest migration. A database that has it is left alone, and Alembic, which takes a third of a
second to import, unimported."""

SCRIPTS = Path(__file__).parent / "migrations"

_PG_LOCK = 0x5265706C  # any number that only we use
_VERSION = text("SELECT version_num FROM alembic_version")


def bring_up_sqlite(engine: Engine, path: Path) -> None:
    """Migrate a SQLite file. Raises LedgerTooNew."""
    with sqlite.connect(engine) as conn:
        if stored_revision(conn) == HEAD:
            return
        with _alone(path.with_name(path.name + ".migrate.lock")):
            conn.rollback()
            sqlite.driver(conn).execute("BEGIN IMMEDIATE")
            upgrade(conn)
            conn.commit()


def bring_up_postgres(engine: Engine) -> None:
    """Migrate a PostgreSQL database. Raises LedgerTooNew."""
    with postgres.connect(engine) as conn:
        if stored_revision(conn) == HEAD:
            return
        conn.rollback()
        # Held until the commit. A migration may take as long as it takes.
        conn.execute(text("SET LOCAL statement_timeout = 0"))
        conn.execute(text("SET LOCAL lock_timeout = 0"))
        conn.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _PG_LOCK})
        upgrade(conn)
        conn.commit()


def stored_revision(conn: Connection) -> str | None:
    """Return the migration that a database has come to, None for an empty one."""
    if not look_into(conn).has_table("alembic_version"):
        return None
    revision: str | None = conn.execute(_VERSION).scalar_one_or_none()
    return revision


def upgrade(conn: Connection, target: str = "head") -> None:
    """Run what is missing in the transaction that has begun. Raises LedgerTooNew."""
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory
    from alembic.util import CommandError

    config = Config()
    config.set_main_option("script_location", str(SCRIPTS).replace("%", "%%"))
    config.attributes["connection"] = conn
    revision = stored_revision(conn)
    if revision is not None:
        try:
            ScriptDirectory.from_config(config).get_revision(revision)
        except CommandError:
            raise LedgerTooNew(
                f"the ledger was written by a newer version of replicate-gateway (its schema is "
                f"{revision}, this version knows up to {HEAD}): upgrade, or restore a backup"
            ) from None
    command.upgrade(config, target)


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Wait until no other process migrates. The lock goes with the process, however it ends."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
