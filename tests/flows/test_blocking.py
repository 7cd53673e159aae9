"""Blocking creates: passed on as they are, mirrored, and finished off afterwards."""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from io import BytesIO

import httpx
import pytest
from PIL import Image
from sqlalchemy import select

from gateway.ledger.tables import predictions
from gateway.simulator.config import SimulatorConfig
from tests.support.creating import FLUX, create, predictions_of, read
from tests.support.running import Running, running

WAIT = {"Prefer": "wait"}


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as pool:
        yield pool


@pytest.fixture(params=[True, False], ids=["inline", "by address"])
def inline(request: pytest.FixtureRequest) -> bool:
    wanted: bool = request.param
    return wanted


def answer(gateway: Running, asked: "Future[httpx.Response]") -> httpx.Response:
    # The wait begins when the create arrives upstream; until then no time passes.
    gateway.eventually(lambda: gateway.sim.log.count(operation="models.predictions.create"))
    gateway.settle(asked.done, step_s=0.1)
    return asked.result()


def test_processing_with_an_output_is_passed_on_and_not_the_end(
    pool: ThreadPoolExecutor, inline: bool
) -> None:
    with (
        running(sim=SimulatorConfig(inline_outputs=inline)) as gateway,
        gateway.client(gateway.add_user("ann")) as client,
    ):
        blocked = answer(
            gateway,
            pool.submit(client.post, FLUX, json={"input": {"prompt": "a fox"}}, headers=WAIT),
        )
        assert blocked.status_code == 201
        assert blocked.headers["preference-applied"].startswith("wait")
        body = blocked.json()
        assert body["status"] == "processing"
        assert "metrics" not in body
        (output,) = body["output"]
        if inline:
            assert output.startswith("data:image/webp;base64,")
        else:
            assert output.startswith(f"{gateway.base}/delivery/")
            Image.open(BytesIO(client.get(output).content)).verify()
            assert read(client, body["id"]).json()["output"] == [output]
        assert body["urls"]["get"].startswith(gateway.base)
        # It is metered afterwards, though nobody asks.
        row = gateway.settle(lambda: settled(gateway, body["id"]))
        assert (row.status, row.images) == ("succeeded", 1)
        assert row.predict_us > 0
        final = read(client, body["id"]).json()
        assert final["status"] == "succeeded"
        assert final["metrics"]["image_count"] == 1
        assert final["output"][0].startswith(f"{gateway.base}/delivery/")


def settled(gateway: Running, prediction_id: str):  # type: ignore[no-untyped-def]  # a row
    query = select(predictions).where(
        predictions.c.id == prediction_id, predictions.c.settled_at.is_not(None)
    )
    return gateway.ledger(lambda conn: conn.execute(query).one_or_none())


def test_one_that_takes_longer_comes_back_running(pool: ThreadPoolExecutor) -> None:
    with running() as gateway, gateway.client(gateway.add_user("ann")) as client:
        asked = pool.submit(create, client, "slow", {"Prefer": "wait=5"}, seconds=1000)
        blocked = answer(gateway, asked)
        assert blocked.status_code == 202
        assert blocked.json()["status"] == "starting"
        assert blocked.headers["preference-applied"] == "wait=5"
        again = read(client, blocked.json()["id"], cache_control="no-cache").json()
        assert again["status"] == "processing"


def test_one_that_fails_in_time_comes_back_failed(pool: ThreadPoolExecutor) -> None:
    with running() as gateway, gateway.client(gateway.add_user("ann")) as client:
        asked = pool.submit(create, client, "failing", WAIT, message="out of paint")
        blocked = answer(gateway, asked)
        assert (blocked.status_code, blocked.json()["status"]) == (201, "failed")
        assert blocked.json()["error"] == "out of paint"
        assert (
            read(client, blocked.json()["id"]).headers["cache-status"] == "replicate-gateway; hit"
        )


@pytest.mark.parametrize(
    ("prefer", "passed"),
    [
        ("wait", "wait=60"),
        ("wait=1", "wait=1"),
        ("wait=60", "wait=60"),
        ("wait=600", "wait=60"),
        ("wait=0", None),
        ("respond-async", None),
    ],
)
def test_the_wait_is_passed_on_in_upstreams_terms(
    pool: ThreadPoolExecutor, prefer: str, passed: str | None
) -> None:
    with running() as gateway, gateway.client(gateway.add_user("ann")) as client:
        asked = pool.submit(create, client, "echo", {"Prefer": prefer}, value=1)
        assert answer(gateway, asked).status_code == 201
        (entry,) = gateway.sim.log.entries(operation="models.predictions.create")
        assert entry.header("prefer") == passed


def test_a_deadline_is_passed_on_and_what_it_ends_is_told_in_words_clients_know() -> None:
    with running() as gateway, gateway.client(gateway.add_user("ann")) as client:
        late = create(client, "queue", {"Cancel-After": "5s"})
        assert late.status_code == 201
        (entry,) = gateway.sim.log.entries(operation="models.predictions.create")
        assert entry.header("cancel-after") == "5s"
        body = gateway.finished(client, late.json()["id"]).json()
        assert body["status"] == "aborted"
        official = read(client, late.json()["id"], user_agent="replicate-python/1.0.7")
        assert official.json()["status"] == "canceled"
        cut = create(client, "slow", {"Cancel-After": "5s"}, seconds=1000)
        assert gateway.finished(client, cut.json()["id"]).json()["status"] == "canceled"


def test_a_create_fit_for_upstream_reaches_it_unchanged() -> None:
    with running() as gateway, gateway.client(gateway.add_user("ann")) as client:
        sent = b'{ "input" : {"value": 1.50, "x":"\\u00e9\\/"} , "stream":false}'
        made = client.post(
            predictions_of("simulated/echo") + "?odd=%20query",
            content=sent,
            headers={"Content-Type": "application/json", "X-Odd": "1", "Idempotency-Key": "k"},
        )
        assert made.status_code in (201, 422)
        (entry,) = gateway.sim.log.entries(operation="models.predictions.create")
        assert entry.body == sent
        assert entry.query == "odd=%20query"
        for name in ("x-odd", "idempotency-key"):
            assert entry.header(name) is None


def test_who_runs_one_after_the_other_never_runs_two_at_once(pool: ThreadPoolExecutor) -> None:
    with (
        running("[plans.default]\nconcurrent_predictions = 1\n") as gateway,
        gateway.client(gateway.add_user("ann")) as client,
    ):

        def one_after_the_other() -> list[tuple[int, str]]:
            asked = {"input": {"prompt": "a fox"}}
            answers = [client.post(FLUX, json=asked, headers=WAIT) for _ in range(4)]
            return [(answer.status_code, answer.json()["status"]) for answer in answers]

        told = pool.submit(one_after_the_other)
        gateway.settle(told.done, step_s=0.1)
        assert told.result() == [(201, "processing")] * 4


def test_what_still_runs_after_a_blocking_answer_takes_its_slot(pool: ThreadPoolExecutor) -> None:
    with (
        running("[plans.default]\nconcurrent_predictions = 1\n") as gateway,
        gateway.client(gateway.add_user("ann")) as client,
    ):
        asked = pool.submit(create, client, "slow", {"Prefer": "wait=1"}, seconds=60)
        gateway.settle(asked.done, step_s=0.1)
        assert asked.result().json()["output"] is None
        assert create(client, "echo", value=1).status_code == 429
