"""Which ledgers can be opened, who can read them, and what errors keep to themselves."""

import stat
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import Connection

from gateway.ledger import (
    Ledger,
    LedgerFault,
    LedgerUnavailable,
    engine,
    keys,
)
from gateway.ledger.errors import masked
from tests.ledger.conftest import add_user
from tests.support.clock import ManualClock
from tests.support.ledgers import NOW, Database, database_fixture, ledger_fixture

FIXTURES = (database_fixture, ledger_fixture)


async def test_only_the_owner_can_read_the_files(lite: Ledger) -> None:
    async with lite:
        await lite.write(partial(add_user, name="ann"))
        assert lite.path is not None
        files = sorted(path for path in lite.path.parent.iterdir())
        assert {path.suffix for path in files} >= {".sqlite3", ".sqlite3-wal", ".sqlite3-shm"}
        for path in files:
            assert stat.S_IMODE(path.stat().st_mode) == 0o600, path


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("mysql://ann:hunter2@host/db", "mysql"),
        ("sqlite://", "sqlite"),
        ("://ann:hunter2@", "cannot be read"),
    ],
)
def test_a_url_that_cannot_be_used_is_refused_without_its_password(
    tmp_path: Path, url: str, told: str
) -> None:
    with pytest.raises(LedgerUnavailable, match=told) as raised:
        Ledger(url, ManualClock(), folder=tmp_path)
    assert "hunter2" not in str(raised.value)


async def test_an_unreachable_server_is_reported_without_its_password(tmp_path: Path) -> None:
    ledger = Ledger(f"postgres://ann:hunter2@/db?host={tmp_path}", ManualClock(), folder=tmp_path)
    assert "hunter2" not in repr(ledger)
    with pytest.raises(LedgerUnavailable) as raised:
        await ledger.__aenter__()
    assert "hunter2" not in str(raised.value)
    assert "\n" not in str(raised.value)


async def test_a_folder_that_cannot_be_used_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    ledger = Ledger("", ManualClock(), folder=tmp_path / "file" / "folder")
    with pytest.raises(LedgerUnavailable, match="cannot be opened"):
        await ledger.__aenter__()


async def test_a_file_that_is_no_database_is_reported(tmp_path: Path) -> None:
    (tmp_path / engine.FILE_NAME).write_bytes(b"certainly no database, but long enough" * 100)
    with pytest.raises(LedgerUnavailable, match="not a database"):
        await Database("", tmp_path).open().__aenter__()


async def test_another_path_can_be_named(tmp_path: Path) -> None:
    path = tmp_path / "elsewhere" / "my.db"
    async with Database(f"sqlite:///{path}", tmp_path).open() as ledger:
        assert ledger.path == path
        await ledger.ping()
    assert path.exists()


async def test_errors_keep_parameters_to_themselves(ledger: Ledger) -> None:
    def add_twice(conn: Connection) -> None:
        add_user(conn, "ann")
        for name in ("k1", "k2"):
            keys.add_key(
                conn,
                id=name,
                user_id="id of ann",
                digest="the digest",
                hint="",
                label="the label",
                now=NOW,
            )

    with pytest.raises(LedgerFault) as raised:
        await ledger.write(add_twice)
    assert "the label" not in str(raised.value)
    assert "the digest" not in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ("cannot reach postgresql://ann:hunter2@host/db", "cannot reach postgresql://***@host/db"),
        ("dsn: host=x password=hunter2 dbname=y", "dsn: host=x password=*** dbname=y"),
        ("dsn: password='hunter 2' dbname=y", "dsn: password=*** dbname=y"),
        ("nothing to hide", "nothing to hide"),
    ],
)
def test_passwords_are_blotted_out(told: str, expected: str) -> None:
    assert masked(told) == expected
