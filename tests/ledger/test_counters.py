"""Counters against a model that counts everything afresh each time, in random histories."""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import Connection, Engine, make_url, select

from gateway.domain.admission import Decision, Demand, QuotaRefused, decide
from gateway.domain.models import matches
from gateway.domain.plans import Metric, Per, QuotaRule, globs_of
from gateway.domain.quota import Standing, window
from gateway.domain.usage import Usage
from gateway.ledger import creates, postgres, predictions, quotas, sqlite
from gateway.ledger.engine import FILE_NAME
from gateway.ledger.tables import counters
from tests.support.clock import START
from tests.support.ledgers import migrated, prediction, reservation, settlement

METRICS = [metric for metric in Metric if metric is not Metric.REQUESTS]
# The same minute; another minute of the hour; another day of the month; another month.
INSTANTS = [START, START + 1, START + 600, START + 86_400 * 2, START + 86_400 * 40]
MODELS = ["a/b", "a/c", "x/y"]
GLOBS = [(), ("a/*",), ("x/y", "a/b"), ("?/c",), ("d/*",)]

users = st.sampled_from(["u1", "u2"])
teams = st.sampled_from([None, "red"])
instants = st.sampled_from(INSTANTS)
amounts = st.integers(0, 50)
costs = st.none() | amounts
rules = st.lists(
    st.tuples(
        st.builds(
            QuotaRule,
            st.sampled_from(METRICS),
            st.integers(0, 120),
            st.sampled_from([Per.MINUTE, Per.DAY, Per.MONTH]),
            st.sampled_from(GLOBS),
        ),
        st.sampled_from(["user", "team"]),
    ),
    max_size=4,
)


@dataclass
class Thing:
    """A create, and what became of it, as the model remembers it."""

    id: str
    user: str
    team: str | None
    at: float
    names: tuple[str, ...]
    estimate: Demand
    state: str = "open"  # then recorded, settled, or nothing
    truth: Demand = field(default_factory=lambda: Demand(0))

    def counts_for(self, subject: str) -> bool:
        return subject in (f"user:{self.user}", f"team:{self.team}")


