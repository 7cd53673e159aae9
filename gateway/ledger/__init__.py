"""SQL: the truth about users, predictions, quotas and files.

Whole changes and reads are plain functions that take a :class:`Connection`, one module per noun;
:class:`Ledger` runs them: ``await ledger.write(lambda conn: users.add_user(conn, …))``.
"""

from sqlalchemy import Connection

from gateway.ledger.engine import Ledger
from gateway.ledger.errors import (
    LedgerError,
    LedgerFault,
    LedgerTooNew,
    LedgerUnavailable,
    NameTaken,
    NotKnown,
)
from gateway.ledger.statements import bump, read_revision

__all__ = [
    "Connection",
    "Ledger",
    "LedgerError",
    "LedgerFault",
    "LedgerTooNew",
    "LedgerUnavailable",
    "NameTaken",
    "NotKnown",
    "bump",
    "read_revision",
]
