"""Makes what Grafana reads with its own typed builder: `make dashboards`."""

import json
from pathlib import Path

from grafana_foundation_sdk.builders import bargauge, prometheus, stat, timeseries
from grafana_foundation_sdk.builders import common as shared
from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import common
from grafana_foundation_sdk.models import dashboard as model

from grafana import alerting
from grafana.description import Board, PanelOf
from grafana.operations import OPERATIONS
from grafana.overview import OVERVIEW
from grafana.usage import USAGE

BOARDS = (OVERVIEW, USAGE, OPERATIONS)
FOLDER = Path(__file__).parent / "dashboards"
SOURCE = model.DataSourceRef(type_val="prometheus", uid=alerting.SOURCE_UID)
_HEIGHTS = {"stat": 4, "timeseries": 8, "bars": 8}

AnyPanel = bargauge.Panel | stat.Panel | timeseries.Panel


def _thresholds(panel: PanelOf) -> build.ThresholdsConfig:
    steps = [model.Threshold(value=None, color=panel.base)]
    steps += [model.Threshold(value=value, color=colour) for value, colour in panel.thresholds]
    return build.ThresholdsConfig().mode(model.ThresholdsMode.ABSOLUTE).steps(steps)


def _last() -> shared.ReduceDataOptions:
    return shared.ReduceDataOptions().calcs(["lastNotNull"])


def _bare(panel: PanelOf) -> AnyPanel:
    """Return the builder with what only this kind of panel has."""
    if panel.kind == "stat":
        return stat.Panel().reduce_options(_last()).graph_mode(common.BigValueGraphMode.AREA)
    if panel.kind == "bars":
        return (
            bargauge.Panel()
            .reduce_options(_last())
            .orientation(common.VizOrientation.HORIZONTAL)
            .display_mode(common.BarGaugeDisplayMode.BASIC)
        )
    lines = (
        timeseries.Panel()
        .fill_opacity(20 if panel.stacked else 5)
        .legend(
            shared.VizLegendOptions()
            .display_mode(common.LegendDisplayMode.LIST)
            .placement(common.LegendPlacement.BOTTOM)
            .show_legend(True)
        )
    )
    if panel.stacked:
        lines.stacking(shared.StackingConfig().mode(common.StackingMode.NORMAL))
    if panel.thresholds:
        lines.thresholds_style(
            shared.GraphThresholdsStyleConfig().mode(common.GraphTresholdsStyleMode.DASHED)
        )
    return lines


def _panel(panel: PanelOf) -> AnyPanel:
    made = (
        _bare(panel)
        .title(panel.title)
        .description(panel.description)
        .datasource(SOURCE)
        .unit(panel.unit)
        .min(0)
        .thresholds(_thresholds(panel))
        .height(_HEIGHTS[panel.kind])
        .span(panel.width)
    )
    if panel.empty is not None:
        made.no_value(panel.empty)
    if panel.highest is not None:
        made.max(panel.highest)
    for letter, query in zip("ABCD", panel.queries, strict=False):
        target = prometheus.Dataquery().expr(query.expr).legend_format(query.legend).ref_id(letter)
        # Bars tell the range's total: one look at its end, not one at each of its points.
        made.with_target(target.instant() if panel.kind == "bars" else target.range())
    return made


def _variable(label: str) -> build.QueryVariable:
    everybody = model.VariableOption(text="All", value="$__all")
    return (
        build.QueryVariable(label)
        .label(label.capitalize())
        .datasource(SOURCE)
        .query(f"label_values(replicate_gateway_predictions_total, {label})")
        .refresh(model.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(model.VariableSort.ALPHABETICAL_ASC)
        .multi(True)
        .include_all(True)
        .all_value(".*")
        .current(everybody)
    )


def render(board: Board) -> str:
    """Return a dashboard as the JSON that Grafana reads."""
    made = (
        build.Dashboard(board.title)
        .uid(board.uid)
        .description(board.description)
        .tags(["replicate-gateway"])
        .refresh("30s")
        .time("now-6h", "now")
        .timezone("browser")
        .tooltip(model.DashboardCursorSync.CROSSHAIR)
        .readonly()
        .annotation(
            build.AnnotationQuery()
            .name("Alerts")
            .datasource(SOURCE)
            .enable(True)
            .icon_color("red")
            .expr('ALERTS{alertname=~"Gateway.+",alertstate="firing"}')
        )
    )
    for other in BOARDS:
        if other is not board:
            made.link(
                build.DashboardLink(other.title.rpartition(": ")[2])
                .type(model.DashboardLinkType.LINK)
                .url(f"/d/{other.uid}")
                .tooltip(other.description)
                .keep_time(True)
                .include_vars(bool(board.variables and other.variables))
            )
    for label in board.variables:
        made.with_variable(_variable(label))
    for title, panels in board.rows:
        made.with_row(build.Row(title))
        for panel in panels:
            made.with_panel(_panel(panel))
    return json.dumps(made.build(), cls=JSONEncoder, indent=2, sort_keys=True) + "\n"


def files() -> dict[Path, str]:
    """Return every dashboard's file and what belongs into it."""
    return {FOLDER / f"{board.uid.rpartition('-')[2]}.json": render(board) for board in BOARDS}


def all_files() -> dict[Path, str]:
    """Return every file that is made here, and what belongs into it."""
    return {**files(), alerting.FILE: alerting.render()}


if __name__ == "__main__":
    for path, text in all_files().items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
