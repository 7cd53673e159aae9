"""Creates whose answer was lost: adopted by their owner, given back, or shown to an admin."""

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from gateway.flows.reconcile_creates import PATIENT_STEP_S, ReconcileCreates
from gateway.ledger import Connection, creates, predictions, workers
from gateway.simulator import Fault, FaultKind, SimulatorConfig
from tests.support.running import Running, running

HELLO = "/replicate/v1/predictions"
VERSION = "5c7d5dc6dd8bf75c1acaa8565735e7986bc5b66206b55cca93cb72c9bf15ccaa"
PLAN = """
[plans.default]
quotas = [{metric = "predictions", limit = 100, per = "month"}]
"""


def hello(text: str = "world") -> dict[str, object]:
    return {"version": VERSION, "input": {"text": text}}


@pytest.fixture
def gateway() -> Iterator[Running]:
    with running(PLAN) as gateway:
        yield gateway


def lose(gateway: Running, key: str, body: dict[str, object] | None = None) -> None:
    """Send a create whose answer does not come back although it was carried out."""
    gateway.sim.faults.add(Fault(FaultKind.RESET_AFTER, "predictions.create"))
    fail(gateway, key, body)


def fail(gateway: Running, key: str, body: dict[str, object] | None = None) -> None:
    with gateway.client(key) as client:
        answer = client.post(HELLO, json=body or hello())
    assert answer.status_code == 502, answer.text
    assert answer.headers["x-should-retry"] == "false"


def states(gateway: Running) -> list[tuple[str, str, str | None]]:
    def read(conn: Connection) -> list[tuple[str, str, str | None]]:
        rows = conn.exec_driver_sql(
            "SELECT user_name, state, prediction_id FROM creates ORDER BY at"
        )
        return [(row[0], row[1], row[2]) for row in rows]

    return gateway.ledger(read)


def count(gateway: Running, wanted: str) -> Callable[[], bool]:
    return lambda: [state for _, state, _ in states(gateway)].count(wanted) > 0


def used(gateway: Running) -> int:
    """Everybody's predictions of this month, as the counters have them."""

    def read(conn: Connection) -> int:
        row = conn.exec_driver_sql(
            "SELECT sum(used + reserved) FROM counters WHERE metric = 'predictions'"
        ).one()
        return int(row[0] or 0)

    return gateway.ledger(read)


def test_a_lost_create_is_adopted_by_its_owner_and_charged_once(gateway: Running) -> None:
    key = gateway.add_user("ann")
    lose(gateway, key)
    assert [state for _, state, _ in states(gateway)] == ["doubt"]
    gateway.settle(count(gateway, "recorded"), most_s=60)
    (found,) = states(gateway)
    assert found[2] == gateway.sim.prediction_ids()[0]
    with gateway.client(key) as client:
        assert gateway.finished(client, found[2]).json()["output"] == "hello world"
    assert used(gateway) == 1
    assert len(gateway.sim.prediction_ids()) == 1


def test_a_create_that_never_happened_is_given_back_after_five_minutes(gateway: Running) -> None:
    key = gateway.add_user("ann")
    gateway.sim.faults.add(Fault(FaultKind.RESET_BEFORE, "predictions.create"))
    fail(gateway, key)
    for _ in range(28):
        gateway.clock.advance(10)  # type: ignore[attr-defined]
        gateway.settle(lambda: True)
    assert states(gateway)[0][1] == "doubt"
    assert used(gateway) == 1
    gateway.settle(count(gateway, "released"), step_s=5, most_s=120)
    assert used(gateway) == 0


def test_nobody_gets_what_may_be_somebody_elses(gateway: Running) -> None:
    ann, bob = gateway.add_user("ann"), gateway.add_user("bob")
    lose(gateway, ann)
    gateway.sim.faults.add(Fault(FaultKind.RESET_BEFORE, "predictions.create"))
    fail(gateway, bob)
    for _ in range(60):
        gateway.settle(lambda: True)
        gateway.clock.advance(10)  # type: ignore[attr-defined]
    assert [state for _, state, _ in states(gateway)] == ["doubt", "doubt"]

    def orphans(conn: Connection) -> list[creates.CreateRow]:
        return creates.doubts(conn)

    made = gateway.sim.prediction_ids()[0]
    gateway.settle(
        lambda: [row.candidates for row in gateway.ledger(orphans)] == [made, made], step_s=5
    )
    # An admin knows whose it is; the other one then turns out never to have happened.
    mine = next(row for row in gateway.ledger(orphans) if row.user_name == "ann")
    assert gateway.ledger(lambda conn: creates.assign(conn, mine.id, made))
    gateway.settle(count(gateway, "recorded"), most_s=60)
    gateway.settle(count(gateway, "released"), step_s=5, most_s=120)
    assert {(name, state) for name, state, _ in states(gateway)} == {
        ("ann", "recorded"),
        ("bob", "released"),
    }
    assert used(gateway) == 1


