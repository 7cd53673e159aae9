"""Predictions put into a ledger, for the suites that both engines run."""

from gateway.ledger import (
    Connection,
    Ledger,
    creates,
    predictions,
)
from tests.support.ledgers import (
    NOW,
    deciding,
    prediction,
    reservation,
    settlement,
)


async def make(
    ledger: Ledger,
    name: str = "p1",
    *,
    at: float = NOW,
    user: str = "u1",
    team: str | None = None,
    model: str = "owner/name",
    kind: str = "prediction",
    files: tuple[str, ...] = (),
    status: str = "starting",
    source: str | None = "api",
) -> None:
    asked = reservation(f"c-{name}", user=user, team=team, model=model, at=at, kind=kind)
    made = prediction(name, created_at=at, next_look_at=at + 1, status=status, source=source)

    def write(conn: Connection) -> bool:
        creates.reserve(conn, asked, [], None, deciding())
        return creates.record(conn, asked.id, made, files, at)

    assert await ledger.write(write)


async def store(ledger: Ledger, one: predictions.Snapshot, name: str = "p1") -> bool:
    return await ledger.write(lambda conn: predictions.store_snapshot(conn, name, one))


async def settle(
    ledger: Ledger, end: predictions.Settlement | None = None, name: str = "p1"
) -> bool:
    return await ledger.write(
        lambda conn: predictions.settle(conn, name, end or settlement()), durable=True
    )


async def shown(ledger: Ledger, name: str = "p1") -> tuple[str, bytes]:
    known = await ledger.read(lambda conn: predictions.get_with_document(conn, name))
    assert known is not None
    return known[0].status, known[1]
