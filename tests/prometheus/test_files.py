"""The dashboards, rules and runbooks agree with their sources and with each other."""

import itertools
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]  # published without types
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard

from gateway.metrics import definitions
from grafana import alerting
from grafana.generate import BOARDS, all_files, files

ROOT = Path(__file__).resolve().parents[2]
GRAFANA = ROOT / "grafana"
RULES = GRAFANA / "prometheus" / "rules"


def read(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def alerts() -> list[dict[str, Any]]:
    return [rule for group in read(RULES / "alerts.yml")["groups"] for rule in group["rules"]]


def expressions() -> list[str]:
    panels = [query.expr for b in BOARDS for _, row in b.rows for p in row for query in p.queries]
    rules = [
        rule["expr"]
        for path in RULES.glob("*.yml")
        for group in read(path)["groups"]
        for rule in group["rules"]
    ]
    return panels + rules


def test_what_grafana_reads_is_what_the_generator_makes() -> None:
    for path, text in all_files().items():
        assert path.read_text(encoding="utf-8") == text, "run make dashboards"
    assert {path for path, _ in files().items()} == set((GRAFANA / "dashboards").iterdir())


@pytest.mark.parametrize("path", sorted(files()), ids=lambda path: str(path.stem))
def test_grafanas_own_model_reads_a_dashboard_and_loses_nothing(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    read_again = Dashboard.from_json(json.loads(text))
    again = json.loads(json.dumps(read_again, cls=JSONEncoder))
    assert again == json.loads(text)


@pytest.mark.parametrize("path", sorted(files()), ids=lambda path: str(path.stem))
def test_every_panel_is_described_and_every_link_leads_somewhere(path: Path) -> None:
    board = json.loads(path.read_text(encoding="utf-8"))
    panels = [panel for panel in board["panels"] if panel["type"] != "row"]
    assert panels
    for panel in panels:
        assert len(panel["description"]) > 10
        assert panel["fieldConfig"]["defaults"]["unit"]
        assert panel["fieldConfig"]["defaults"]["thresholds"]["steps"]
        assert all(target["expr"] and target["legendFormat"] for target in panel["targets"])
    assert len({panel["title"] for panel in panels}) == len(panels)
    places = [panel["gridPos"] for panel in board["panels"]]
    assert all(place["x"] + place["w"] <= 24 for place in places)
    for one, other in itertools.combinations(places, 2):
        beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        assert beside or one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
    uids = {json.loads(other.read_text(encoding="utf-8"))["uid"] for other in files()}
    assert {link["url"] for link in board["links"]} == {
        f"/d/{uid}" for uid in uids - {board["uid"]}
    }


LIMITED = {
    "Gateways up",
    "Errors",
    "Allowance left",
    "Failing requests to Replicate",
    "Follower lag",
    "Creates in doubt",
    "Oldest webhook waiting",
    "Output files kept",
    "Disk free",
    "Quota left",
    "Ledger not readable",
}
"""The panels of what an alert watches."""


def test_a_panel_of_what_an_alert_watches_shows_where_it_becomes_serious() -> None:
    panels = [
        panel
        for path in files()
        for panel in json.loads(path.read_text(encoding="utf-8"))["panels"]
        if panel["title"] in LIMITED
    ]
    assert {panel["title"] for panel in panels} == LIMITED
    for panel in panels:
        assert len(panel["fieldConfig"]["defaults"]["thresholds"]["steps"]) > 1, panel["title"]


def test_every_metric_that_is_asked_for_exists_and_every_one_is_asked_for() -> None:
    asked = set(re.findall(r"(?<![\w:])replicate_gateway_\w+", "\n".join(expressions())))
    asked = {re.sub(r"_seconds_(bucket|sum|count)$", "_seconds", name) for name in asked}
    declared = {definition.full_name for definition in definitions.ALL}
    assert asked <= declared
    unseen = {"replicate_gateway_streams_dropped_total"}  # a matter for the log, which names them
    assert declared - asked == unseen


def test_every_recorded_series_that_is_asked_for_is_recorded() -> None:
    recorded = {
        rule["record"]
        for group in read(RULES / "recording.yml")["groups"]
        for rule in group["rules"]
    }
    asked = set(re.findall(r"\bjob\w*:replicate_gateway_\w+:\w+", "\n".join(expressions())))
    assert asked == recorded


def test_grafana_watches_the_same_alerts_as_prometheus() -> None:
    (group,) = read(alerting.FILE)["groups"]
    # Grafana's scheduler works every ten seconds, and refuses an interval that is no multiple.
    assert int(group["interval"].removesuffix("s")) % 10 == 0
    boards = read(GRAFANA / "provisioning" / "dashboards" / "gateway.yml")["providers"][0]
    assert group["folder"] == boards["folder"]
    source = read(GRAFANA / "provisioning" / "datasources" / "prometheus.yml")["datasources"][0]
    assert len(group["rules"]) == len(alerts())
    for rule, alert in zip(group["rules"], alerts(), strict=True):
        query, condition = rule["data"]
        assert rule["title"] == alert["alert"]
        assert len(rule["uid"]) <= 40
        assert query["model"]["expr"] == alert["expr"].strip()
        assert query["model"]["instant"] is True
        assert query["datasourceUid"] == source["uid"]
        assert (condition["refId"], condition["datasourceUid"]) == (rule["condition"], "__expr__")
        assert rule["for"] == alert["for"]
        assert rule["labels"] == alert["labels"]
        assert rule["annotations"]["runbook"] == alert["annotations"]["runbook"]
        # The only variables that both know are the labels; a value has another name there.
        variables = set(re.findall(r"\$\w+", rule["annotations"]["summary"]))
        assert variables <= {"$labels", "$values"}
    assert len({rule["uid"] for rule in group["rules"]}) == len(group["rules"])


def test_every_alert_has_a_runbook_and_every_runbook_an_alert() -> None:
    pages = {path for path in (ROOT / "docs" / "runbooks").glob("*.md") if path.stem != "README"}
    assert {ROOT / rule["annotations"]["runbook"] for rule in alerts()} == pages
    index = (ROOT / "docs" / "runbooks" / "README.md").read_text(encoding="utf-8")
    assert "(docs/runbooks/README.md)" in (ROOT / "README.md").read_text(encoding="utf-8")
    deployment = (ROOT / "docs" / "deployment.md").read_text(encoding="utf-8")
    assert "(runbooks/README.md)" in deployment
    for rule in alerts():
        page = ROOT / rule["annotations"]["runbook"]
        assert page.read_text(encoding="utf-8").startswith(f"# {rule['alert']}\n")
        assert f"[{rule['alert']}]({page.name})" in index
        assert rule["labels"]["severity"] in {"info", "warning", "critical"}
