"""Every instrument, declared once: what it is called, what it counts, and in which labels.

Names, labels and meaning are relied on by other people's dashboards and alarms: they are added to,
never changed. Units are base units (seconds, bytes, dollars).
"""

from dataclasses import dataclass
from typing import Literal

PREFIX = "replicate_gateway_"

Kind = Literal["counter", "gauge", "histogram"]
# How a gauge of several workers becomes one number (prometheus-client's own names).
Merge = Literal["livesum", "livemostrecent"]

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 90)


@dataclass(frozen=True, slots=True)
class Definition:
    """One instrument. `scraped` is worked out while the page is made, not kept by a worker."""

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()
    merge: Merge = "livesum"
    scraped: bool = False

    @property
    def full_name(self) -> str:
        """The name as it stands on the page."""
        suffix = "_total" if self.kind == "counter" else ""
        return f"{PREFIX}{self.name}{suffix}"


HTTP_REQUESTS = Definition(
    "http_requests", "counter", "Requests answered.", ("route", "method", "status")
)
HTTP_REQUEST_DURATION = Definition(
    "http_request_duration_seconds",
    "histogram",
    "Time from a request to the end of its answer.",
    ("route", "method"),
    _SECONDS,
)
PREDICTIONS = Definition(
    "predictions",
    "counter",
    "Predictions and trainings that ended, by how they ended.",
    ("user", "team", "model", "status"),
)
PREDICTIONS_IN_FLIGHT = Definition(
    "predictions_in_flight",
    "gauge",
    "Predictions and trainings that have not ended.",
    ("user",),
    scraped=True,
)
PREDICT_SECONDS = Definition(
    "predict_seconds",
    "counter",
    "Prediction time of what ended, as Replicate measured it.",
    ("user", "team", "model"),
)
IMAGES = Definition(
    "images",
    "counter",
    "Images that predictions made, by Replicate's count or else by their outputs.",
    ("user", "team", "model"),
)
TOKENS = Definition(
    "tokens",
    "counter",
    "Tokens that predictions read (input) and wrote (output), by Replicate's count.",
    ("user", "team", "model", "direction"),
)
COST_USD = Definition(
    "cost_usd",
    "counter",
    "Estimated cost of what ended, of models that have a price.",
    ("user", "team", "model"),
)
QUOTA_REJECTIONS = Definition(
    "quota_rejections",
    "counter",
    "Requests refused by a quota or by the concurrency limit (metric concurrent_predictions).",
    ("user", "metric"),
)
QUOTA_USED_RATIO = Definition(
    "quota_used_ratio",
    "gauge",
    "Used and reserved part of a quota's limit in the current window; of several, the fullest.",
    ("user", "metric", "per"),
    scraped=True,
)
CACHE_REQUESTS = Definition(
    "cache_requests",
    "counter",
    "Look-ups in memory, disk (finished predictions) and mirror (output files): hit or miss.",
    ("cache", "result"),
)
CACHE_BYTES = Definition(
    "cache_bytes", "gauge", "What a cache holds; of memory, all workers together.", ("cache",)
)
MIRROR_FILES = Definition(
    "mirror_files", "counter", "Output files fetched for the mirror, by result.", ("result",)
)
MIRROR_BYTES = Definition("mirror_bytes", "counter", "Bytes of output files fetched.")
MIRROR_STORED_BYTES = Definition(
    "mirror_stored_bytes", "gauge", "Bytes of output files in the store.", scraped=True
)
UPSTREAM_REQUESTS = Definition(
    "upstream_requests",
    "counter",
    "Requests to Replicate; without an answer the status is a word.",
    ("operation", "status"),
)
UPSTREAM_TOKEN_REFUSED = Definition(
    "upstream_token_refused",
    "counter",
    "Answers of Replicate that did not accept the account's token: 401, or 403 about the token.",
)
UPSTREAM_REQUEST_DURATION = Definition(
    "upstream_request_duration_seconds",
    "histogram",
    "Time until Replicate's answer began.",
    ("operation",),
    _SECONDS,
)
UPSTREAM_RATELIMIT_REMAINING = Definition(
    "upstream_ratelimit_remaining",
    "gauge",
    "What Replicate last said is left of the account's allowance.",
    ("kind",),
    merge="livemostrecent",
)
CREATE_QUEUE_DEPTH = Definition(
    "create_queue_depth", "gauge", "Creates that wait in line for the account's allowance."
)
CREATES_IN_DOUBT = Definition(
    "creates_in_doubt", "gauge", "Creates whose fate is not known yet.", scraped=True
)
POLLS_SAVED = Definition(
    "polls_saved", "counter", "Reads of running predictions that needed no request to Replicate."
)
FOLLOWER_LAG = Definition(
    "follower_lag_seconds",
    "gauge",
    "How long the prediction that is most overdue has been waiting for a look.",
    scraped=True,
)
PREDICTIONS_LOST = Definition(
    "predictions_lost", "counter", "Predictions settled as failed since Replicate forgot them."
)
WEBHOOK_DELIVERIES = Definition(
    "webhook_deliveries", "counter", "Attempts to deliver a webhook, by result.", ("result",)
)
LEDGER_DURATION = Definition(
    "ledger_duration_seconds",
    "histogram",
    "Time that a read or write of the ledger took, its wait in line included.",
    ("kind",),
    _SECONDS,
)
WORKERS = Definition("workers", "gauge", "Processes of this machine that serve requests.")
OUTBOX_PENDING = Definition(
    "outbox_pending", "gauge", "Webhooks that wait to be delivered.", scraped=True
)
OUTBOX_OLDEST = Definition(
    "outbox_oldest_seconds", "gauge", "Age of the oldest of them.", scraped=True
)
DISK_FREE = Definition(
    "disk_free_bytes", "gauge", "Free space where the gateway keeps its data.", scraped=True
)
BUILD_INFO = Definition(
    "build_info", "gauge", "Always 1; the label tells the version.", ("version",), scraped=True
)
STREAMS_DROPPED = Definition(
    "streams_dropped",
    "counter",
    "Stream addresses left out of answers since their origin is not configured.",
)
TASK_FAILURES = Definition(
    "task_failures", "counter", "Background work that died of an unexpected error.", ("task",)
)
SCRAPE_FAILURES = Definition(
    "scrape_failures", "counter", "Pages of metrics made without the numbers of the ledger."
)

ALL = (
    HTTP_REQUESTS,
    HTTP_REQUEST_DURATION,
    PREDICTIONS,
    PREDICTIONS_IN_FLIGHT,
    PREDICT_SECONDS,
    IMAGES,
    TOKENS,
    COST_USD,
    QUOTA_REJECTIONS,
    QUOTA_USED_RATIO,
    CACHE_REQUESTS,
    CACHE_BYTES,
    MIRROR_FILES,
    MIRROR_BYTES,
    MIRROR_STORED_BYTES,
    UPSTREAM_REQUESTS,
    UPSTREAM_REQUEST_DURATION,
    UPSTREAM_TOKEN_REFUSED,
    UPSTREAM_RATELIMIT_REMAINING,
    CREATE_QUEUE_DEPTH,
    CREATES_IN_DOUBT,
    POLLS_SAVED,
    FOLLOWER_LAG,
    PREDICTIONS_LOST,
    WEBHOOK_DELIVERIES,
    LEDGER_DURATION,
    WORKERS,
    OUTBOX_PENDING,
    OUTBOX_OLDEST,
    DISK_FREE,
    BUILD_INFO,
    STREAMS_DROPPED,
    TASK_FAILURES,
    SCRAPE_FAILURES,
)