class Histories(RuleBasedStateMachine):
    """Everything that moves counters, in any order."""

    open_connection: Callable[[], Connection]

    def __init__(self) -> None:
        super().__init__()
        self.conn = self.open_connection()
        self.things: list[Thing] = []
        self.numbers = itertools.count()

    def teardown(self) -> None:
        self.conn.close()

    def expected(self, row: quotas.CounterRow) -> tuple[int, int]:
        used = reserved = 0
        for thing in self.things:
            if not thing.counts_for(row.subject):
                continue
            if not row.window_start <= thing.at < row.window_end:
                continue
            globs = globs_of(row.models_key)
            if globs and not any(matches(globs, name) for name in thing.names):
                continue
            if thing.state == "settled":
                used += thing.truth.of(row.metric) or 0
            elif thing.state in ("open", "recorded"):
                reserved += thing.estimate.of(row.metric) or 0
        return used, reserved

    def in_state(self, *states: str) -> list[Thing]:
        return [thing for thing in self.things if thing.state in states]

    @rule(
        user=users,
        team=teams,
        model=st.none() | st.sampled_from(MODELS),
        deployment=st.none() | st.just("d/e"),
        at=instants,
        demand=st.builds(Demand, st.just(1), amounts, amounts, amounts, costs),
        wanted=rules,
    )
    def reserve(
        self,
        user: str,
        team: str | None,
        model: str | None,
        deployment: str | None,
        at: float,
        demand: Demand,
        wanted: list[tuple[QuotaRule, str]],
    ) -> None:
        name = f"c{next(self.numbers)}"
        asked = reservation(
            name,
            user=user,
            team=team,
            model=model,
            deployment=deployment,
            at=at,
            demand=demand,
        )
        own = f"user:{user}"
        told = [
            (one, f"team:{team}" if scope == "team" and team is not None else own)
            for one, scope in wanted
        ]
        seen: list[Standing] = []

        def judge(standings: Sequence[Standing], running: int) -> Decision:
            seen.extend(standings)
            return decide(standings, running, None, demand, at)

        outcome = creates.reserve(self.conn, asked, told, None, judge)
        for standing in seen:
            span = standing.window
            row = quotas.CounterRow(
                standing.subject,
                standing.rule.metric,
                standing.rule.per,
                standing.rule.models_key,
                span.start,
                span.end,
                0,
                0,
            )
            assert (standing.used, standing.reserved) == self.expected(row)
        if isinstance(outcome, creates.Reserved):
            names = tuple(one for one in (model, deployment) if one is not None)
            self.things.append(Thing(name, user, team, at, names, demand))
        else:
            assert isinstance(outcome, creates.Refused)
            assert isinstance(outcome.decision, QuotaRefused)

    @precondition(lambda self: self.in_state("open", "released"))
    @rule(data=st.data(), answered=st.none() | st.sampled_from(MODELS))
    def record(self, data: st.DataObject, answered: str | None) -> None:
        thing = data.draw(st.sampled_from(self.in_state("open", "released")))
        made = prediction(f"p-{thing.id}", model=answered and answered.upper())
        assert creates.record(self.conn, thing.id, made, [], thing.at)
        thing.state = "recorded"
        deployment = tuple(name for name in thing.names if name == "d/e")
        if answered is not None and thing.names == deployment:
            thing.names = (answered, *deployment)

    @precondition(lambda self: self.in_state("open"))
    @rule(data=st.data(), how=st.sampled_from(["refused", "released", "doubt"]))
    def end_without_a_prediction(self, data: st.DataObject, how: str) -> None:
        thing = data.draw(st.sampled_from(self.in_state("open")))
        if how == "doubt":
            creates.doubt(self.conn, thing.id, thing.at)
        elif how == "refused":
            assert creates.refuse(self.conn, thing.id, thing.at, 422)
            assert not creates.refuse(self.conn, thing.id, thing.at, 422)
            thing.state = "refused"
        else:
            assert creates.release(self.conn, thing.id, thing.at)
            assert not creates.release(self.conn, thing.id, thing.at)
            thing.state = "released"

    @precondition(lambda self: self.in_state("recorded"))
    @rule(
        data=st.data(),
        usage=st.builds(Usage, costs, amounts, amounts, amounts),
        cost=costs,
        status=st.sampled_from(["succeeded", "failed", "canceled"]),
    )
    def settle(self, data: st.DataObject, usage: Usage, cost: int | None, status: str) -> None:
        thing = data.draw(st.sampled_from(self.in_state("recorded")))
        end = settlement(status, usage=usage, cost_nano=cost)
        assert predictions.settle(self.conn, f"p-{thing.id}", end)
        assert not predictions.settle(self.conn, f"p-{thing.id}", end)
        thing.state = "settled"
        thing.truth = Demand(1, usage.predict_us or 0, usage.images, usage.tokens, cost)

    @precondition(lambda self: self.in_state("recorded", "settled"))
    @rule(data=st.data())
    def erase(self, data: st.DataObject) -> None:
        thing = data.draw(st.sampled_from(self.in_state("recorded", "settled")))
        assert predictions.erase(self.conn, f"p-{thing.id}", thing.at) is not None

    @rule(before=instants)
    def prune(self, before: float) -> None:
        quotas.prune_counters(self.conn, before)

    @rule(wanted=rules, at=instants, user=users, team=teams)
    def ask(
        self, wanted: list[tuple[QuotaRule, str]], at: float, user: str, team: str | None
    ) -> None:
        told = [
            (one, f"team:{team}" if scope == "team" and team else f"user:{user}")
            for one, scope in wanted
        ]
        for standing in quotas.standings(self.conn, told, at):
            span = window(standing.rule.per, at)
            assert standing.window == span
            row = quotas.CounterRow(
                standing.subject,
                standing.rule.metric,
                standing.rule.per,
                standing.rule.models_key,
                span.start,
                span.end,
                0,
                0,
            )
            assert (standing.used, standing.reserved) == self.expected(row)

    @invariant()
    def every_counter_is_the_sum_of_what_it_counts(self) -> None:
        for values in self.conn.execute(select(counters)):
            row = quotas.CounterRow(
                values.subject,
                Metric(values.metric),
                Per(values.per),
                values.models_key,
                values.window_start,
                values.window_end,
                values.used,
                values.reserved,
            )
            assert (row.used, row.reserved) == self.expected(row), row


def run(open_connection: Callable[[], Connection], examples: int, steps: int) -> None:
    machine = type("Run", (Histories,), {"open_connection": staticmethod(open_connection)})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_on_sqlite_counters_always_add_up(tmp_path: Path) -> None:
    for _ in migrated("sqlite", tmp_path):
        engine = sqlite.make_engine(tmp_path / FILE_NAME)

        def fresh(engine: Engine = engine) -> Connection:
            conn = engine.connect()
            # One transaction that is never committed: the next history begins empty.
            sqlite.driver(conn).execute("BEGIN IMMEDIATE")
            return conn

        run(fresh, examples=60, steps=25)


@pytest.mark.postgres
def test_on_postgresql_counters_always_add_up(tmp_path: Path) -> None:
    for database in migrated("postgresql", tmp_path):
        # Likewise: a connection that is closed undoes what it did.
        run(postgres.make_engine(make_url(database.url)).connect, examples=8, steps=20)
