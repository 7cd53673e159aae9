"""Every table of the ledger; those about creates, predictions and counters are written out here.

A change to any of them needs a migration beside it; a test compares the two.
"""

from sqlalchemy import (
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    SmallInteger,
    Table,
    Text,
    text,
)

from gateway.ledger.schema import amount_column, key_column, metadata, text_column, time_column
from gateway.ledger.tables_of_people import audit, facts, keys, leases, state, users, workers
from gateway.ledger.tables_of_things import (
    files,
    outbox,
    prediction_files,
    reupload_claims,
    reuploads,
    stream_events,
    streams,
    uploads,
)

__all__ = [
    "allowance",
    "audit",
    "counters",
    "creates",
    "daily_totals",
    "documents",
    "facts",
    "files",
    "keys",
    "leases",
    "metadata",
    "outbox",
    "prediction_files",
    "predictions",
    "reupload_claims",
    "reuploads",
    "state",
    "stream_events",
    "streams",
    "uploads",
    "users",
    "versions",
    "workers",
]

# One row for each attempt to create something upstream. `state` is reserved, doubt, recorded,
# refused (by upstream) or released (never happened).
creates = Table(
    "creates",
    metadata,
    key_column(),
    text_column("state", nullable=False),
    text_column("worker", nullable=False),
    text_column("user_id", nullable=False),
    text_column("user_name", nullable=False),
    text_column("team"),
    text_column("key_id", nullable=False),
    text_column("account", nullable=False),
    text_column("kind", nullable=False),
    text_column("target", nullable=False),
    text_column("model"),
    text_column("deployment"),
    text_column("body_digest", nullable=False),
    text_column("input_digest", nullable=False),
    text_column("idempotency_key"),
    Column("retry_count", Integer, nullable=False),
    text_column("origin", nullable=False),
    text_column("webhook"),
    text_column("webhook_events"),
    text_column("substitutions"),
    amount_column("est_predictions", nullable=False),
    amount_column("est_predict_us", nullable=False),
    amount_column("est_images", nullable=False),
    amount_column("est_tokens", nullable=False),
    amount_column("est_cost_nano"),
    time_column("at", nullable=False),
    time_column("doubted_at"),
    time_column("finished_at"),
    time_column("delivered_at"),
    time_column("joined_at"),
    text_column("prediction_id"),
    Column("answer_status", Integer),
    text_column("answer_headers"),
    Column("answer_body", LargeBinary),
    text_column("candidates"),
    Index(
        "uq_creates_idempotency",
        "user_id",
        "idempotency_key",
        unique=True,
        sqlite_where=text("idempotency_key IS NOT NULL"),
        postgresql_where=text("idempotency_key IS NOT NULL"),
    ),
    Index(
        "ix_creates_open",
        "user_id",
        "at",
        sqlite_where=text("state IN ('reserved', 'doubt')"),
        postgresql_where=text("state IN ('reserved', 'doubt')"),
    ),
    Index("ix_creates_join", "key_id", "body_digest", "at"),
    Index("ix_creates_at", "at"),
    Index("ix_creates_prediction_id", "prediction_id"),
)

