"""Which model a version belongs to, as seen in upstream's pages."""

from collections.abc import Mapping

from sqlalchemy import Connection, bindparam, select

from gateway.ledger.statements import insert_or_replace
from gateway.ledger.tables import versions

_SEEN = insert_or_replace(versions, "model", "seen_at")
_MODEL = select(versions.c.model).where(versions.c.version_id == bindparam("key"))


def seen(conn: Connection, models: Mapping[str, str], now: float) -> None:
    """Note the models (lower-case owner/name) of versions, by their ids."""
    if models:
        conn.execute(
            _SEEN.on(conn),
            [
                {"version_id": version, "model": models[version], "seen_at": now}
                for version in sorted(models)
            ],
        )


def model_of(conn: Connection, version_id: str) -> str | None:
    """Return the model of a version, None if it was never seen."""
    model: str | None = conn.execute(_MODEL, {"key": version_id}).scalar_one_or_none()
    return model
