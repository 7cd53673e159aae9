"""Every prediction is followed to its end, at a price that the account can afford."""

import time
from collections.abc import Iterator
from typing import Any

import pytest

from gateway.ledger import Connection, predictions
from gateway.simulator import Fault, FaultKind, SimulatorConfig
from gateway.upstream import Upstream, Urgency
from tests.support.creating import HELLO_VERSION, created, predictions_of, read
from tests.support.running import Running, running


@pytest.fixture
def gateway() -> Iterator[Running]:
    with running() as gateway:
        yield gateway


def unsettled(gateway: Running) -> int:
    def count(conn: Connection) -> int:
        row = conn.exec_driver_sql(
            "SELECT count(*) FROM predictions WHERE settled_at IS NULL"
        ).one()
        return int(row[0])

    return gateway.ledger(count)


def ended(gateway: Running, made: str) -> predictions.Row | None:
    row = gateway.ledger(lambda conn: predictions.get(conn, made))
    return row if row is not None and row.settled_at is not None else None


def requests(gateway: Running, operation: str) -> int:
    return len(gateway.sim.log.entries(operation=operation))


def let_pass(gateway: Running, seconds: float, step: float = 0.5) -> None:
    for _ in range(round(seconds / step)):
        gateway.clock.advance(step)  # type: ignore[attr-defined]
        gateway.settle(lambda: True)
        time.sleep(0.004)  # the loops run in another thread


def test_a_prediction_that_nobody_asks_for_is_settled_soon_after_its_end(gateway: Running) -> None:
    with gateway.client(gateway.add_user("ann")) as client:
        made = created(client, "slow", seconds=60)
    row = gateway.settle(lambda: ended(gateway, made))
    assert row.status == "succeeded"
    assert row.settled_at is not None
    assert row.completed_at is not None
    assert row.settled_at - row.completed_at <= 8
    # A minute's growing pauses, not sixty looks.
    assert requests(gateway, "predictions.get") <= 32


def test_a_restart_takes_up_everything(gateway: Running) -> None:
    with gateway.client(gateway.add_user("ann")) as client:
        made = [created(client, "slow", seconds=20) for _ in range(5)]
    gateway.stop()
    gateway.clock.advance(60)  # type: ignore[attr-defined]
    gateway.start()
    for one in made:
        assert gateway.settle(lambda one=one: ended(gateway, one)).status == "succeeded"  # type: ignore[misc]


def test_many_are_watched_through_the_list_and_fetched_singly_at_their_end() -> None:
    with running(
        "[upstream]\ncreates_per_minute = 60000", sim=SimulatorConfig(enforce_rate_limits=False)
    ) as gateway:
        with gateway.client(gateway.add_user("ann")) as client:
            for _ in range(60):
                created(client, "slow", seconds=40)
        gateway.sim.log.clear()
        let_pass(gateway, 30)
        assert unsettled(gateway) == 60
        singly = requests(gateway, "predictions.get")
        listed = requests(gateway, "predictions.list")
        assert 0 < listed <= 60
        assert singly <= 60
        gateway.settle(lambda: unsettled(gateway) == 0)
        # Only a document that was fetched singly ends a prediction.
        fetched = {
            entry.path.rpartition("/")[2]
            for entry in gateway.sim.log.entries(operation="predictions.get")
        }
        assert set(gateway.sim.prediction_ids()) <= fetched


def test_a_training_of_hours_costs_few_polls(gateway: Running) -> None:
    key = gateway.add_user("ann", role="manage")
    with gateway.client(key) as client:
        page = client.get("/replicate/v1/models/ostris/flux-dev-lora-trainer").json()
        answer = client.post(
            "/replicate/v1/models/ostris/flux-dev-lora-trainer/versions/"
            f"{page['latest_version']['id']}/trainings",
            json={
                "destination": "acme/fine-tune",
                "input": {"input_images": "https://example.com/data.zip"},
            },
        )
        made = answer.json()["id"]
    gateway.sim.configure(speed=1.0)
    row = gateway.settle(lambda: ended(gateway, made), step_s=5, most_s=4 * 3600)
    lasted = (row.completed_at or 0) - row.created_at
    polls = requests(gateway, "trainings.get")
    assert polls <= 8 + lasted / 15