# Narrow: the document is elsewhere. `model` is the one asked for, else the answered one;
# `charged_at` is the reservation's time, whose windows and `day` (since 1970) bear all charges;
# est_* are what was reserved, their namesakes the truth once settled.
predictions = Table(
    "predictions",
    metadata,
    key_column(),
    text_column("create_id"),
    text_column("kind", nullable=False),
    text_column("account", nullable=False),
    text_column("user_id", nullable=False),
    text_column("user_name", nullable=False),
    text_column("team"),
    text_column("key_id"),
    text_column("model"),
    text_column("deployment"),
    text_column("answered_model"),
    text_column("version"),
    text_column("status", nullable=False),
    Column("status_rank", SmallInteger, nullable=False),
    text_column("source"),
    time_column("created_at", nullable=False),
    time_column("charged_at", nullable=False),
    Column("day", Integer, nullable=False),
    time_column("snapshot_at", nullable=False),
    time_column("started_at"),
    time_column("completed_at"),
    time_column("settled_at"),
    time_column("removed_at"),
    time_column("next_look_at"),
    time_column("look_until"),
    text_column("look_by"),
    time_column("first_missing_at"),
    text_column("origin", nullable=False),
    text_column("webhook"),
    text_column("webhook_events"),
    text_column("substitutions"),
    text_column("announced"),
    amount_column("est_predictions", nullable=False),
    amount_column("est_predict_us", nullable=False),
    amount_column("est_images", nullable=False),
    amount_column("est_tokens", nullable=False),
    amount_column("est_cost_nano"),
    amount_column("predict_us"),
    amount_column("images"),
    amount_column("tokens_in"),
    amount_column("tokens_out"),
    amount_column("cost_nano"),
    Index("ix_predictions_user_list", "user_id", "created_at", "id"),
    Index("ix_predictions_team_list", "team", "created_at", "id"),
    Index("ix_predictions_list", "created_at", "id"),
    Index("ix_predictions_user_charged", "user_id", "charged_at"),
    Index("ix_predictions_team_charged", "team", "charged_at"),
    Index("ix_predictions_charged", "charged_at"),
    Index("ix_predictions_model_settled", "model", "settled_at"),
    Index(
        "ix_predictions_running",
        "next_look_at",
        sqlite_where=text("settled_at IS NULL"),
        postgresql_where=text("settled_at IS NULL"),
    ),
    Index(
        "ix_predictions_user_running",
        "user_id",
        sqlite_where=text("settled_at IS NULL"),
        postgresql_where=text("settled_at IS NULL"),
    ),
    Index(
        "ix_predictions_retention",
        "settled_at",
        sqlite_where=text("removed_at IS NULL"),
        postgresql_where=text("removed_at IS NULL"),
    ),
    Index(
        "ix_predictions_removed",
        "removed_at",
        sqlite_where=text("removed_at IS NOT NULL"),
        postgresql_where=text("removed_at IS NOT NULL"),
    ),
)

documents = Table(
    "documents",
    metadata,
    Column(
        "prediction_id", Text, ForeignKey("predictions.id", ondelete="CASCADE"), primary_key=True
    ),
    Column("body", LargeBinary, nullable=False),
)

# `used` is settled truth, `reserved` the estimates of what is unfinished.
counters = Table(
    "counters",
    metadata,
    key_column("subject"),
    key_column("metric"),
    key_column("per"),
    key_column("models_key"),
    Column("window_start", Double, primary_key=True),
    time_column("window_end", nullable=False),
    amount_column("used", nullable=False),
    amount_column("reserved", nullable=False),
    Index("ix_counters_current", "subject", "window_end"),
    Index("ix_counters_window_end", "window_end"),
    sqlite_with_rowid=False,
)

versions = Table(
    "versions",
    metadata,
    key_column("version_id"),
    text_column("model", nullable=False),
    time_column("seen_at", nullable=False),
)

# Kept when everything else of a prediction is erased. No team and no model are "".
# `unpriced` counts those whose cost is unknown.
daily_totals = Table(
    "daily_totals",
    metadata,
    Column("day", Integer, primary_key=True, autoincrement=False),
    key_column("user_id"),
    key_column("team"),
    key_column("model"),
    key_column("status"),
    text_column("user_name", nullable=False),
    amount_column("predictions", nullable=False),
    amount_column("predict_us", nullable=False),
    amount_column("images", nullable=False),
    amount_column("tokens_in", nullable=False),
    amount_column("tokens_out", nullable=False),
    amount_column("cost_nano", nullable=False),
    amount_column("unpriced", nullable=False),
    sqlite_with_rowid=False,
)

# The upstream account's allowance as a bucket that all workers draw from.
allowance = Table(
    "allowance",
    metadata,
    key_column("kind"),
    Column("tokens", Double, nullable=False),
    time_column("updated_at", nullable=False),
    Column("per_minute", Double, nullable=False),
    time_column("lowered_at", nullable=False),
    time_column("blocked_until", nullable=False),
)
