"""The third: does everything behind the answers keep up?"""

from grafana.description import BAD_ABOVE_5_PERCENT, RATE, Board, P, panel, per_second

_UPSTREAM_SECONDS = f"{P}upstream_request_duration_seconds_bucket{RATE}"

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
                    thresholds=((5, "yellow"), (30, "red")),
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
                    thresholds=((100, "yellow"), (1000, "red")),
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
                    base="red",
                    thresholds=((5e9, "yellow"), (20e9, "green")),
                ),
            ),
        ),
        (
            "Database",
            (
                panel(
                    "Time of the ledger",
                    "All but a twentieth of the reads and of the writes took less, their wait in "
                    "line included.",
                    "s",
                    (
                        "histogram_quantile(0.95, sum by (le, kind) "
                        f"(rate({P}ledger_duration_seconds_bucket{RATE})))",
                        "{{kind}}",
                    ),
                    width=8,
                    thresholds=((0.5, "yellow"), (2, "red")),
                ),
                panel(
                    "Reads and writes of the ledger",
                    "Per second. Writes that come together share a commit.",
                    "ops",
                    (f"sum by (kind) (rate({P}ledger_duration_seconds_count{RATE}))", "{{kind}}"),
                    width=8,
                ),
                panel(
                    "Ledger not readable",
                    "Pages of metrics in five minutes that had to do without the ledger's numbers.",
                    "short",
                    (f"sum(increase({P}scrape_failures_total[5m]))", "pages"),
                    width=8,
                    thresholds=((1, "red"),),
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
                    "Workers",
                    "Processes that serve requests, by machine.",
                    "short",
                    (f"sum by (instance) ({P}workers)", "{{instance}}"),
                    kind="stat",
                    width=6,
                    base="red",
                    thresholds=((1, "green"),),
                ),
                panel(
                    "Memory",
                    "Resident memory; known of gateways with one worker only.",
                    "bytes",
                    ('process_resident_memory_bytes{job="replicate-gateway"}', "{{instance}}"),
                    width=6,
                    thresholds=((500e6, "yellow"), (1e9, "red")),
                ),
                panel(
                    "Background work that died",
                    "Unexpected errors in five minutes, by task.",
                    "short",
                    (f"sum by (task) (increase({P}task_failures_total[5m]))", "{{task}}"),
                    empty="none",
                    width=6,
                    thresholds=((1, "red"),),
                ),
            ),
        ),
    ),
)
