"""Databases for the ledger's own tests."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.ledger import Ledger
from tests.support.ledgers import migrated


@pytest.fixture
async def postgres_ledger(tmp_path: Path) -> AsyncIterator[Ledger]:
    for database in migrated("postgresql", tmp_path):
        async with database.open() as ledger:
            yield ledger
