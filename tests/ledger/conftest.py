"""Databases for the ledger's own tests."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import Connection

from gateway.ledger import Ledger, users
from tests.support.ledgers import NOW, Database, migrated


def add_user(conn: Connection, name: str) -> None:
    users.add_user(conn, id=f"id of {name}", name=name, webhook_secret="s", now=NOW)


async def names(ledger: Ledger) -> list[str]:
    return [user.name for user in await ledger.read(users.list_users)]


@pytest.fixture
async def postgres_ledger(tmp_path: Path) -> AsyncIterator[Ledger]:
    for database in migrated("postgresql", tmp_path):
        async with database.open() as ledger:
            yield ledger


@pytest.fixture
def lite(tmp_path: Path) -> Ledger:
    return Database("", tmp_path).open()
