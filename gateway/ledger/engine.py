"""The ledger's door: functions that take a connection go in, their results come out."""

import asyncio
import logging
import math
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar, cast

from sqlalchemy import URL, Connection, Engine, exc, make_url

from gateway.clock import Clock
from gateway.ledger import migrate, postgres, sqlite
from gateway.ledger.errors import LedgerError, LedgerUnavailable, masked, translated
from gateway.ledger.lanes import Lane
from gateway.ledger.statements import read_revision

T = TypeVar("T")

FILE_NAME = "ledger.sqlite3"

_SQLITE_READERS = 4
# As many as share one commit at most; other processes wait for the file meanwhile.
_SQLITE_BATCH = 64
# Connections are what a PostgreSQL server has least of: this many for each process.
_POSTGRES_READERS = 4
_POSTGRES_WRITERS = 4
# Thousands of writes a second are worked off; who would wait longer than that is told at once.
_CAPACITY = 4000
_SLOW_S = 1.0
_COMPLAIN_EVERY_S = 10.0

_log = logging.getLogger(__name__)


class Ledger:
    """The truth about users, predictions, quotas and files, in SQLite or PostgreSQL.

    An async context manager, for one event loop. `url` is "" for SQLite in `folder`,
    ``sqlite:///path``, or ``postgresql://…``. Entering brings the schema up to date; it raises
    LedgerTooNew for a database of a newer gateway and LedgerUnavailable for one out of reach.
    `took` is told of each ``read`` and ``write`` how many seconds it took, its wait included.
    """

    def __init__(
        self,
        url: str,
        clock: Clock,
        *,
        folder: Path,
        took: Callable[[str, float], None] = lambda kind, seconds: None,
    ) -> None:
        self._clock = clock
        self._took = took
        self._url = _parsed(url, folder)
        self._readers: Lane | None = None
        self._writers: Lane | None = None
        self._engine: Engine | None = None
        self._complained_at = -math.inf

    @property
    def dialect(self) -> str:
        """``sqlite`` or ``postgresql``."""
        return "sqlite" if self._url.drivername.startswith("sqlite") else "postgresql"

    @property
    def path(self) -> Path | None:
        """The database's file; None for PostgreSQL."""
        return Path(self._url.database or "") if self.dialect == "sqlite" else None

    def __repr__(self) -> str:
        waiting = sum(lane.depth for lane in (self._readers, self._writers) if lane)
        return f"<Ledger {self._url.render_as_string(hide_password=True)} waiting={waiting}>"

    async def __aenter__(self) -> Self:
        try:
            self._engine = engine = await asyncio.to_thread(self._open)
        except LedgerError:
            raise
        except Exception as error:
            known = translated(error)
            if isinstance(known, LedgerError):
                raise known from error
            raise LedgerUnavailable(f"the ledger cannot be opened: {masked(str(error))}") from error
        loop = asyncio.get_running_loop()
        if self.dialect == "sqlite":
            self._readers = Lane(
                "read",
                lambda: sqlite.SqliteReader(engine),
                threads=_SQLITE_READERS,
                batch=1,
                capacity=_CAPACITY,
                loop=loop,
            )
            self._writers = Lane(
                "write",
                lambda: sqlite.SqliteWriter(engine),
                threads=1,
                batch=_SQLITE_BATCH,
                capacity=_CAPACITY,
                loop=loop,
            )
        else:
            self._readers = Lane(
                "read",
                lambda: postgres.PostgresReader(engine),
                threads=_POSTGRES_READERS,
                batch=1,
                capacity=_CAPACITY,
                loop=loop,
            )
            self._writers = Lane(
                "write",
                lambda: postgres.PostgresWriter(engine),
                threads=_POSTGRES_WRITERS,
                batch=1,
                capacity=_CAPACITY,
                loop=loop,
            )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Finish what is queued, then close."""
        for lane in (self._writers, self._readers):
            if lane is not None:
                await lane.close()
        if self._engine is not None:
            self._engine.dispose()

    async def read(self, fn: Callable[[Connection], T]) -> T:
        """Run a function that only reads; it sees every write that was acknowledged before.

        On SQLite it sees one state of the database throughout, on PostgreSQL each of its statements
        sees the state of its own moment. Raises LedgerUnavailable.
        """
        return cast(T, await self._run(self._lane(self._readers), fn, durable=False))

    async def write(self, fn: Callable[[Connection], T], *, durable: bool = False) -> T:
        """Run a function in a transaction, all or nothing; returns after the commit.

        `durable` waits for the disk, for what cannot be had again. The function may be run again
        (only one run counts), so it must change nothing but the database. If the caller is
        canceled before its turn, it is not run; later, it is finished all the same.
        Raises LedgerUnavailable, and what the function raises.
        """
        return cast(T, await self._run(self._lane(self._writers), fn, durable=durable))

    async def ping(self) -> None:
        """Return if the ledger can be read and written now; else raise LedgerUnavailable."""
        await self.read(read_revision)
        await self.write(read_revision)

    async def _run(
        self, lane: Lane, fn: Callable[[Connection], object], *, durable: bool
    ) -> object:
        begun = self._clock.monotonic()
        try:
            return await lane.submit(fn, durable=durable)
        finally:
            now = self._clock.monotonic()
            self._took(lane.name, now - begun)
            self._complain_if_slow(lane, begun, now)

    def _complain_if_slow(self, lane: Lane, begun: float, now: float) -> None:
        """Say so when work takes long, but not for each of all those that wait behind it."""
        if now - begun >= _SLOW_S and now - self._complained_at >= _COMPLAIN_EVERY_S:
            self._complained_at = now
            _log.warning(
                "the ledger took %.1f s (queue %s, %d waiting)", now - begun, lane.name, lane.depth
            )

    def _lane(self, lane: Lane | None) -> Lane:
        if lane is None:
            raise LedgerUnavailable("the ledger is not open")
        return lane

    def _open(self) -> Engine:
        if self.path is not None:
            sqlite.prepare_file(self.path)
            engine = sqlite.make_engine(self.path)
            migrate.bring_up_sqlite(engine, self.path)
        else:
            engine = postgres.make_engine(self._url)
            migrate.bring_up_postgres(engine)
        return engine


def _parsed(url: str, folder: Path) -> URL:
    if not url:
        return URL.create("sqlite", database=str(folder / FILE_NAME))
    if url.startswith("postgres://"):  # the spelling of some hosters
        url = "postgresql" + url.removeprefix("postgres")
    try:
        parsed = make_url(url)
    except exc.ArgumentError:
        # Its message repeats the URL, password included.
        raise LedgerUnavailable("the ledger's URL cannot be read") from None
    name = parsed.drivername.partition("+")[0]
    if name == "postgresql" or (name == "sqlite" and parsed.database not in (None, "", ":memory:")):
        return parsed
    raise LedgerUnavailable(f"the ledger cannot live in {name}: use SQLite or PostgreSQL")
