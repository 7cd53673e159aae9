"""Webhooks: what is told, how it is signed, and what happens when nobody is there to be told."""

import itertools
import json
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from replicate.webhook import Webhooks, WebhookSigningSecret

from gateway.app.upstream import Outside
from gateway.clock import SystemClock
from gateway.ledger import Connection, outbox
from tests.support.receiving import Receiver, receiver
from tests.support.running import Running, running

LLAMA = "/replicate/v1/models/meta/meta-llama-3-8b-instruct/predictions"
SLOW = "/replicate/v1/models/simulated/slow/predictions"
PREDICTIONS = "/replicate/v1/predictions"
TOML = """
[webhooks]
allow_private_addresses = true
max_attempts = 4
"""


@pytest.fixture
def gateway() -> Iterator[Running]:
    with running(TOML) as gateway:
        yield gateway


@pytest.fixture
def hook() -> Iterator[Receiver]:
    with receiver() as hook:
        yield hook


def create(
    client: httpx.Client, hook: Receiver, *events: str, path: str = LLAMA, **given: object
) -> str:
    body: dict[str, object] = {"input": given or {"prompt": "hello"}, "webhook": hook.url}
    if events:
        body["webhook_events_filter"] = list(events)
    answer = client.post(path, json=body)
    assert answer.status_code == 201, answer.text
    made: str = answer.json()["id"]
    return made


def pending(gateway: Running) -> int:
    return gateway.ledger(outbox.stats).pending


def told(gateway: Running, hook: Receiver) -> None:
    """Wait until the end of the prediction has been told and nothing is on its way."""
    gateway.settle(
        lambda: "succeeded" in hook.statuses and not pending(gateway), step_s=0.1, most_s=60
    )


def test_a_webhook_gets_the_document_that_a_get_would_give(
    gateway: Running, hook: Receiver
) -> None:
    with gateway.client(gateway.add_user("ann")) as client:
        made = create(client, hook, "completed")
        told(gateway, hook)
        assert len(hook.deliveries) == 1
        shown = client.get(f"{PREDICTIONS}/{made}")
        assert hook.deliveries[0].body == shown.content
        assert hook.deliveries[0].document["webhook"] == hook.url
        assert hook.deliveries[0].document["webhook_events_filter"] == ["completed"]
        assert hook.deliveries[0].headers["content-type"] == "application/json"
    assert gateway.sim.webhooks() == {}


def test_every_event_that_was_asked_for_is_told_in_order(gateway: Running, hook: Receiver) -> None:
    with gateway.client(gateway.add_user("ann")) as client:
        create(
            client,
            hook,
            "start",
            "output",
            "logs",
            "completed",
            prompt="x",
            max_tokens=200,
            min_tokens=200,
        )
        told(gateway, hook)
    events = [row.event for row in gateway.ledger(lambda conn: outbox.list_events(conn))][::-1]
    assert events[0] == "start"
    assert events[-1] == "completed"
    assert events.count("start") == events.count("completed") == 1
    assert events.count("output") >= 2
    lengths = [len(one.document.get("output") or []) for one in hook.deliveries]
    assert lengths == sorted(lengths)


def test_without_a_filter_output_and_the_end_are_told(gateway: Running, hook: Receiver) -> None:
    with gateway.client(gateway.add_user("ann")) as client:
        create(client, hook, prompt="x", max_tokens=200, min_tokens=200)
        told(gateway, hook)
    events = {row.event for row in gateway.ledger(lambda conn: outbox.list_events(conn))}
    assert events == {"output", "completed"}
    assert hook.statuses.count("succeeded") == 1


def test_output_is_told_at_most_every_half_second(hook: Receiver) -> None:
    with running(TOML + "[upstream]\npoll_interval_ms = 100") as gateway:
        with gateway.client(gateway.add_user("ann")) as client:
            made = create(client, hook, "output", prompt="x", max_tokens=400, min_tokens=400)
            for _ in range(60):
                gateway.clock.advance(0.1)  # type: ignore[attr-defined]
                client.get(f"{PREDICTIONS}/{made}", headers={"cache-control": "no-cache"})
        rows = gateway.ledger(lambda conn: outbox.list_events(conn))
        times = sorted(row.created_at for row in rows)
        assert len(times) > 3
        # The last output is told whenever it comes.
        assert all(b - a > 0.499 for a, b in itertools.pairwise(times[:-1]))


