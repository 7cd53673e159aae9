"""The simulator as a process of its own, steered over HTTP."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

CHECKOUT = Path(__file__).parents[2]


class Process:
    def __init__(self, *arguments: str) -> None:
        self.child = subprocess.Popen(
            [sys.executable, "-m", "gateway.simulator", *arguments],
            stdout=subprocess.PIPE,
            cwd=CHECKOUT,
            text=True,
        )
        assert self.child.stdout is not None
        self.addresses: dict[str, Any] = json.loads(self.child.stdout.readline())
        self.api = httpx.Client(
            base_url=f"{self.addresses['api_url']}/v1",
            headers={"Authorization": f"Bearer {self.addresses['token']}"},
        )
        self.control = httpx.Client(base_url=self.addresses["control_url"])

    def end(self) -> int:
        self.api.close()
        self.control.close()
        self.child.send_signal(signal.SIGTERM)
        try:
            return self.child.wait(10)
        finally:
            self.child.kill()
            if self.child.stdout is not None:
                self.child.stdout.close()


@pytest.fixture(scope="module")
def process() -> Iterator[Process]:
    running = Process("--token", "r8_mine", "--username", "initech")
    yield running
    assert running.end() == 0


@pytest.fixture(autouse=True)
def _clean(process: Process) -> None:
    process.control.delete("/log")
    process.control.delete("/faults")


def test_the_first_line_names_the_origins_and_the_token(process: Process) -> None:
    assert set(process.addresses) == {
        "api_url", "delivery_origin", "stream_origin", "control_url", "token",
    }  # fmt: skip
    assert process.addresses["token"] == "r8_mine"
    assert process.api.get("/account").json()["username"] == "initech"
    assert process.control.get("/health").json() == process.addresses


def test_time_is_pushed_from_outside(process: Process) -> None:
    made = process.api.post("/models/simulated/slow/predictions", json={"input": {"seconds": 900}})
    path = f"/predictions/{made.json()['id']}"
    assert process.api.get(path).json()["status"] in ("starting", "processing")
    process.control.post("/advance", json={"seconds": 901})
    assert process.api.get(path).json()["status"] == "succeeded"
    assert process.control.post(f"{path}/expire").status_code == 204
    assert process.api.get(path).json()["data_removed"] is True
    assert process.control.post(f"{path}/forget").status_code == 204
    assert process.api.get(path).status_code == 404


def test_the_log_is_read_filtered_counted_and_cleared(process: Process) -> None:
    process.api.get("/account")
    process.api.get("/hardware")
    found = process.control.get("/log", params={"path_prefix": "/v1/acc"}).json()
    assert [(entry["operation"], entry["status"]) for entry in found] == [("account.get", 200)]
    assert process.control.get("/log/count", params={"method": "GET"}).json() == {"count": 2}
    assert process.control.delete("/log").status_code == 204
    assert process.control.get("/log").json() == []


def test_faults_are_set_from_outside(process: Process) -> None:
    wanted = [{"kind": "server_error", "match": "account.get", "status": 503, "times": 2}]
    assert process.control.put("/faults", json=wanted).status_code == 200
    assert [process.api.get("/account").status_code for _ in range(3)] == [503, 503, 200]
    assert process.control.get("/faults").json() == {"armed": [], "hits": 2}
    wrong = process.control.put("/faults", json=[{"kind": "nonsense"}])
    assert wrong.status_code == 422


def test_a_reset_is_a_reset_on_this_loop_too(process: Process) -> None:
    process.control.post("/faults", json={"kind": "reset_before"})
    with pytest.raises(httpx.ReadError):
        process.api.get("/account")


def test_dials_are_changed_and_fixed_ones_are_not(process: Process) -> None:
    changed = process.control.patch("/config", json={"out_of_credit": True}).json()
    assert changed["out_of_credit"] is True
    made = process.api.post("/models/simulated/echo/predictions", json={"input": {}})
    assert made.status_code == 402
    process.control.patch("/config", json={"out_of_credit": False})
    assert process.control.patch("/config", json={"api_port": 1}).status_code == 422
    assert process.control.patch("/config", json={"nonsense": 1}).status_code == 422


def test_predictions_of_others_on_the_account_and_the_books(process: Process) -> None:
    body = {"version": "simulated/echo", "input": {"value": 1}, "source": "web"}
    made = process.control.post("/predictions", json=body).json()["id"]
    assert process.api.get(f"/predictions/{made}").json()["source"] == "web"
    assert process.control.get(f"/predictions/{made}").json()["id"] == made
    usage = process.control.get("/usage").json()
    assert {"id", "model", "status", "predict_time", "images"} <= usage[-1].keys()
    assert process.control.post("/predictions", json={"version": "x"}).status_code == 422


def test_an_origin_is_taken_down_and_put_up_again(process: Process) -> None:
    assert process.control.post("/origins/api/stop").json()["api"] is False
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{process.addresses['api_url']}/v1/account")
    assert process.control.post("/origins/api/start").json()["api"] is True
    assert httpx.get(f"{process.addresses['api_url']}/v1/account").status_code == 401
    assert process.control.post("/origins/control/stop").status_code == 422
