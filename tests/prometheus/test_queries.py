"""Every query of every panel and alert, asked of a real Prometheus that reads a busy gateway."""

import json
import re
import shutil
import subprocess
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from grafana.description import PanelOf, Query
from grafana.generate import BOARDS, files
from grafana.usage import USAGE
from tests.prometheus.server import SOURCES, Prometheus, prometheus
from tests.support.creating import API, create
from tests.support.process import PATIENCE_S, Processes, free_port, processes

pytestmark = [pytest.mark.prometheus, pytest.mark.xdist_group("prometheus")]

TOML = """
[server]
metrics_port = {port}
[upstream]
poll_interval_ms = 200
[webhooks]
allow_private_addresses = true
max_attempts = 2
timeout_s = 1
[teams.design]
[plans.default]
quotas = [{{ metric = "predictions", limit = 8, per = "day" }}]
[prices."*"]
per_second = 0.001
"""

MODELS = {6: "meta/meta-llama-3-8b-instruct", 7: "simulated/failing"}
"""Which prediction is of something else than a picture: words, and a failure."""

ALL_PANELS = [panel for board in BOARDS for _, row in board.rows for panel in row]

# Panels that are empty on a gateway that is well.
MAY_BE_EMPTY = {
    "Background work that died": "no task has ever died",
}


@dataclass(frozen=True, slots=True)
class Watched:
    """A gateway that has done a little of everything, and the Prometheus that saw it."""

    gateway: Processes
    prometheus: Prometheus
    key: str


@pytest.fixture(scope="module")
def watched() -> Iterator[Watched]:
    port = free_port()
    with processes(TOML.format(port=port), speed=20) as gateway:
        key = gateway.add_user("ann", "--team", "design")
        with prometheus(port) as server:
            work(gateway, key)
            yield Watched(gateway, server, key)


def work(gateway: Processes, key: str) -> None:
    """Make predictions that succeed and fail, with files and a webhook, and use the quota up."""
    with gateway.client(key) as client:
        for turn in range(8):
            model = MODELS.get(turn, "simulated/single-picture")
            body: dict[str, object] = {"input": {"prompt": f"a lighthouse {turn}"}}
            if turn == 0:
                body["webhook"] = "http://127.0.0.1:9/nobody"
            made = client.post(f"{API}/models/{model}/predictions", json=body)
            assert made.status_code == 201, made.text
            done = gateway.finished(client, made.json()["id"]).json()
            if isinstance(done["output"], str):
                assert client.get(done["output"]).status_code == 200
            client.get(f"{API}/predictions/{done['id']}")
        assert create(client, "echo", value=1).status_code == 402
        client.get(f"{API}/models")


def concrete(expr: str, **chosen: str) -> str:
    """Return a panel's query as Grafana sends it: who was chosen, the last five minutes."""
    for variable in ("user", "team", "model"):
        expr = expr.replace(f"${variable}", chosen.get(variable, ".*"))
    return expr.replace("$__rate_interval", "60s").replace("$__range", "300s")


def shown(server: Prometheus, panel: PanelOf, query: Query, **chosen: str) -> list[dict[str, Any]]:
    """Return what a panel shows: bars the present, all others the last minute."""
    if panel.kind == "bars":
        return server.query(concrete(query.expr, **chosen))
    return server.last_minute(concrete(query.expr, **chosen))


