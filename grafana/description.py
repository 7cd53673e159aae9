"""What the dashboards show, described once; :mod:`grafana.generate` makes Grafana's JSON of it.

Units are Grafana's names for them. Thresholds are (value, colour) above a green base.
"""

from dataclasses import dataclass
from typing import Literal

P = "replicate_gateway_"
WHO = 'user=~"$user",team=~"$team",model=~"$model"'
RATE = "[$__rate_interval]"

Kind = Literal["timeseries", "stat", "bars"]


@dataclass(frozen=True, slots=True)
class Query:
    """One line of a panel: a PromQL expression and its legend."""

    expr: str
    legend: str


@dataclass(frozen=True, slots=True)
class PanelOf:
    """One panel; `width` is of 24 columns, the height follows from the kind."""

    title: str
    description: str
    unit: str
    queries: tuple[Query, ...]
    kind: Kind = "timeseries"
    width: int = 12
    thresholds: tuple[tuple[float, str], ...] = ()
    stacked: bool = False
    highest: float | None = None


@dataclass(frozen=True, slots=True)
class Board:
    """One dashboard; `variables` are labels that can be chosen."""

    uid: str
    title: str
    description: str
    variables: tuple[str, ...]
    rows: tuple[tuple[str, tuple[PanelOf, ...]], ...]


def panel(
    title: str,
    description: str,
    unit: str,
    *queries: tuple[str, str],
    kind: Kind = "timeseries",
    width: int = 12,
    thresholds: tuple[tuple[float, str], ...] = (),
    stacked: bool = False,
    highest: float | None = None,
) -> PanelOf:
    """Describe a panel by pairs of expression and legend."""
    lines = tuple(Query(expr, legend) for expr, legend in queries)
    return PanelOf(title, description, unit, lines, kind, width, thresholds, stacked, highest)


def per_second(name: str, by: str, selector: str = "") -> str:
    """Return the summed rate of a counter."""
    return f"sum by ({by}) (rate({P}{name}_total{{{selector}}}{RATE}))"


def in_range(name: str, by: str) -> str:
    """Return how much a counter grew in the range that is shown, the ten largest.

    A series that was born within the range counts whole: increase() would not see its first value.
    """
    all_of = f"{P}{name}_total{{{WHO}}}"
    return (
        f"topk(10, sum by ({by}) (({all_of} unless {all_of} offset $__range) "
        f"or increase({all_of}[$__range])))"
    )


BAD_ABOVE_5_PERCENT = ((0.01, "yellow"), (0.05, "red"))
_SECONDS = f"{P}http_request_duration_seconds_bucket{RATE}"
_UPSTREAM_SECONDS = f"{P}upstream_request_duration_seconds_bucket{RATE}"

ERRORS = panel(
    "Errors",
    "Share of the answers of the last five minutes that were 5xx.",
    "percentunit",
    ("job:replicate_gateway_http_errors:ratio_rate5m", "errors"),
    kind="stat",
    width=4,
    thresholds=BAD_ABOVE_5_PERCENT,
)

