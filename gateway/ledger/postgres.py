"""PostgreSQL: any number of machines on one ledger.

Each thread keeps a connection of its own. Transactions are READ COMMITTED; where SQLite relies on
its single writer, the functions take locks (`gateway.ledger.statements.lock`, FOR UPDATE). What the
server gives up for another transaction's sake is run again here.
"""

from collections.abc import Sequence

from sqlalchemy import URL, Connection, Engine, create_engine, exc, text
from sqlalchemy.pool import NullPool

from gateway.ledger.lanes import Job

ATTEMPTS = 6
"""How often one transaction is tried before its failure is reported."""

_RUN_AGAIN = frozenset({"40001", "40P01"})  # serialization failure, deadlock

_ON_CONNECT = (
    # Nothing that the gateway asks may hold others up for long.
    "SET statement_timeout = '30s'",
    "SET lock_timeout = '10s'",
    "SET idle_in_transaction_session_timeout = '60s'",
)

# What can be had again need not wait for the disk; what cannot is committed with the default.
_LAZY_COMMIT = text("SET LOCAL synchronous_commit TO OFF")


def make_engine(url: URL) -> Engine:
    """Return an engine that speaks psycopg 3, whatever driver the URL names or leaves out."""
    return create_engine(
        url.set(drivername="postgresql+psycopg"),
        poolclass=NullPool,
        hide_parameters=True,
        query_cache_size=1000,
        isolation_level="READ COMMITTED",
        connect_args={"connect_timeout": 5, "application_name": "replicate-gateway"}
        | {name: value for name, value in url.query.items() if name == "connect_timeout"},
    )


def connect(engine: Engine, *, read_only: bool = False) -> Connection:
    """Open a connection; a read-only one commits by itself, which saves two trips a read."""
    conn = engine.connect()
    try:
        if read_only:
            conn = conn.execution_options(isolation_level="AUTOCOMMIT")
            conn.exec_driver_sql("SET default_transaction_read_only = on")
        for setting in _ON_CONNECT:
            conn.exec_driver_sql(setting)
        conn.commit()
    except BaseException:
        conn.close()
        raise
    return conn


class PostgresReader:
    """Runs each function without a transaction: every statement sees the state of its own moment.

    A read that finds its connection broken is made once more on a new one.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._conn: Connection | None = None

    def run(self, jobs: Sequence[Job]) -> None:
        """Run them one after the other."""
        for job in jobs:
            if not self._run(job):
                self._run(job)

    def _run(self, job: Job) -> bool:
        fresh = self._conn is None
        job.reset()
        try:
            if self._conn is None:
                self._conn = connect(self._engine, read_only=True)
            job.run(self._conn)
            self._conn.rollback()
        except Exception as error:  # noqa: BLE001 - it goes to the one who asked
            job.error = error
        if job.error is not None and _broken(job.error):
            self.close()
            return fresh
        return True

    def close(self) -> None:
        """Close the connection; the next run opens another."""
        conn, self._conn = self._conn, None
        _close(conn)


class PostgresWriter:
    """Runs each function in a transaction of its own, again if the server asks for that."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._conn: Connection | None = None

    def run(self, jobs: Sequence[Job]) -> None:
        """Run and commit them one after the other."""
        for job in jobs:
            for _ in range(ATTEMPTS):
                if self._run(job):
                    break

    def _run(self, job: Job) -> bool:
        """Return False if the transaction has certainly not happened and is worth another try."""
        fresh = self._conn is None
        job.reset()
        committing = False
        try:
            if self._conn is None:
                self._conn = connect(self._engine)
            if not job.durable:
                self._conn.execute(_LAZY_COMMIT)
            job.run(self._conn)
            if job.error is None:
                committing = True
                self._conn.commit()
            else:
                self._conn.rollback()
        except Exception as error:  # noqa: BLE001 - it goes to the one who asked
            job.result, job.error = None, error if job.error is None else job.error
            self.close()
        return self._settled(job.error, hopeless=committing or fresh)

    def _settled(self, error: BaseException | None, *, hopeless: bool) -> bool:
        if error is None:
            return True
        if _sqlstate(error) in _RUN_AGAIN:
            return False
        if _broken(error):
            self.close()
            # A commit whose answer was lost may have happened; a connection that breaks at once
            # will break again.
            return hopeless
        return True

    def close(self) -> None:
        """Close the connection, undoing what is not committed; the next run opens another."""
        conn, self._conn = self._conn, None
        _close(conn)


def _close(conn: Connection | None) -> None:
    if conn is not None:
        try:
            conn.close()
        except exc.SQLAlchemyError:
            # It was broken already; what went wrong has been reported by the statement before.
            conn.invalidate()


def _sqlstate(error: BaseException) -> str | None:
    inner = error.orig if isinstance(error, exc.DBAPIError) else error
    # By its attribute: the driver is an extra that SQLite's users need not install.
    state = getattr(inner, "sqlstate", None)
    return state if isinstance(state, str) else None


def _broken(error: BaseException) -> bool:
    return isinstance(error, exc.DBAPIError) and error.connection_invalidated
