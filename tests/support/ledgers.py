"""Ledgers for tests on both engines, and short ways to what goes into them."""

import itertools
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

from gateway.domain.admission import Decision, Demand, decide
from gateway.domain.plans import Metric, Per, QuotaRule, Scope
from gateway.domain.quota import Standing
from gateway.domain.statuses import status_rank
from gateway.domain.usage import Usage
from gateway.ledger import Ledger, migrate, postgres, sqlite
from gateway.ledger.creates import NewPrediction, Reservation
from gateway.ledger.engine import FILE_NAME
from gateway.ledger.predictions import Settlement, Snapshot
from tests.support.clock import START, ManualClock
from tests.support.postgres import create_database, drop_database

NOW = START
_TEMPLATE = "ledger_template"
_numbers = itertools.count()


@dataclass(frozen=True)
class Database:
    """Where a ledger lives."""

    url: str
    folder: Path

    def open(self, clock: ManualClock | None = None) -> Ledger:
        """Return a ledger on it, still to be entered."""
        return Ledger(self.url, clock or ManualClock(), folder=self.folder)


def both_engines(fixture: Callable[..., object]) -> Callable[..., object]:
    """Run everything that uses this fixture on both engines."""
    return pytest.fixture(
        name="database",
        params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)],
    )(fixture)


def migrated(engine: str, folder: Path) -> Iterator[Database]:
    """Yield a database with the schema in it, copied from one that was migrated once."""
    if engine == "sqlite":
        shutil.copy(_sqlite_template(), folder / FILE_NAME)
        yield Database("", folder)
        return
    _postgres_template()
    name = f"ledger_{next(_numbers)}"
    yield Database(create_database(name, _TEMPLATE), folder)
    drop_database(name)


@cache
def _sqlite_template() -> Path:
    path = Path(tempfile.mkdtemp(prefix="gwlite")) / "template"
    engine = sqlite.make_engine(path)
    migrate.bring_up_sqlite(engine, path)
    engine.dispose()
    return path


@cache
def _postgres_template() -> None:
    from sqlalchemy import make_url

    engine = postgres.make_engine(make_url(create_database(_TEMPLATE)))
    migrate.bring_up_postgres(engine)
    engine.dispose()


@both_engines
def database_fixture(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    yield from migrated(request.param, tmp_path)


@pytest.fixture(name="ledger")
async def ledger_fixture(database: Database) -> AsyncIterator[Ledger]:
    async with database.open() as ledger:
        yield ledger


def rule(
    metric: Metric = Metric.PREDICTIONS,
    limit: int = 100,
    per: Per = Per.DAY,
    models: tuple[str, ...] = (),
    scope: Scope = Scope.USER,
) -> QuotaRule:
    return QuotaRule(metric, limit, per, models, scope)


def reservation(
    name: str,
    *,
    user: str = "u1",
    team: str | None = None,
    model: str | None = "owner/name",
    at: float = NOW,
    demand: Demand | None = None,
    deployment: str | None = None,
    idempotency_key: str | None = None,
    body_digest: str = "body",
    key_id: str = "k1",
    kind: str = "prediction",
    target: str = "models/owner/name",
    worker: str = "w1",
    substitutions: dict[str, str] | None = None,
    webhook: str | None = None,
    webhook_events: tuple[str, ...] | None = None,
) -> Reservation:
    return Reservation(
        id=name,
        worker=worker,
        user_id=user,
        user_name=f"{user}'s name",
        team=team,
        key_id=key_id,
        account="acme",
        kind=kind,
        target=target,
        model=model,
        deployment=deployment,
        body_digest=body_digest,
        input_digest="input",
        idempotency_key=idempotency_key,
        demand=demand or Demand(1, 10_000_000, 1, 1000, None),
        at=at,
        origin="http://localhost",
        substitutions=substitutions or {},
        webhook=webhook,
        webhook_events=webhook_events,
    )


def prediction(
    name: str,
    *,
    status: str = "starting",
    created_at: float = NOW,
    model: str | None = "Owner/Name",
    document: bytes = b'{"status":"starting"}',
    next_look_at: float = NOW,
    source: str | None = "api",
) -> NewPrediction:
    return NewPrediction(
        id=name,
        status=status,
        rank=status_rank(status),
        document=document,
        created_at=created_at,
        next_look_at=next_look_at,
        model=model,
        version="hidden",
        source=source,
    )


def snapshot(
    status: str = "processing",
    *,
    at: float = NOW,
    document: bytes = b'{"status":"processing"}',
    next_look_at: float | None = None,
    files: Sequence[str] = (),
) -> Snapshot:
    return Snapshot(
        document=document,
        status=status,
        rank=status_rank(status),
        at=at,
        next_look_at=at + 1 if next_look_at is None else next_look_at,
        files=files,
    )


def settlement(
    status: str = "succeeded",
    *,
    at: float = NOW,
    document: bytes = b'{"status":"succeeded"}',
    usage: Usage | None = None,
    cost_nano: int | None = 500,
    files: Sequence[str] = (),
) -> Settlement:
    return Settlement(
        document=document,
        status=status,
        rank=status_rank(status),
        at=at,
        usage=usage or Usage(2_000_000, 1, 10, 20),
        cost_nano=cost_nano,
        files=files,
    )


def deciding(
    demand: Demand | None = None, limit: int | None = None, now: float = NOW
) -> Callable[[Sequence[Standing], int], Decision]:
    """Return the real decision, for a demand and a concurrency limit."""
    asked = demand or Demand(1, 10_000_000, 1, 1000, None)
    return lambda standings, running: decide(standings, running, limit, asked, now)