def test_output_is_told_however_large_the_crowd_that_reads_statuses(
    hook: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Outside, "crowded", lambda _: True)
    with running(TOML) as gateway, gateway.client(gateway.add_user("ann")) as client:
        made = create(client, hook, "output", prompt="x", max_tokens=400, min_tokens=400)
        for _ in range(20):
            gateway.clock.advance(0.25)  # type: ignore[attr-defined]
            assert client.get(f"{PREDICTIONS}/{made}").json()["status"] != "succeeded"
        assert len(gateway.ledger(lambda conn: outbox.list_events(conn))) > 3


def test_the_legacy_member_means_the_end(gateway: Running, hook: Receiver) -> None:
    with gateway.client(gateway.add_user("ann")) as client:
        body = {"input": {"prompt": "x"}, "webhook_completed": hook.url}
        assert client.post(LLAMA, json=body).status_code == 201
        told(gateway, hook)
    assert hook.statuses == ["succeeded"]


def test_a_training_is_told_too(gateway: Running, hook: Receiver) -> None:
    key = gateway.add_user("ann", role="manage")
    with gateway.client(key) as client:
        page = client.get("/replicate/v1/models/ostris/flux-dev-lora-trainer").json()
        version = page["latest_version"]["id"]
        answer = client.post(
            f"/replicate/v1/models/ostris/flux-dev-lora-trainer/versions/{version}/trainings",
            json={
                "destination": "acme/fine-tune",
                "input": {"input_images": "https://example.com/data.zip"},
                "webhook": hook.url,
                "webhook_events_filter": ["completed"],
            },
        )
        assert answer.status_code == 201, answer.text
        gateway.settle(lambda: hook.deliveries, step_s=5, most_s=3600)
        shown = client.get(f"/replicate/v1/trainings/{answer.json()['id']}")
        assert hook.deliveries[0].body == shown.content


def test_failures_are_retried_with_growing_pauses_under_one_id(
    gateway: Running, hook: Receiver
) -> None:
    hook.answer = lambda _: 200 if len(hook.deliveries) > 2 else 503
    with gateway.client(gateway.add_user("ann")) as client:
        create(client, hook, "completed")
        gateway.settle(lambda: len(hook.deliveries) == 3 and not pending(gateway), most_s=120)
    assert len({delivery.id for delivery in hook.deliveries}) == 1
    assert len({delivery.body for delivery in hook.deliveries}) == 1
    stamps = [int(delivery.headers["webhook-timestamp"]) for delivery in hook.deliveries]
    assert 3 <= stamps[1] - stamps[0] <= 8
    assert 10 <= stamps[2] - stamps[1] <= 21


def test_what_never_arrives_is_a_dead_letter_that_can_be_retried(
    gateway: Running, hook: Receiver
) -> None:
    hook.answer = lambda _: 307
    with gateway.client(gateway.add_user("ann")) as client:
        create(client, hook, "completed")
        gateway.settle(lambda: gateway.ledger(outbox.stats).dead == 1, step_s=1, most_s=600)
    assert len(hook.deliveries) == 4
    assert {delivery.path for delivery in hook.deliveries} == {"/hook"}
    hook.answer = lambda _: 204
    now = gateway.clock.now()
    assert gateway.ledger(lambda conn: outbox.retry(conn, now)) == 1
    gateway.settle(lambda: len(hook.deliveries) == 5 and not pending(gateway), most_s=60)
    assert len({delivery.id for delivery in hook.deliveries}) == 1


def test_addresses_inside_the_network_are_refused_at_create() -> None:
    with running() as gateway, gateway.client(gateway.add_user("ann")) as client:
        for url in (
            "http://example.com/x",
            "https://127.0.0.1/x",
            "https://[::1]/",
            "https://10.1.2.3",
        ):
            answer = client.post(LLAMA, json={"input": {"prompt": "x"}, "webhook": url})
            assert answer.status_code == 422, url
        assert gateway.sim.prediction_ids() == []


