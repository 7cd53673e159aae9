"""SQLite: one file, one writer at a time, any number of readers, several processes.

All writes of a process go through one thread, because SQLite has one writer anyway: queueing in our
own memory is fair and cheap, where waiting for the file's lock is neither. What waits together is
committed together, so that many changes share one sync of the disk.
"""

import os
import sqlite3
from collections.abc import Sequence
from pathlib import Path

from sqlalchemy import URL, Connection, Engine, create_engine
from sqlalchemy.pool import NullPool

from gateway.ledger.errors import LedgerUnavailable, translated
from gateway.ledger.lanes import Job

BUSY_TIMEOUT_S = 5.0
"""How long to wait for another process's write before giving up."""

_SETTINGS = (
    # Readers do not wait for the writer, nor the writer for readers. It is kept in the file.
    "PRAGMA journal_mode = WAL",
    # Commits reach the disk at the next checkpoint: a crash of the process loses nothing, a power
    # cut may lose the last of them, and neither damages the file. The writer raises it to FULL for
    # what must not be lost even then.
    "PRAGMA synchronous = NORMAL",
    # The schema's references hold; SQLite leaves them unchecked unless told.
    "PRAGMA foreign_keys = ON",
    # Sorting for a report needs no file.
    "PRAGMA temp_store = MEMORY",
    # 16 MiB of pages for each connection (negative: in KiB): the indexes of a busy gateway.
    "PRAGMA cache_size = -16384",
    # After a burst, give the log's disk space back down to 64 MiB.
    "PRAGMA journal_size_limit = 67108864",
    # What was erased is overwritten where that costs no further input or output.
    "PRAGMA secure_delete = FAST",
    # Functions in a schema that somebody has tampered with are not run.
    "PRAGMA trusted_schema = OFF",
)


def prepare_file(path: Path) -> None:
    """Make the database's file, readable by its owner only; SQLite gives its log the same mode."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    path.chmod(0o600)


def make_engine(path: Path) -> Engine:
    """Return an engine whose connections begin no transaction by themselves.

    Parameters stay out of error messages. The statements compiled once are shared by all threads.
    """
    return create_engine(
        URL.create("sqlite", database=str(path)),
        poolclass=NullPool,
        hide_parameters=True,
        query_cache_size=1000,
        connect_args={
            # sqlite3 would otherwise begin transactions on its own, and deferred ones at that.
            "isolation_level": None,
            "timeout": BUSY_TIMEOUT_S,
            "check_same_thread": False,
            "cached_statements": 256,
        },
    )


def connect(engine: Engine, *, read_only: bool = False) -> Connection:
    """Open a connection with the settings above."""
    conn = engine.connect()
    try:
        raw = driver(conn)
        for setting in _SETTINGS:
            raw.execute(setting)
        if read_only:
            # A read that writes is a mistake: it must fail, not wait for the lock.
            raw.execute("PRAGMA query_only = ON")
    except BaseException:
        conn.close()
        raise
    return conn


def driver(conn: Connection) -> sqlite3.Connection:
    """Return SQLite's own connection: BEGIN and its kin cost a fifth there."""
    raw = conn.connection.driver_connection
    if not isinstance(raw, sqlite3.Connection):
        raise TypeError("not a connection to SQLite")
    return raw


class SqliteReader:
    """Runs each function in a transaction of its own, so that it sees one state of the database."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._conn: Connection | None = None

    def run(self, jobs: Sequence[Job]) -> None:
        """Run them one after the other."""
        for job in jobs:
            try:
                if self._conn is None:
                    self._conn = connect(self._engine, read_only=True)
                raw = driver(self._conn)
                raw.execute("BEGIN")
                try:
                    job.run(self._conn)
                finally:
                    self._conn.rollback()
                    raw.rollback()
            except Exception as error:  # noqa: BLE001 - it goes to the one who asked
                job.error = error
                self.close()

    def close(self) -> None:
        """Close the connection; the next run opens another."""
        conn, self._conn = self._conn, None
        if conn is not None:
            conn.close()


class SqliteWriter:
    """Runs all functions that wait in one transaction, each behind a savepoint of its own."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._conn: Connection | None = None
        self._full = False

    def run(self, jobs: Sequence[Job]) -> None:
        """Commit all jobs together; one that raises is undone alone."""
        try:
            conn = self._connection()
            raw = driver(conn)
            # Only possible between transactions; the sync of one commit covers all before it.
            full = any(job.durable for job in jobs)
            if full != self._full:
                raw.execute(f"PRAGMA synchronous = {'FULL' if full else 'NORMAL'}")
                self._full = full
            # IMMEDIATE: a transaction that reads before it writes could otherwise find, too late,
            # that another process has written meanwhile.
            raw.execute("BEGIN IMMEDIATE")
            for job in jobs:
                _behind_savepoint(conn, raw, job)
            raw.execute("COMMIT")
            conn.commit()
        except Exception as error:  # noqa: BLE001 - it goes to those who asked
            for job in jobs:
                job.result, job.error = None, error
            self.close()

    def _connection(self) -> Connection:
        if self._conn is None:
            self._conn = connect(self._engine)
            self._full = False
        return self._conn

    def close(self) -> None:
        """Close the connection, undoing what is not committed; the next run opens another."""
        conn, self._conn = self._conn, None
        if conn is not None:
            conn.close()


def _behind_savepoint(conn: Connection, raw: sqlite3.Connection, job: Job) -> None:
    raw.execute("SAVEPOINT job")
    job.run(conn)
    if job.error is not None:
        if not raw.in_transaction:
            # SQLite gave the whole transaction up, as it does when the disk is full.
            reason = translated(job.error)
            raise LedgerUnavailable(str(reason)) from job.error
        raw.execute("ROLLBACK TO job")
    raw.execute("RELEASE job")
