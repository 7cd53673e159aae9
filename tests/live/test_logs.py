"""The logs of a busy gateway: what each access line tells, and that no secret stands in them."""

import json
import signal
from typing import Any

import httpx
import pytest

from tests.support.creating import API, create
from tests.support.crowd import make_users
from tests.support.process import Processes, processes

TOKEN = "r8_CanaryOfTheUpstreamToken0123456789"
QUERY = "CanaryOfASignedQuery"
FAULTS = (
    "reset_before",
    "reset_after",
    "truncate",
    "server_error",
    "bare_error",
    "throttle",
    "garbage",
    "token_refused",
)
TOML = """
[server]
workers = {workers}
log_format = "{log_format}"
[upstream]
poll_interval_ms = 100
max_queue_s = 1
[webhooks]
allow_private_addresses = true
max_attempts = 2
timeout_s = 1
[teams.t]
webhook = "https://hooks.invalid/canary"
webhook_secret = "whsec_Q2FuYXJ5Q2FuYXJ5Q2FuYXJ5Q2FuYXJ5"
[plans.default]
quotas = [{{ metric = "predictions", limit = 12, per = "day" }}]
"""


def be_busy(gateway: Processes, key: str) -> list[str]:
    """Do everything that is ever logged, errors above all; returns the secrets met on the way."""
    secrets = [TOKEN, key, "Q2FuYXJ5Q2FuYXJ5", QUERY]
    wrong = "hk-CanaryOfAKeyThatNobodyHas0123456789abcdefghi"
    secrets.append(wrong)
    with gateway.client(key) as client:
        told: dict[str, Any] = client.get(f"{API}/webhooks/default/secret").json()
        secrets.append(told["key"])
        hook = f"http://127.0.0.1:9/hook?token={QUERY}"
        made = client.post(
            f"{API}/models/simulated/single-picture/predictions",
            json={"input": {"prompt": "a"}, "webhook": hook},
        )
        assert made.status_code == 201, made.text
        done = gateway.finished(client, made.json()["id"]).json()
        client.get(done["output"].removeprefix(gateway.url) + f"?X-Amz-Signature={QUERY}")
        client.get(f"{API}/predictions/{done['id']}")

        text = client.post(
            f"{API}/models/meta/meta-llama-3-8b-instruct/predictions",
            json={"input": {"prompt": "Tell me a joke"}, "stream": True},
        ).json()
        stream: str = text["urls"]["stream"]
        secrets.append(stream.rpartition("/")[2])
        with client.stream("GET", stream.removeprefix(gateway.url)) as events:
            events.read()
        client.get(stream.removeprefix(gateway.url) + "x")

        for path in (f"/{key}", f"{API}/predictions/{wrong}", f"{API}/nowhere?token={QUERY}"):
            client.get(path)
        client.get(f"{API}/predictions", headers={"X-Request-Id": key})
        client.post(f"{API}/predictions", content=b"{" + TOKEN.encode())
        client.get(f"{API}/predictions", headers={"Authorization": f"Bearer {wrong}"})
        for kind in FAULTS:
            gateway.steer("POST", "/faults", {"kind": kind, "match": "*.create", "times": 1})
            create(client, "echo", value=f"{QUERY}-of-an-input")
        gateway.steer("DELETE", "/faults")
        gateway.steer("POST", "/origins/delivery/stop")
        broken = create(client, "single-picture", prompt="b")
        if broken.status_code == 201:
            gateway.finished(client, broken.json()["id"])
        gateway.steer("POST", "/origins/api/stop")
        create(client, "echo", value=1)
        gateway.steer("POST", "/origins/api/start")
        for _ in range(12):
            create(client, "echo", value=1)
    gateway.signal(signal.SIGHUP)
    gateway.wait_for(lambda: "reloaded: " in gateway.log())
    gateway.stop()
    return secrets


@pytest.mark.parametrize(("log_format", "workers"), [("console", 1), ("json", 2)])
def test_no_secret_stands_in_the_log_of_a_busy_run(log_format: str, workers: int) -> None:
    with processes(TOML.format(log_format=log_format, workers=workers), token=TOKEN) as gateway:
        [key] = make_users(gateway, ["ann"])
        secrets = be_busy(gateway, key)
        log = gateway.log()
    assert log.count("route=" if log_format == "console" else '"route":') >= 15
    found = [
        line for line in log.splitlines() for secret in secrets if secret in line and secret != ""
    ]
    assert not found
    # They would have stood there: the paths in which they came are written down.
    assert log.count("hk-***") >= 2
    assert "/v1/streams/***" in log


def access_lines(gateway: Processes) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in gateway.log().splitlines() if line.startswith("{")]
    return [line for line in lines if line["logger"] == "gateway.access"]


def test_an_access_line_tells_who_asked_for_what_and_how_it_was_answered() -> None:
    with processes(TOML.format(log_format="json", workers=1), speed=20) as gateway:
        [key] = make_users(gateway, ["ann"])
        with gateway.client(key) as client:
            client.headers["X-Request-Id"] = "mine-1"
            made = create(client, "echo", value=1)
            gateway.finished(client, made.json()["id"])
            client.headers["X-Request-Id"] = "mine-2"
            client.get(f"{API}/predictions/{made.json()['id']}")
        httpx.get(f"{gateway.url}{API}/predictions", trust_env=False)
        gateway.wait_for(
            lambda: any(line["message"].endswith(" 401") for line in access_lines(gateway))
        )
        lines = access_lines(gateway)
    create_line = next(line for line in lines if line["message"].startswith("POST"))
    assert create_line["request_id"] == "mine-1"
    assert create_line["user"] == "ann"
    assert create_line["message"].endswith("/models/simulated/echo/predictions 201")
    assert create_line["route"].endswith("/models/{model_owner}/{model_name}/predictions")
    assert (create_line["method"], create_line["status"]) == ("POST", 201)
    assert create_line["ms"] > 0
    [read_line] = [line for line in lines if line["request_id"] == "mine-2"]
    assert read_line["cache"] == "hit"
    refused = next(line for line in lines if line["message"].endswith(" 401"))
    assert "user" not in refused
    assert refused["request_id"]