def test_a_restart_delivers_what_was_left(gateway: Running, hook: Receiver) -> None:
    hook.answer = lambda _: 500
    with gateway.client(gateway.add_user("ann")) as client:
        create(client, hook, "completed")
        gateway.settle(lambda: hook.deliveries, most_s=60)
        gateway.restart()
        hook.answer = lambda _: 200
        gateway.settle(lambda: len(hook.deliveries) >= 2 and not pending(gateway), most_s=120)
    assert len({delivery.id for delivery in hook.deliveries}) == 1


def test_whoever_sees_the_end_first_it_is_settled_charged_and_told_once(
    gateway: Running, hook: Receiver
) -> None:
    key = gateway.add_user("ann")
    force = {"cache-control": "no-cache"}
    with gateway.client(key) as client, ThreadPoolExecutor(12) as pool:
        made = [create(client, hook, "completed") for _ in range(5)]
        gateway.clock.advance(30)  # type: ignore[attr-defined]
        asked = []
        for one in made * 2:
            asked.append(pool.submit(client.get, f"{PREDICTIONS}/{one}", headers=force))
            asked.append(pool.submit(client.post, f"{PREDICTIONS}/{one}/cancel"))
            asked.append(pool.submit(client.get, f"{PREDICTIONS}/{one}"))
        # One of those who ask at the same time may wait for another by the clock.
        gateway.settle(lambda: all(each.done() for each in asked), step_s=0.05)
        answers = [each.result() for each in asked]
        assert {answer.status_code for answer in answers} == {200}
        assert {answer.json()["status"] for answer in answers} == {"succeeded"}
        gateway.settle(lambda: len(hook.deliveries) >= 5 and not pending(gateway), most_s=60)
        page = client.get("/metrics").text
    assert sorted(one.document["id"] for one in hook.deliveries) == sorted(made)
    ended = [line for line in page.splitlines() if "predictions_total{" in line]
    assert [line.rpartition(" ")[2] for line in ended] == ["5.0"]

    def charged(conn: Connection) -> tuple[int, int]:
        row = conn.exec_driver_sql(
            "SELECT (SELECT sum(predictions) FROM daily_totals), count(*) FROM outbox"
        ).one()
        return int(row[0]), int(row[1])

    assert gateway.ledger(charged) == (5, 5)


def test_the_official_verifiers_accept_what_is_sent(hook: Receiver) -> None:
    with (
        running(TOML, clock=SystemClock()) as gateway,
        gateway.client(gateway.add_user("ann")) as client,
    ):
        create(client, hook, "completed", prompt="über 🦙")
        gateway.settle(lambda: hook.deliveries)
        secret = client.get("/replicate/v1/webhooks/default/secret").json()["key"]
    (delivery,) = hook.deliveries
    Webhooks.validate(
        headers=delivery.headers,
        body=delivery.body.decode(),
        secret=WebhookSigningSecret(key=secret),
    )
    with pytest.raises(Exception, match=r"(?i)signature"):
        Webhooks.validate(
            headers=delivery.headers,
            body=delivery.body.decode() + " ",
            secret=WebhookSigningSecret(key=secret),
        )


@pytest.mark.node
def test_the_official_javascript_verifier_accepts_what_is_sent(
    gateway: Running, hook: Receiver
) -> None:
    packages = Path(__file__).parents[1] / "clients" / "js"
    with gateway.client(gateway.add_user("ann")) as client:
        create(client, hook, "completed", prompt="über 🦙")
        told(gateway, hook)
        secret = client.get("/replicate/v1/webhooks/default/secret").json()["key"]
    (delivery,) = hook.deliveries
    script = """
      const { validateWebhook } = require("replicate");
      const given = JSON.parse(require("fs").readFileSync(0, "utf8"));
      validateWebhook(given).then((valid) => process.stdout.write(String(valid)));
    """
    for body, verdict in ((delivery.body.decode(), "true"), ("{}", "false")):
        given = {
            "id": delivery.id,
            "timestamp": delivery.headers["webhook-timestamp"],
            "signature": delivery.headers["webhook-signature"],
            "body": body,
            "secret": secret,
        }
        done = subprocess.run(
            ["node", "-e", script],
            input=json.dumps(given),
            capture_output=True,
            text=True,
            cwd=packages,
            timeout=60,
            check=True,
        )
        assert done.stdout == verdict
