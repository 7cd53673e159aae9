"""Grafana's own alerts, made from Prometheus' rules: one definition, two programs that watch it.

Prometheus works the rules out by itself, but tells somebody only where it has an Alertmanager
beside it; Grafana has contact points of its own. The shape is Grafana's file for provisioning.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final, TypedDict

import yaml  # type: ignore[import-untyped]  # published without types
from grafana_foundation_sdk.builders import alerting, expr, prometheus
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import alerting as model

RULES: Final = Path(__file__).parent / "prometheus" / "rules" / "alerts.yml"
FILE: Final = Path(__file__).parent / "provisioning" / "alerting" / "gateway.yml"
SOURCE_UID: Final = "replicate-gateway-prometheus"
FOLDER: Final = "Replicate gateway"
# Grafana looks every ten seconds, or a multiple of that.
_INTERVAL: Final = "30s"
_HEAD = """\
# Made from grafana/prometheus/rules/alerts.yml by `make dashboards`; changes here are overwritten.
# Who is told is up to you: Grafana's contact points.
"""


class PrometheusAlert(TypedDict):
    """One rule of alerts.yml."""

    alert: str
    expr: str
    labels: dict[str, str]
    annotations: dict[str, str]


def alerts() -> list[tuple[PrometheusAlert, str]]:
    """Return every alert of Prometheus, and how long it waits before it fires."""
    groups = yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"]
    return [(rule, rule["for"]) for group in groups for rule in group["rules"]]


def _rule(alert: PrometheusAlert, wait: str) -> dict[str, object]:
    built = (
        alerting.Rule(alert["alert"])
        .uid(_uid(alert["alert"]))
        .condition("B")
        .with_query(
            _query("A", SOURCE_UID).model(
                prometheus.Dataquery().expr(alert["expr"].strip()).instant().ref_id("A")
            )
        )
        # Prometheus alerts of whatever an expression finds, a zero too; Grafana of no zero.
        .with_query(
            _query("B", "__expr__").model(expr.TypeMath().expression("$A == $A").ref_id("B"))
        )
        # Nothing found is what these expressions say of a gateway that is well.
        .no_data_state("OK")
        .exec_err_state("Error")
        .for_val(wait)
        .labels(alert["labels"])
        .annotations({name: _text(text) for name, text in alert["annotations"].items()})
        .build()
    )
    told: Mapping[str, object] = json.loads(json.dumps(built, cls=JSONEncoder))
    # The file's names are not in every case those of Grafana's interface.
    kept = ("uid", "title", "condition", "data", "noDataState", "execErrState", "for")
    return {name: told[name] for name in (*kept, "annotations", "labels")}


def _query(letter: str, source: str) -> alerting.Query:
    last_minutes = model.RelativeTimeRange(from_val=600, to=0)
    return alerting.Query(letter).datasource_uid(source).relative_time_range(last_minutes)


def _uid(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "-", name).lower()


def _text(prometheus_text: str) -> str:
    """Return an annotation with the value where Grafana has it."""
    return prometheus_text.replace("$value", "$values.A.Value")


def render() -> str:
    """Return the file with all alerts."""
    group = {
        "orgId": 1,
        "name": "replicate-gateway-alerts",
        "folder": FOLDER,
        "interval": _INTERVAL,
        "rules": [_rule(alert, wait) for alert, wait in alerts()],
    }
    text: str = yaml.safe_dump(
        {"apiVersion": 1, "groups": [group]}, sort_keys=False, allow_unicode=True, width=100
    )
    return _HEAD + text