OVERVIEW = Board(
    "replicate-gateway-overview",
    "Replicate gateway: Overview",
    "Is it healthy, and what does it do?",
    ("user", "team", "model"),
    (
        (
            "At a glance",
            (
                panel(
                    "Gateways up",
                    "Machines whose metrics Prometheus can read.",
                    "short",
                    ('sum(up{job="replicate-gateway"})', "up"),
                    kind="stat",
                    width=4,
                ),
                panel(
                    "Requests",
                    "Requests answered per second.",
                    "reqps",
                    (f"sum(rate({P}http_requests_total{RATE}))", "requests"),
                    kind="stat",
                    width=4,
                ),
                ERRORS,
                panel(
                    "Slowest twentieth",
                    "95 % of the answers of the last five minutes ended sooner. Creates that wait "
                    "for their prediction take as long as it runs.",
                    "s",
                    ("job:replicate_gateway_http_request_duration_seconds:p95_5m", "95 %"),
                    kind="stat",
                    width=4,
                    thresholds=((10, "yellow"), (60, "red")),
                ),
                panel(
                    "Running now",
                    "Predictions and trainings that have not ended.",
                    "short",
                    (f"sum(max by (user) ({P}predictions_in_flight)) or vector(0)", "running"),
                    kind="stat",
                    width=4,
                ),
                panel(
                    "Creates in line",
                    "Creates that wait for the account's allowance.",
                    "short",
                    (f"sum({P}create_queue_depth)", "waiting"),
                    kind="stat",
                    width=4,
                    thresholds=((1, "yellow"), (20, "red")),
                ),
            ),
        ),
        (
            "Traffic",
            (
                panel(
                    "Answers by status",
                    "Requests answered per second. 402 and 429 are refusals by quotas.",
                    "reqps",
                    (per_second("http_requests", "status"), "{{status}}"),
                    stacked=True,
                ),
                panel(
                    "Requests by route",
                    "The ten busiest routes.",
                    "reqps",
                    (
                        f"topk(10, {per_second('http_requests', 'method, route')})",
                        "{{method}} {{route}}",
                    ),
                ),
                panel(
                    "Time to answer",
                    "Half of the answers, and all but a twentieth, ended sooner than this.",
                    "s",
                    (f"histogram_quantile(0.5, sum by (le) (rate({_SECONDS})))", "half"),
                    (f"histogram_quantile(0.95, sum by (le) (rate({_SECONDS})))", "95 %"),
                ),
                panel(
                    "Predictions by end",
                    "Predictions that ended, per second, of the chosen people and models.",
                    "ops",
                    (per_second("predictions", "status", WHO), "{{status}}"),
                    stacked=True,
                ),
            ),
        ),
        (
            "What the gateway saves",
            (
                panel(
                    "Cache hits",
                    "Share of look-ups that found something. Disk is asked after memory missed.",
                    "percentunit",
                    (
                        "job_cache:replicate_gateway_cache_hits:ratio_rate5m",
                        "{{cache}}",
                    ),
                    highest=1,
                    width=8,
                ),
                panel(
                    "Output files kept",
                    "Share of the fetched output files that were stored.",
                    "percentunit",
                    (
                        f'sum(rate({P}mirror_files_total{{result="stored"}}{RATE})) '
                        f"/ sum(rate({P}mirror_files_total{RATE}))",
                        "stored",
                    ),
                    highest=1,
                    width=8,
                ),
                panel(
                    "Polls saved",
                    "Reads of running predictions that needed no request to Replicate, per second.",
                    "ops",
                    (f"sum(rate({P}polls_saved_total{RATE}))", "saved"),
                    width=8,
                ),
            ),
        ),
        (
            "The account's allowance",
            (
                panel(
                    "Allowance left",
                    "What Replicate last said is left of this minute's allowance, of creates and "
                    "of other requests.",
                    "short",
                    (f"min by (kind) ({P}upstream_ratelimit_remaining)", "{{kind}}"),
                ),
                panel(
                    "Refused by quotas",
                    "Requests per second that a quota or the concurrency limit refused.",
                    "ops",
                    (per_second("quota_rejections", "metric", 'user=~"$user"'), "{{metric}}"),
                ),
            ),
        ),
    ),
)

USAGE = Board(
    "replicate-gateway-usage",
    "Replicate gateway: Usage",
    "Who uses what, and what is left?",
    ("user", "team", "model"),
    (
        (
            "In the range that is shown",
            (
                panel(
                    "Top spenders",
                    "Estimated cost by user. Models without a price add nothing.",
                    "currencyUSD",
                    (in_range("cost_usd", "user"), "{{user}}"),
                    kind="bars",
                    width=8,
                ),
                panel(
                    "Cost by team",
                    "Estimated cost by team; people without a team have no name here.",
                    "currencyUSD",
                    (in_range("cost_usd", "team"), "{{team}}"),
                    kind="bars",
                    width=8,
                ),
                panel(
                    "Cost by model",
                    "Estimated cost by the model that was asked for.",
                    "currencyUSD",
                    (in_range("cost_usd", "model"), "{{model}}"),
                    kind="bars",
                    width=8,
                ),
                *(
                    panel(
                        f"Predictions by {label}",
                        f"Predictions and trainings that ended, the ten largest by {label}.",
                        "short",
                        (in_range("predictions", label), f"{{{{{label}}}}}"),
                        kind="bars",
                        width=8,
                    )
                    for label in ("user", "team", "model")
                ),
                *(
                    panel(
                        f"Prediction time by {label}",
                        f"Prediction time as Replicate measured it, the ten largest by {label}.",
                        "s",
                        (in_range("predict_seconds", label), f"{{{{{label}}}}}"),
                        kind="bars",
                        width=8,
                    )
                    for label in ("user", "team", "model")
                ),
            ),
        ),
        (
            "Over time",
            (
                panel(
                    "Predictions per minute by user",
                    "Predictions and trainings that ended.",
                    "short",
                    (f"60 * {per_second('predictions', 'user', WHO)}", "{{user}}"),
                    stacked=True,
                ),
                panel(
                    "Spend per hour by user",
                    "Estimated cost at the present pace.",
                    "currencyUSD",
                    (f"3600 * {per_second('cost_usd', 'user', WHO)}", "{{user}}"),
                    stacked=True,
                ),
            ),
        ),
        (
            "Quotas",
            (
                panel(
                    "Quotas used",
                    "Used and reserved part of each limit in its current window, the twenty "
                    "fullest: images, tokens, seconds, cost, predictions, requests.",
                    "percentunit",
                    (
                        f"topk(20, max by (user, metric, per) "
                        f'({P}quota_used_ratio{{user=~"$user"}}))',
                        "{{user}}: {{metric}} per {{per}}",
                    ),
                    kind="bars",
                    thresholds=((0.75, "yellow"), (0.9, "red")),
                    highest=1,
                ),
                panel(
                    "Running by user",
                    "Predictions and trainings that have not ended.",
                    "short",
                    (f'max by (user) ({P}predictions_in_flight{{user=~"$user"}})', "{{user}}"),
                ),
            ),
        ),
    ),
)

