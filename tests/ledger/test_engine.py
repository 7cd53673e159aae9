"""The ledger's door: queues, commits shared, errors in the ledger's own words."""

import asyncio
import sqlite3
import threading
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import Connection, text

from gateway.ledger import (
    Ledger,
    LedgerFault,
    LedgerUnavailable,
    engine,
    published,
    read_revision,
    sqlite,
    users,
)
from tests.ledger.conftest import add_user, names
from tests.support.clock import ManualClock
from tests.support.ledgers import Database, database_fixture, ledger_fixture

FIXTURES = (database_fixture, ledger_fixture)


class Gate:
    """A write that holds the writer until it is opened."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self._open = threading.Event()

    def __call__(self, conn: Connection) -> None:
        self.entered.set()
        assert self._open.wait(30)

    def open(self) -> None:
        self._open.set()


@pytest.fixture
def statements(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What SQLite is told on connections opened from now on, by everybody."""
    told: list[str] = []
    connect = sqlite.connect

    def traced(*arguments: object, **more: object) -> Connection:
        conn: Connection = connect(*arguments, **more)  # type: ignore[arg-type]  # passed through
        sqlite.driver(conn).set_trace_callback(told.append)
        return conn

    monkeypatch.setattr(sqlite, "connect", traced)
    return told


async def test_writes_that_wait_together_share_one_commit(
    lite: Ledger, statements: list[str]
) -> None:
    async with lite:
        gate = Gate()
        first = asyncio.ensure_future(lite.write(gate))
        await asyncio.to_thread(gate.entered.wait)
        waiting = [
            asyncio.ensure_future(lite.write(partial(add_user, name=f"u{number:02}")))
            for number in range(20)
        ]
        await asyncio.sleep(0)  # all of them are queued
        statements.clear()
        gate.open()
        await asyncio.gather(first, *waiting)
        assert statements.count("COMMIT") == 2  # the gate's own, and one for all the others
        assert len(await names(lite)) == 20


async def test_one_that_fails_is_undone_alone(lite: Ledger) -> None:
    def half_done(conn: Connection) -> None:
        add_user(conn, "half")
        raise ValueError("changed my mind")

    async with lite:
        gate = Gate()
        first = asyncio.ensure_future(lite.write(gate))
        await asyncio.to_thread(gate.entered.wait)
        together = asyncio.gather(
            lite.write(partial(add_user, name="ann")),
            lite.write(half_done),
            lite.write(partial(add_user, name="bob")),
            return_exceptions=True,
        )
        await asyncio.sleep(0)
        gate.open()
        results = await together
        await first
        assert [type(result) for result in results] == [type(None), ValueError, type(None)]
        assert await names(lite) == ["ann", "bob"]


async def test_the_disk_is_waited_for_only_when_somebody_asks(
    lite: Ledger, statements: list[str]
) -> None:
    async with lite:
        await lite.write(read_revision)  # the connection is open, with its settings
        told = []
        for durable in (False, True, True, False):
            statements.clear()
            await lite.write(read_revision, durable=durable)
            told.append([line for line in statements if "synchronous" in line])
        assert told == [
            [],
            ["PRAGMA synchronous = FULL"],
            [],  # it is so already
            ["PRAGMA synchronous = NORMAL"],
        ]


async def test_one_durable_write_makes_the_whole_commit_durable(
    lite: Ledger, statements: list[str]
) -> None:
    async with lite:
        gate = Gate()
        first = asyncio.ensure_future(lite.write(gate))
        await asyncio.to_thread(gate.entered.wait)
        statements.clear()
        together = [
            asyncio.ensure_future(
                lite.write(partial(add_user, name=f"u{number}"), durable=number == 2)
            )
            for number in range(4)
        ]
        await asyncio.sleep(0)
        gate.open()
        await asyncio.gather(first, *together)
        told = [line for line in statements if line == "COMMIT" or "synchronous" in line]
        assert told == ["COMMIT", "PRAGMA synchronous = FULL", "COMMIT"]
        await lite.write(read_revision)
        assert statements.count("PRAGMA synchronous = NORMAL") == 1


async def test_a_function_sees_all_or_nothing_and_undoes_all(ledger: Ledger) -> None:
    def half_done(conn: Connection) -> None:
        add_user(conn, "ann")
        conn.execute(text("INSERT INTO no_such_table VALUES (1)"))

    with pytest.raises((LedgerFault, LedgerUnavailable)):
        await ledger.write(half_done)
    assert await names(ledger) == []
    await ledger.write(partial(add_user, name="bob"))
    assert await names(ledger) == ["bob"]


async def test_a_write_is_seen_by_the_next_read(ledger: Ledger) -> None:
    for number in range(30):
        await ledger.write(partial(add_user, name=f"u{number:02}"))
        assert len(await names(ledger)) == number + 1


async def test_a_read_may_not_write(ledger: Ledger) -> None:
    with pytest.raises((LedgerFault, LedgerUnavailable)):
        await ledger.read(partial(add_user, name="ann"))
    assert await names(ledger) == []


async def test_a_read_in_one_transaction_sees_one_state(lite: Ledger) -> None:
    async with lite:
        begun, go_on = threading.Event(), threading.Event()

        def twice(conn: Connection) -> tuple[int, int]:
            before = len(users.list_users(conn))
            begun.set()
            assert go_on.wait(30)
            return before, len(users.list_users(conn))

        reading = asyncio.ensure_future(lite.read(twice))
        await asyncio.to_thread(begun.wait)
        await lite.write(partial(add_user, name="ann"))
        go_on.set()
        assert await reading == (0, 0)
        assert await names(lite) == ["ann"]


