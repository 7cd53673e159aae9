"""What administrators did, when, and to what."""

import json
from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import Connection, select

from gateway.ledger.tables import audit


@dataclass(frozen=True, slots=True)
class AuditRow:
    """One action. `detail` holds no secrets: that is for the writer to see to. `source` is the
    address or the machine that it came from.
    """

    id: int
    at: float
    actor: str
    action: str
    subject: str
    detail: dict[str, object]
    source: str = ""


def add(
    conn: Connection,
    at: float,
    actor: str,
    action: str,
    subject: str,
    detail: Mapping[str, object] | None = None,
    source: str = "",
) -> None:
    """Write an action down, in the transaction that does it."""
    conn.execute(
        audit.insert().values(
            at=at,
            actor=actor,
            action=action,
            subject=subject,
            detail=json.dumps(dict(detail)) if detail else None,
            source=source or None,
        )
    )


def entries(conn: Connection, *, before_id: int | None = None, limit: int = 100) -> list[AuditRow]:
    """List actions, newest first."""
    columns = (
        audit.c.id,
        audit.c.at,
        audit.c.actor,
        audit.c.action,
        audit.c.subject,
        audit.c.detail,
        audit.c.source,
    )
    statement = select(*columns).order_by(audit.c.id.desc()).limit(limit)
    if before_id is not None:
        statement = statement.where(audit.c.id < before_id)
    return [
        AuditRow(*row[:5], json.loads(row[5]) if row[5] else {}, row[6] or "")
        for row in conn.execute(statement)
    ]


def prune(conn: Connection, before: float) -> int:
    """Forget actions before then; return how many."""
    return conn.execute(audit.delete().where(audit.c.at < before)).rowcount
