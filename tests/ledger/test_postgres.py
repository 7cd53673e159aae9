"""What only a database server does: deadlocks, and connections that end."""

import asyncio
import os
import threading
from collections.abc import Callable
from functools import partial

import pytest
from sqlalchemy import Connection, text

from gateway.ledger import (
    Ledger,
    LedgerUnavailable,
    read_revision,
    users,
)
from tests.ledger.conftest import add_user, names


@pytest.mark.postgres
async def test_a_deadlock_is_run_again(postgres_ledger: Ledger) -> None:
    """Two transactions lock two rows in opposite order; the server gives one of them up."""
    for name in ("ann", "bob"):
        await postgres_ledger.write(partial(add_user, name=name))
    met = threading.Barrier(2, timeout=10)
    runs: list[str] = []

    def lock_rows(first: str, second: str) -> Callable[[Connection], None]:
        def run(conn: Connection) -> None:
            fresh = first not in runs
            runs.append(first)
            conn.execute(text("SET LOCAL deadlock_timeout = '50ms'"))
            for number, name in enumerate((first, second)):
                conn.execute(
                    text("UPDATE users SET team = :team WHERE name = :name"),
                    {"team": first, "name": name},
                )
                if number == 0 and fresh:
                    met.wait()

        return run

    await asyncio.gather(
        postgres_ledger.write(lock_rows("ann", "bob")),
        postgres_ledger.write(lock_rows("bob", "ann")),
    )
    assert len(runs) == 3
    teams = {user.team for user in await postgres_ledger.read(users.list_users)}
    assert len(teams) == 1  # one of them came last, with both of its changes


@pytest.mark.postgres
async def test_connections_that_the_server_closed_are_replaced(postgres_ledger: Ledger) -> None:
    await postgres_ledger.ping()
    await asyncio.gather(*(postgres_ledger.read(read_revision) for _ in range(50)))
    await asyncio.gather(*(postgres_ledger.write(read_revision) for _ in range(50)))

    def end_others(conn: Connection) -> int:
        return len(
            conn.execute(
                text(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
                )
            ).all()
        )

    assert await postgres_ledger.write(end_others) > 1
    await asyncio.gather(*(postgres_ledger.read(read_revision) for _ in range(50)))
    await asyncio.gather(
        *(postgres_ledger.write(partial(add_user, name=f"u{number}")) for number in range(50))
    )
    assert len(await names(postgres_ledger)) == 50


@pytest.mark.postgres
async def test_a_connection_lost_during_the_commit_is_not_tried_again(
    postgres_ledger: Ledger,
) -> None:
    """It may have happened: only the caller can find out."""
    runs: list[int] = []

    def lose_it(conn: Connection) -> None:
        runs.append(1)
        add_user(conn, f"u{len(runs)}")
        raw = conn.connection.driver_connection
        assert raw is not None
        os.close(raw.pgconn.socket)

    with pytest.raises(LedgerUnavailable):
        await postgres_ledger.write(lose_it)
    assert len(runs) == 1
    await postgres_ledger.ping()
