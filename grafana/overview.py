"""The first dashboard: is it healthy, and what does it do?"""

from grafana.description import BAD_ABOVE_5_PERCENT, RATE, WHO, Board, P, panel, per_second

_SECONDS = f"{P}http_request_duration_seconds_bucket{RATE}"

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
                    base="red",
                    thresholds=((1, "green"),),
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
                    thresholds=((10, "yellow"), (60, "red")),
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
                    "Cache and mirror hits",
                    "Share of look-ups that found something: memory and disk hold finished "
                    "predictions (disk is asked after memory missed), the mirror output files.",
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
                    base="red",
                    thresholds=((0.9, "yellow"), (0.99, "green")),
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
                    base="red",
                    thresholds=((60, "yellow"), (300, "green")),
                ),
                panel(
                    "Refused by quotas",
                    "Requests per second that a quota or the concurrency limit refused.",
                    "ops",
                    (per_second("quota_rejections", "metric", 'user=~"$user"'), "{{metric}}"),
                    thresholds=((1, "yellow"),),
                ),
            ),
        ),
    ),
)