OPERATIONS = Board(
    "replicate-gateway-operations",
    "Replicate gateway: Operations",
    "Does everything behind the answers keep up?",
    (),
    (
        (
            "Replicate",
            (
                panel(
                    "Requests to Replicate by status",
                    "Per second; a word instead of a number means that no answer came.",
                    "reqps",
                    (per_second("upstream_requests", "status"), "{{status}}"),
                    stacked=True,
                ),
                panel(
                    "Requests to Replicate by operation",
                    "Per second, the ten most frequent.",
                    "reqps",
                    (f"topk(10, {per_second('upstream_requests', 'operation')})", "{{operation}}"),
                ),
                panel(
                    "Time until Replicate answers",
                    "All but a twentieth of the answers began sooner, by operation.",
                    "s",
                    (
                        "histogram_quantile(0.95, sum by (le, operation) "
                        f"(rate({_UPSTREAM_SECONDS})))",
                        "{{operation}}",
                    ),
                ),
                panel(
                    "Failing requests to Replicate",
                    "Share of the last five minutes' requests that failed without being refused.",
                    "percentunit",
                    ("job:replicate_gateway_upstream_errors:ratio_rate5m", "failing"),
                    thresholds=BAD_ABOVE_5_PERCENT,
                ),
            ),
        ),
        (
            "Following",
            (
                panel(
                    "Follower lag",
                    "How long the most overdue prediction has waited for a look.",
                    "s",
                    (f"max({P}follower_lag_seconds)", "lag"),
                    width=8,
                    thresholds=((10, "yellow"), (30, "red")),
                ),
                panel(
                    "Creates in doubt",
                    "Creates whose fate is not known yet.",
                    "short",
                    (f"max({P}creates_in_doubt)", "in doubt"),
                    width=8,
                    thresholds=((1, "yellow"),),
                ),
                panel(
                    "Predictions lost",
                    "Predictions per hour that Replicate forgot before their end.",
                    "short",
                    (f"3600 * sum(rate({P}predictions_lost_total{RATE}))", "lost"),
                    width=8,
                    thresholds=((1, "red"),),
                ),
            ),
        ),
        (
            "Webhooks",
            (
                panel(
                    "Webhooks waiting",
                    "Webhooks that wait to be delivered.",
                    "short",
                    (f"max({P}outbox_pending)", "waiting"),
                    width=8,
                ),
                panel(
                    "Oldest webhook waiting",
                    "Age of the oldest of them.",
                    "s",
                    (f"max({P}outbox_oldest_seconds)", "age"),
                    width=8,
                    thresholds=((300, "yellow"), (900, "red")),
                ),
                panel(
                    "Attempts to deliver",
                    "Per second, by result; a dead one is not tried again.",
                    "ops",
                    (per_second("webhook_deliveries", "result"), "{{result}}"),
                    width=8,
                    stacked=True,
                ),
            ),
        ),
        (
            "Files and disk",
            (
                panel(
                    "Output files by result",
                    "Output files fetched per second, by how that ended.",
                    "ops",
                    (per_second("mirror_files", "result"), "{{result}}"),
                    width=6,
                    stacked=True,
                ),
                panel(
                    "Bytes fetched",
                    "Bytes of output files fetched per second.",
                    "Bps",
                    (f"sum(rate({P}mirror_bytes_total{RATE}))", "fetched"),
                    width=6,
                ),
                panel(
                    "Held",
                    "Bytes in the mirror and in the caches.",
                    "bytes",
                    (f"max({P}mirror_stored_bytes)", "mirror"),
                    (f"sum by (cache) ({P}cache_bytes)", "{{cache}}"),
                    width=6,
                ),
                panel(
                    "Disk free",
                    "Free space where the gateway keeps its data, by machine.",
                    "bytes",
                    (f"min by (instance) ({P}disk_free_bytes)", "{{instance}}"),
                    width=6,
                ),
            ),
        ),
        (
            "The gateway itself",
            (
                panel(
                    "Versions",
                    "Machines by the version that they run.",
                    "short",
                    (f"count by (version) ({P}build_info)", "{{version}}"),
                    kind="stat",
                    width=6,
                ),
                panel(
                    "Memory",
                    "Resident memory; known of gateways with one worker only.",
                    "bytes",
                    ('process_resident_memory_bytes{job="replicate-gateway"}', "{{instance}}"),
                    width=6,
                ),
                panel(
                    "Ledger not readable",
                    "Pages of metrics in five minutes that had to do without the ledger's numbers.",
                    "short",
                    (f"sum(increase({P}scrape_failures_total[5m]))", "pages"),
                    width=6,
                    thresholds=((1, "red"),),
                ),
                panel(
                    "Background work that died",
                    "Unexpected errors in five minutes, by task.",
                    "short",
                    (f"sum by (task) (increase({P}task_failures_total[5m]))", "{{task}}"),
                    width=6,
                    thresholds=((1, "red"),),
                ),
            ),
        ),
    ),
)

BOARDS = (OVERVIEW, USAGE, OPERATIONS)