async def test_when_too_many_wait_the_next_is_told_at_once(
    lite: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "_CAPACITY", 3)
    async with lite:
        gate = Gate()
        first = asyncio.ensure_future(lite.write(gate))
        await asyncio.to_thread(gate.entered.wait)
        waiting = [
            asyncio.ensure_future(lite.write(partial(add_user, name=f"u{number}")))
            for number in range(3)
        ]
        await asyncio.sleep(0)
        with pytest.raises(LedgerUnavailable, match="overloaded"):
            await lite.write(partial(add_user, name="one too many"))
        assert await lite.read(read_revision) == 1  # reads have a queue of their own
        gate.open()
        await asyncio.gather(first, *waiting)
        assert await names(lite) == ["u0", "u1", "u2"]


async def test_one_who_hangs_up_before_their_turn_changes_nothing(lite: Ledger) -> None:
    async with lite:
        gate = Gate()
        first = asyncio.ensure_future(lite.write(gate))
        await asyncio.to_thread(gate.entered.wait)
        leaving = asyncio.ensure_future(lite.write(partial(add_user, name="leaving")))
        staying = asyncio.ensure_future(lite.write(partial(add_user, name="staying")))
        await asyncio.sleep(0)
        leaving.cancel()
        gate.open()
        await asyncio.gather(first, staying)
        assert leaving.cancelled()
        assert await names(lite) == ["staying"]


async def test_what_has_begun_is_finished_though_its_caller_hung_up(lite: Ledger) -> None:
    async with lite:
        gate = Gate()

        def slow(conn: Connection) -> None:
            gate(conn)
            add_user(conn, "ann")

        begun = asyncio.ensure_future(lite.write(slow))
        await asyncio.to_thread(gate.entered.wait)
        begun.cancel()
        gate.open()
        await lite.write(read_revision)
        assert await names(lite) == ["ann"]


async def test_closing_finishes_what_is_queued_and_takes_nothing_more(database: Database) -> None:
    async with database.open() as ledger:
        pending = [
            asyncio.ensure_future(ledger.write(partial(add_user, name=f"u{number}")))
            for number in range(10)
        ]
        await asyncio.sleep(0)
    await asyncio.gather(*pending)
    with pytest.raises(LedgerUnavailable, match="closed"):
        await ledger.read(read_revision)
    async with database.open() as again:
        assert len(await names(again)) == 10


async def test_a_ledger_that_is_not_open_says_so(lite: Ledger) -> None:
    with pytest.raises(LedgerUnavailable, match="not open"):
        await lite.read(read_revision)


async def test_stop_iteration_reaches_the_caller_as_an_error(ledger: Ledger) -> None:
    with pytest.raises(RuntimeError, match="StopIteration"):
        await ledger.read(lambda conn: next(iter([])))
    await ledger.ping()


async def test_slow_work_is_complained_about_once_in_a_while(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clock = ManualClock()
    async with Database("", tmp_path).open(clock) as ledger:
        for pause in (0.5, 2.0, 1.5, 10.0):

            def slow(conn: Connection, pause: float = pause) -> None:
                clock.advance(pause)

            await ledger.write(slow)
    told = [record.getMessage() for record in caplog.records if "ledger took" in record.message]
    assert told == [
        "the ledger took 2.0 s (queue write, 0 waiting)",
        "the ledger took 10.0 s (queue write, 0 waiting)",
    ]


async def test_a_healthy_ledger_answers_a_ping(ledger: Ledger) -> None:
    await ledger.ping()


async def test_a_ping_fails_while_another_process_holds_the_file(
    lite: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "BUSY_TIMEOUT_S", 0.05)
    async with lite:
        assert lite.path is not None
        other = sqlite3.connect(lite.path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(LedgerUnavailable, match="locked"):
            await lite.ping()
        assert await lite.read(read_revision) == 1  # reading goes on
        other.execute("ROLLBACK")
        other.close()
        await lite.ping()


async def test_a_full_disk_fails_the_writes_and_heals(lite: Ledger) -> None:
    """SQLite gives the transaction up on its own here; nothing half-done may stay."""
    async with lite:

        def limit(conn: Connection) -> None:
            pages = sqlite.driver(conn).execute("PRAGMA page_count").fetchone()[0]
            sqlite.driver(conn).execute(f"PRAGMA max_page_count = {pages + 1}")

        await lite.write(limit)
        big = "x" * 100_000
        with pytest.raises(LedgerUnavailable, match="full"):
            await lite.write(lambda conn: published.remember(conn, "big", big))
        # The connection is new, and with it the limit is gone.
        await lite.write(lambda conn: published.remember(conn, "big", big))
        assert await lite.read(lambda conn: published.recall(conn, "big")) == big


async def test_what_each_read_and_write_took_is_told(tmp_path: Path) -> None:
    clock = ManualClock()
    told: list[tuple[str, float]] = []
    async with Ledger(
        "", clock, folder=tmp_path, took=lambda kind, seconds: told.append((kind, seconds))
    ) as ledger:
        await ledger.write(partial(add_user, name="ann"))
        await names(ledger)
        with pytest.raises(ZeroDivisionError):
            await ledger.read(lambda conn: 1 / 0)
    assert [kind for kind, _ in told] == ["write", "read", "read"]
    assert all(seconds >= 0 for _, seconds in told)