def test_lists_without_inputs_are_asked_for_singly() -> None:
    with running(PLAN, sim=SimulatorConfig(lean_lists=True)) as gateway:
        key = gateway.add_user("ann")
        lose(gateway, key, hello("one"))
        lose(gateway, key, hello("two"))
        gateway.settle(lambda: count(gateway, "doubt")() is False, most_s=60)
        texts = []
        for _, state, made in states(gateway):
            assert state == "recorded"
            document = gateway.sim.prediction(made or "")
            assert document is not None
            texts.append(document["input"])
        assert texts == [{"text": "one"}, {"text": "two"}]


def test_what_others_do_with_the_account_is_not_taken_for_a_lost_create(gateway: Running) -> None:
    key = gateway.add_user("ann")
    gateway.sim.create(VERSION, {"text": "world"})  # on the website
    gateway.sim.create(VERSION, {"text": "moon"}, source="api")
    gateway.sim.faults.add(Fault(FaultKind.RESET_BEFORE, "predictions.create"))
    fail(gateway, key)
    gateway.settle(count(gateway, "released"), step_s=5, most_s=600)
    assert used(gateway) == 0


def test_a_create_that_is_shown_late_is_adopted_late() -> None:
    with running(PLAN, sim=SimulatorConfig(listed_after_s=150)) as gateway:
        lose(gateway, gateway.add_user("ann"))
        for _ in range(13):
            gateway.clock.advance(10)  # type: ignore[attr-defined]
            gateway.settle(lambda: True)
        assert states(gateway)[0][1] == "doubt"
        gateway.settle(count(gateway, "recorded"), most_s=90)


def test_what_a_dead_worker_was_doing_is_settled_after_a_restart(gateway: Running) -> None:
    key = gateway.add_user("ann")
    lose(gateway, key)

    def as_if_killed(conn: Connection) -> None:
        conn.exec_driver_sql(
            "UPDATE creates SET state = 'reserved', doubted_at = NULL, worker = 'x'"
        )
        workers.beat(conn, "x", gateway.clock.now())

    gateway.ledger(as_if_killed)
    gateway.settle(count(gateway, "recorded"), most_s=60)
    assert used(gateway) == 1


def test_a_blocking_create_that_is_still_under_way_is_not_given_to_another(
    gateway: Running,
) -> None:
    key = gateway.add_user("ann")
    gateway.sim.faults.add(Fault(FaultKind.RESET_BEFORE, "predictions.create"))
    fail(gateway, key)
    gateway.clock.advance(0.5)  # type: ignore[attr-defined]
    # The same once more, whose answer takes its time.
    gateway.sim.faults.add(Fault(FaultKind.RESET_AFTER, "predictions.create"))
    fail(gateway, key)

    def as_if_under_way(conn: Connection) -> None:
        conn.exec_driver_sql(
            "UPDATE creates SET state = 'reserved', doubted_at = NULL"
            " WHERE at = (SELECT max(at) FROM creates)"
        )

    gateway.ledger(as_if_under_way)
    for _ in range(60):
        gateway.clock.advance(1)  # type: ignore[attr-defined]
        time.sleep(0.02)  # the worker says that it lives: one that does not leaves a doubt behind
    assert [state for _, state, _ in states(gateway)] == ["doubt", "reserved"]


def test_a_terminal_prediction_is_adopted_with_its_end(gateway: Running) -> None:
    key = gateway.add_user("ann")
    gateway.sim.faults.add(Fault(FaultKind.SERVER_ERROR, "predictions.list", times=3))
    lose(gateway, key)
    gateway.settle(count(gateway, "recorded"), most_s=60)
    made = states(gateway)[0][2] or ""

    def ended() -> str | None:
        row = gateway.ledger(lambda conn: predictions.get(conn, made))
        return row.status if row is not None and row.settled_at is not None else None

    assert gateway.settle(ended) == "succeeded"


def let_look(gateway: Running, times: int) -> None:
    """Let time pass until the account's list has been read so often."""
    gateway.sim.log.clear()
    gateway.settle(lambda: lists(gateway) >= times, step_s=1)


def lists(gateway: Running) -> int:
    return len(gateway.sim.log.entries(operation="predictions.list"))


def doubted(gateway: Running) -> list[creates.CreateRow]:
    return gateway.ledger(creates.doubts)


