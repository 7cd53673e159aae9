"""What the ledger raises: few classes, each because somebody catches it."""

import re
import sqlite3

from sqlalchemy import exc

_IN_URL = re.compile(r"(?<=://)[^/\s@]*:[^/\s]*@")
_IN_DSN = re.compile(r"(?i)\bpassword\s*=\s*('[^']*'|\S+)")

_OURS_TO_MEND = (
    exc.ProgrammingError,
    exc.IntegrityError,
    exc.DataError,
    exc.NotSupportedError,
    sqlite3.ProgrammingError,
    sqlite3.IntegrityError,
    sqlite3.DataError,
)


class LedgerError(Exception):
    """Anything that the ledger says went wrong."""


class LedgerUnavailable(LedgerError):
    """The ledger cannot be asked just now: busy, overloaded, unreachable, closed, disk full.

    Trying again later may help; whether a write that failed so has happened is answered by reading
    (it has not, unless the connection broke during the commit).
    """


class LedgerFault(LedgerError):
    """A statement that cannot work: a fault of the program or of the data, not of the moment."""


class LedgerTooNew(LedgerError):
    """The database was written by a newer version of the gateway."""


class NameTaken(LedgerError):
    """Somebody has this name already."""


class NotKnown(LedgerError):
    """What was to be changed does not exist."""


def masked(text: str) -> str:
    """Return the text with the passwords in database URLs blotted out."""
    return _IN_DSN.sub("password=***", _IN_URL.sub("***@", text))


def translated(error: BaseException) -> BaseException:
    """Return the ledger's own error for a database library's; others come back as they are.

    Only the first line is kept: what follows in PostgreSQL's messages can quote the row.
    """
    if not isinstance(error, (exc.SQLAlchemyError, sqlite3.Error)):
        return error
    inner: object = error
    if isinstance(error, exc.DBAPIError) and error.orig is not None:
        inner = error.orig
    lines = str(inner).strip().splitlines() or [type(inner).__name__]
    text = masked(lines[0])
    if isinstance(error, _OURS_TO_MEND):
        return LedgerFault(f"the ledger refused a statement: {text}")
    if isinstance(error, (exc.DBAPIError, exc.TimeoutError, sqlite3.Error)):
        return LedgerUnavailable(f"the ledger is not available: {text}")
    return LedgerFault(f"the ledger was misused: {text}")