@pytest.mark.parametrize("path", sorted((SOURCES / "rules").glob("*.yml")), ids=lambda p: p.stem)
def test_prometheus_own_checker_accepts_the_rules(path: Path) -> None:
    done = subprocess.run(
        ["promtool", "check", "rules", "--lint=all", "--lint-fatal", path],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_waits_its_time_and_then_fires(tmp_path: Path) -> None:
    cases = Path(__file__).with_name("alerts_test.yml")
    for path in (cases, *(SOURCES / "rules").glob("*.yml")):
        shutil.copy(path, tmp_path)
    done = subprocess.run(
        ["promtool", "test", "rules", cases.name],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    alerts = (SOURCES / "rules" / "alerts.yml").read_text(encoding="utf-8")
    tried = re.findall(r"- name: (\w+)$", cases.read_text(encoding="utf-8"), re.MULTILINE)
    assert tried == re.findall(r"alert: (\w+)$", alerts, re.MULTILINE)


def wait_for_data(server: Prometheus, panels: Iterable[PanelOf], **chosen: str) -> None:
    """Wait until every query shows something: two scrapes, and the rules after them."""

    def empty() -> list[str]:
        return [
            f"{panel.title}: {query.expr}"
            for panel in panels
            for query in panel.queries
            if panel.title not in MAY_BE_EMPTY and not shown(server, panel, query, **chosen)
        ]

    until = time.monotonic() + 2 * PATIENCE_S
    while left := empty():
        assert time.monotonic() < until, left
        time.sleep(0.5)


def test_every_panel_that_should_have_data_has_some(watched: Watched) -> None:
    wait_for_data(watched.prometheus, ALL_PANELS)


def test_what_is_chosen_above_a_dashboard_is_what_is_shown(watched: Watched) -> None:
    panels = [panel for _, row in USAGE.rows for panel in row]
    # As Grafana writes what was chosen, one or several.
    wait_for_data(watched.prometheus, panels, user="(ann|zoe)", team="design")
    for panel in panels:
        for query in panel.queries:
            assert "$user" in query.expr, panel.title
            none = shown(watched.prometheus, panel, query, user="zoe")
            assert none == [], (panel.title, query.expr)


def test_what_can_be_chosen_and_what_is_marked_is_asked_for_rightly(watched: Watched) -> None:
    wait_for_data(watched.prometheus, ALL_PANELS)
    for path in files():
        board = json.loads(path.read_text(encoding="utf-8"))
        for variable in board["templating"].get("list", []):
            asked = re.fullmatch(r"label_values\((\w+), (\w+)\)", variable["query"])
            assert asked is not None
            metric, label = asked.groups()
            found = watched.prometheus.query(metric)
            assert any(series["metric"].get(label) for series in found), variable["name"]
        (marks,) = board["annotations"]["list"]
        watched.prometheus.query(marks["expr"])


def test_every_number_is_a_number(watched: Watched) -> None:
    for board in BOARDS:
        for panel in (panel for _, row in board.rows for panel in row):
            for query in panel.queries:
                values = [s["value"][1] for s in watched.prometheus.query(concrete(query.expr))]
                if "quantile" in query.expr or "/" in query.expr:
                    continue  # nothing divided by nothing, of what was not asked for lately
                assert "NaN" not in values, (panel.title, query.expr)


def test_every_rule_is_evaluated_without_an_error(watched: Watched) -> None:
    def unwell() -> list[str]:
        groups = watched.prometheus.ask("/rules")["groups"]
        assert sum(len(group["rules"]) for group in groups) == 15
        return [
            f"{rule['name']}: {rule['health']} {rule.get('lastError', '')}"
            for group in groups
            for rule in group["rules"]
            if rule["health"] != "ok"
        ]

    watched.gateway.wait_for(lambda: not unwell())


def test_alerts_fire_when_what_they_are_about_happens(watched: Watched) -> None:
    """On a gateway that is well but for a quota; then one thing after the other goes wrong."""
    seen = watched.prometheus
    watched.gateway.wait_for(lambda: "GatewayQuotaNearItsEnd" in seen.firing())
    # The test machine's own disk may be as full as it likes.
    assert seen.firing() - {"GatewayDiskFilling"} == {"GatewayQuotaNearItsEnd"}

    usual = watched.gateway.steer("GET", "/config")["requests_per_minute"]
    watched.gateway.steer("PATCH", "/config", {"requests_per_minute": 200})

    def asked() -> bool:
        with watched.gateway.client(watched.key) as client:
            assert client.get(f"{API}/collections").status_code in {200, 429}
        return "GatewayAllowanceNearlyGone" in seen.firing()

    watched.gateway.wait_for(asked)
    watched.gateway.steer("PATCH", "/config", {"requests_per_minute": usual})

    fault: dict[str, object] = {"kind": "server_error", "match": "delivery.get", "times": None}
    watched.gateway.steer("POST", "/faults", fault)
    with watched.gateway.client(watched.gateway.add_user("ben")) as ben:
        for turn in range(4):
            create(ben, "single-picture", prompt=f"a lighthouse of ben's {turn}")
        watched.gateway.wait_for(lambda: "GatewayMirrorFailing" in seen.firing())
    watched.gateway.steer("DELETE", "/faults")

    watched.gateway.steer("POST", "/faults", {"kind": "token_refused", "match": "*", "times": None})

    def refused() -> bool:
        # Again and again: a rate needs a series to grow from one scrape to the next.
        with watched.gateway.client(watched.key) as client:
            assert client.get(f"{API}/collections").status_code == 502
        return seen.firing() >= {"GatewayTokenRefused", "GatewayErrorRate"}

    watched.gateway.wait_for(refused)

    watched.gateway.kill()
    watched.gateway.wait_for(lambda: "GatewayDown" in seen.firing())