def test_one_whose_input_upstream_wrote_anew_is_shown_to_an_admin_and_not_given_back(
    gateway: Running,
) -> None:
    ann, bob = gateway.add_user("ann"), gateway.add_user("bob")
    lose(gateway, ann, hello("data:text/plain;base64,QW5u"))
    (made,) = gateway.sim.prediction_ids()
    # As Replicate does with large ones: kept as a file, whose address is shown.
    kept = gateway.sim._known(made)
    assert kept is not None
    kept.input_json = json.dumps({"text": "https://replicate.delivery/xezq/1/file.txt"}).encode()
    gateway.sim.faults.add(Fault(FaultKind.RESET_BEFORE, "predictions.create"))
    fail(gateway, bob, hello("https://example.com/mine.txt"))
    gateway.sim.faults.add(Fault(FaultKind.RESET_BEFORE, "predictions.create"))
    fail(gateway, bob, hello("other"))
    gateway.settle(count(gateway, "released"), step_s=5, most_s=600)
    let_look(gateway, 4)
    assert [(name, state) for name, state, _ in states(gateway)] == [
        ("ann", "doubt"),
        ("bob", "doubt"),
        ("bob", "released"),
    ]
    assert [row.candidates for row in doubted(gateway)] == [made, made]
    mine = doubted(gateway)[0]
    assert gateway.ledger(lambda conn: creates.assign(conn, mine.id, made))
    gateway.settle(count(gateway, "recorded"), most_s=60)
    gateway.settle(lambda: not doubted(gateway), step_s=5, most_s=120)
    assert [state for _, state, _ in states(gateway)] == ["recorded", "released", "released"]
    assert used(gateway) == 1


def test_what_breaks_while_the_list_is_read_is_not_given_to_another(
    gateway: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    ann, bob = gateway.add_user("ann"), gateway.add_user("bob")
    gateway.sim.faults.add(Fault(FaultKind.RESET_BEFORE, "predictions.create"))
    fail(gateway, ann)
    plain = ReconcileCreates._read

    async def read(self: Any, doubts: Any) -> Any:
        seen = await plain(self, doubts)
        if not gateway.sim.prediction_ids():
            # Bob's was under way when the list was asked for, and stands in it.
            await asyncio.to_thread(lose, gateway, bob)
            seen = await plain(self, doubts)
        return seen

    monkeypatch.setattr(ReconcileCreates, "_read", read)
    gateway.settle(gateway.sim.prediction_ids, most_s=60)
    let_look(gateway, 4)
    assert [(name, state) for name, state, _ in states(gateway)] == [
        ("ann", "doubt"),
        ("bob", "doubt"),
    ]


def test_what_an_admin_has_assigned_is_not_to_be_had_by_another(gateway: Running) -> None:
    ann, bob = gateway.add_user("ann"), gateway.add_user("bob")
    lose(gateway, ann)
    gateway.sim.faults.add(Fault(FaultKind.RESET_BEFORE, "predictions.create"))
    fail(gateway, bob)
    # It cannot be fetched just when it is to be handed over.
    gateway.sim.faults.add(Fault(FaultKind.NOT_FOUND, "predictions.get"))
    made = gateway.sim.prediction_ids()[0]
    mine = next(row for row in doubted(gateway) if row.user_name == "ann")
    assert gateway.ledger(lambda conn: creates.assign(conn, mine.id, made))
    gateway.settle(count(gateway, "recorded"), most_s=60)
    assert set(states(gateway)) == {("ann", "recorded", made), ("bob", "doubt", None)}


def test_an_admin_can_say_over_http_that_a_create_became_nothing(gateway: Running) -> None:
    ann, bob = gateway.add_user("ann"), gateway.add_user("bob")
    root = gateway.add_user("root", role="admin")
    lose(gateway, ann)
    gateway.sim.faults.add(Fault(FaultKind.RESET_BEFORE, "predictions.create"))
    fail(gateway, bob)
    mine = next(row for row in doubted(gateway) if row.user_name == "bob")
    with gateway.client(root) as admin:
        assert admin.delete(f"/admin/v1/orphans/{mine.id}").status_code == 204
        assert admin.delete(f"/admin/v1/orphans/{mine.id}").status_code == 404
    gateway.settle(count(gateway, "recorded"), most_s=60)
    assert [(name, state) for name, state, _ in states(gateway)] == [
        ("ann", "recorded"),
        ("bob", "released"),
    ]
    assert used(gateway) == 1


def test_what_waits_for_an_admin_costs_little_however_much_was_made_since() -> None:
    toml = PLAN.replace("100", "1000") + "[upstream]\ncreates_per_minute = 60000"
    with running(toml, sim=SimulatorConfig(enforce_rate_limits=False)) as gateway:
        ann, bob = gateway.add_user("ann"), gateway.add_user("bob")
        lose(gateway, ann)
        gateway.sim.faults.add(Fault(FaultKind.RESET_BEFORE, "predictions.create"))
        fail(gateway, bob)
        let_look(gateway, 2)
        gateway.clock.advance(600)  # type: ignore[attr-defined]
        for number in range(450):
            gateway.sim.create(VERSION, {"text": str(number)})
        since = gateway.clock.now()
        let_look(gateway, 6)
        # A page each time, not the five that stand before it.
        assert gateway.clock.now() - since >= 5 * PATIENT_STEP_S
        assert [state for _, state, _ in states(gateway)] == ["doubt", "doubt"]