def test_what_upstream_no_longer_knows_is_lost_after_ten_minutes(gateway: Running) -> None:
    with gateway.client(gateway.add_user("ann")) as client:
        made = created(client, "queue")
        gateway.sim.forget(made)
        for _ in range(9):
            let_pass(gateway, 60, step=10)
        assert ended(gateway, made) is None
        row = gateway.settle(lambda: ended(gateway, made), step_s=5, most_s=300)
        assert row.status == "failed"
        body = read(client, made).json()
        assert body["error"] == "Replicate no longer knows this prediction"
        assert "replicate_gateway_predictions_lost_total 1.0" in client.get("/metrics").text


def test_a_short_404_is_nothing() -> None:
    with running(sim=SimulatorConfig(visible_after_s=20)) as gateway:
        with gateway.client(gateway.add_user("ann")) as client:
            made = created(client, "slow", seconds=5)
        assert gateway.settle(lambda: ended(gateway, made)).status == "succeeded"


def test_a_failing_upstream_is_not_asked_faster_than_a_healthy_one(gateway: Running) -> None:
    with gateway.client(gateway.add_user("ann")) as client:
        made = created(client, "slow", seconds=30)
        gateway.sim.faults.add(Fault(FaultKind.SERVER_ERROR, "predictions.get", times=None))
        gateway.sim.log.clear()
        let_pass(gateway, 20)
        assert requests(gateway, "predictions.get") <= 22
        gateway.sim.faults.clear()
        assert gateway.settle(lambda: ended(gateway, made)).status == "succeeded"


def urgencies(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Urgency]]:
    """Note with what urgency upstream is asked for what."""
    asked: list[tuple[str, Urgency]] = []
    plain = Upstream.call

    async def call(self: Any, operation: Any, path: str, **more: Any) -> Any:
        asked.append((operation.name, more.get("urgency", Urgency.READ)))
        return await plain(self, operation, path, **more)

    monkeypatch.setattr(Upstream, "call", call)
    return asked


@pytest.mark.parametrize("why", ["it fails", "it shows them late"])
def test_what_the_list_does_not_tell_is_not_asked_for_as_if_it_had_ended(
    why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = urgencies(monkeypatch)
    late = 300.0 if why == "it shows them late" else 0.0
    config = SimulatorConfig(enforce_rate_limits=False, listed_after_s=late)
    with running("[upstream]\ncreates_per_minute = 60000", sim=config) as gateway:
        if not late:
            gateway.sim.faults.add(Fault(FaultKind.SERVER_ERROR, "predictions.list", times=None))
        with gateway.client(gateway.add_user("ann")) as client:
            for _ in range(40):
                created(client, "slow", seconds=40)
        asked.clear()
        let_pass(gateway, 25)
        assert unsettled(gateway) == 40
        assert ("predictions.list", Urgency.POLL) in asked
        assert set(asked) == {
            ("predictions.list", Urgency.POLL),
            ("predictions.get", Urgency.POLL),
        }
        gateway.settle(lambda: unsettled(gateway) == 0)


def test_a_list_full_of_what_others_made_is_not_read_to_its_end_for_a_few() -> None:
    with running(sim=SimulatorConfig(enforce_rate_limits=False)) as gateway:
        with gateway.client(gateway.add_user("ann")) as client:
            for _ in range(3):
                created(client, "slow", seconds=100)
        gateway.clock.advance(1)  # type: ignore[attr-defined]
        for number in range(900):
            gateway.sim.create(HELLO_VERSION, {"text": str(number)})
        gateway.sim.log.clear()
        let_pass(gateway, 60)
        assert unsettled(gateway) == 3
        assert requests(gateway, "predictions.get") >= 9
        assert requests(gateway, "predictions.list") <= requests(gateway, "predictions.get") + 3


def test_who_has_named_a_webhook_waits_as_much_as_who_asks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = urgencies(monkeypatch)
    with running("[webhooks]\nallow_private_addresses = true") as gateway:
        with gateway.client(gateway.add_user("ann")) as client:
            body = {"input": {"seconds": 300}, "webhook": "http://127.0.0.1:9/hook"}
            assert client.post(predictions_of("simulated/slow"), json=body).status_code == 201
        asked.clear()
        let_pass(gateway, 100)
        assert requests(gateway, "predictions.get") > 15
        assert set(asked) == {("predictions.get", Urgency.READ)}
