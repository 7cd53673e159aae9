"""Every table of the ledger.

Times are seconds since 1970 (UTC) as floating-point numbers, quantities whole numbers in the units
of ``gateway.domain.plans``. A change here needs a migration beside it; a test compares the two.
"""

from sqlalchemy import (
    BigInteger,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    Table,
    Text,
    text,
)

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def _time(name: str, *, nullable: bool = True) -> Column[float]:
    return Column(name, Double, nullable=nullable)


def _amount(name: str, *, nullable: bool = True) -> Column[int]:
    return Column(name, BigInteger, nullable=nullable)


def _words(name: str, *, nullable: bool = True) -> Column[str]:
    return Column(name, Text, nullable=nullable)


def _id(name: str = "id") -> Column[str]:
    return Column(name, Text, primary_key=True)


# One row (id 1). `revision` grows with everything that decides who may do what; each worker
# compares it several times a second.
state = Table(
    "state",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    _amount("revision", nullable=False),
    _words("published"),
    _time("published_at"),
)

# Small facts that are made once and then shared by all workers, such as a signing secret.
facts = Table("facts", metadata, _id("name"), _words("value", nullable=False))

users = Table(
    "users",
    metadata,
    _id(),
    Column("name", Text, nullable=False, unique=True),
    _words("team"),
    _words("plan"),
    _words("role", nullable=False),
    _words("overrides"),
    _words("webhook_secret", nullable=False),
    _time("created_at", nullable=False),
    _time("disabled_at"),
)

keys = Table(
    "keys",
    metadata,
    _id(),
    Column("user_id", Text, ForeignKey("users.id", ondelete="CASCADE"), nullable=False),
    Column("digest", Text, nullable=False, unique=True),
    _words("hint", nullable=False),
    _words("label", nullable=False),
    _time("created_at", nullable=False),
    _time("expires_at"),
    _time("revoked_at"),
    _time("last_used_at"),
    Index("ix_keys_user_id", "user_id"),
)

workers = Table("workers", metadata, _id(), _time("beat_at", nullable=False))

# Who may do a job that one at a time may do, until when.
leases = Table(
    "leases",
    metadata,
    _id("name"),
    _words("held_by", nullable=False),
    _time("until", nullable=False),
)

# One row for each attempt to create something upstream. `state` is reserved, doubt, recorded,
# refused (by upstream) or released (never happened).
creates = Table(
    "creates",
    metadata,
    _id(),
    _words("state", nullable=False),
    _words("worker", nullable=False),
    _words("user_id", nullable=False),
    _words("user_name", nullable=False),
    _words("team"),
    _words("key_id", nullable=False),
    _words("account", nullable=False),
    _words("kind", nullable=False),
    _words("target", nullable=False),
    _words("model"),
    _words("deployment"),
    _words("body_digest", nullable=False),
    _words("input_digest", nullable=False),
    _words("idempotency_key"),
    Column("retry_count", Integer, nullable=False),
    _words("origin", nullable=False),
    _words("webhook"),
    _words("webhook_events"),
    _words("substitutions"),
    _amount("est_predictions", nullable=False),
    _amount("est_predict_us", nullable=False),
    _amount("est_images", nullable=False),
    _amount("est_tokens", nullable=False),
    _amount("est_cost_nano"),
    _time("at", nullable=False),
    _time("doubted_at"),
    _time("finished_at"),
    _time("delivered_at"),
    _time("joined_at"),
    _words("prediction_id"),
    Column("answer_status", Integer),
    _words("answer_headers"),
    Column("answer_body", LargeBinary),
    _words("candidates"),
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
    _id(),
    _words("create_id"),
    _words("kind", nullable=False),
    _words("account", nullable=False),
    _words("user_id", nullable=False),
    _words("user_name", nullable=False),
    _words("team"),
    _words("key_id"),
    _words("model"),
    _words("deployment"),
    _words("answered_model"),
    _words("version"),
    _words("status", nullable=False),
    Column("status_rank", SmallInteger, nullable=False),
    _words("source"),
    _time("created_at", nullable=False),
    _time("charged_at", nullable=False),
    Column("day", Integer, nullable=False),
    _time("snapshot_at", nullable=False),
    _time("started_at"),
    _time("completed_at"),
    _time("settled_at"),
    _time("removed_at"),
    _time("next_look_at"),
    _time("look_until"),
    _words("look_by"),
    _time("first_missing_at"),
    _words("origin", nullable=False),
    _words("webhook"),
    _words("webhook_events"),
    _words("substitutions"),
    _words("announced"),
    _amount("est_predictions", nullable=False),
    _amount("est_predict_us", nullable=False),
    _amount("est_images", nullable=False),
    _amount("est_tokens", nullable=False),
    _amount("est_cost_nano"),
    _amount("predict_us"),
    _amount("images"),
    _amount("tokens_in"),
    _amount("tokens_out"),
    _amount("cost_nano"),
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
    _id("subject"),
    _id("metric"),
    _id("per"),
    _id("models_key"),
    Column("window_start", Double, primary_key=True),
    _time("window_end", nullable=False),
    _amount("used", nullable=False),
    _amount("reserved", nullable=False),
    Index("ix_counters_current", "subject", "window_end"),
    Index("ix_counters_window_end", "window_end"),
    sqlite_with_rowid=False,
)

# `state` is wanted, stored, passed (too large to keep: streamed through), gone.
files = Table(
    "files",
    metadata,
    _id("url"),
    _words("state", nullable=False),
    _time("registered_at", nullable=False),
    _time("stored_at"),
    _amount("size"),
    _words("content_type"),
    _words("etag"),
    _words("sha256"),
    Column("attempts", Integer, nullable=False),
    _time("next_attempt_at"),
    _time("claimed_until"),
    _words("claimed_by"),
    _words("last_error"),
    Index(
        "ix_files_wanted",
        "next_attempt_at",
        sqlite_where=text("state = 'wanted'"),
        postgresql_where=text("state = 'wanted'"),
    ),
    Index(
        "ix_files_stored",
        "stored_at",
        sqlite_where=text("state = 'stored'"),
        postgresql_where=text("state = 'stored'"),
    ),
)

prediction_files = Table(
    "prediction_files",
    metadata,
    _id("prediction_id"),
    _id("url"),
    Index("ix_prediction_files_url", "url"),
    sqlite_with_rowid=False,
)

# Whose an API file is.
uploads = Table(
    "uploads",
    metadata,
    _id("file_id"),
    _words("account", nullable=False),
    _words("user_id", nullable=False),
    _words("user_name", nullable=False),
    _words("team"),
    _words("name"),
    _words("content_type"),
    _amount("size"),
    _time("created_at", nullable=False),
    _time("expires_at"),
    Column("document", LargeBinary),
    Index("ix_uploads_user_id", "user_id", "created_at"),
    Index("ix_uploads_team", "team", "created_at"),
)

# Mirrored bytes that were handed to upstream again, and under which URL they live there.
reuploads = Table(
    "reuploads",
    metadata,
    _id("url"),
    _words("file_id", nullable=False),
    _words("upstream_url", nullable=False),
    _time("expires_at", nullable=False),
)

# Who is doing that now, until when: among all workers, one uploads and the others wait.
reupload_claims = Table(
    "reupload_claims",
    metadata,
    _id("url"),
    _time("claimed_until", nullable=False),
    _words("claimed_by", nullable=False),
)

versions = Table(
    "versions",
    metadata,
    _id("version_id"),
    _words("model", nullable=False),
    _time("seen_at", nullable=False),
)

# `once` keeps the same news from being queued twice, whoever queues it.
outbox = Table(
    "outbox",
    metadata,
    _id(),
    _words("once"),
    _words("user_id"),
    _words("team"),
    _words("prediction_id"),
    _words("event", nullable=False),
    _words("url", nullable=False),
    Column("body", LargeBinary, nullable=False),
    _time("created_at", nullable=False),
    Column("attempts", Integer, nullable=False),
    _time("next_attempt_at"),
    _time("claimed_until"),
    _words("claimed_by"),
    _time("delivered_at"),
    _time("dead_at"),
    Column("last_status", Integer),
    _words("last_error"),
    Index("uq_outbox_once", "once", unique=True),
    Index(
        "ix_outbox_due",
        "next_attempt_at",
        sqlite_where=text("next_attempt_at IS NOT NULL"),
        postgresql_where=text("next_attempt_at IS NOT NULL"),
    ),
    Index("ix_outbox_created_at", "created_at"),
    Index("ix_outbox_prediction_id", "prediction_id"),
)

audit = Table(
    "audit",
    metadata,
    Column(
        "id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True
    ),
    _time("at", nullable=False),
    _words("actor", nullable=False),
    _words("action", nullable=False),
    _words("subject", nullable=False),
    _words("detail"),
    Index("ix_audit_at", "at"),
)

# Kept when everything else of a prediction is erased. No team and no model are "".
# `unpriced` counts those whose cost is unknown.
daily_totals = Table(
    "daily_totals",
    metadata,
    Column("day", Integer, primary_key=True, autoincrement=False),
    _id("user_id"),
    _id("team"),
    _id("model"),
    _id("status"),
    _words("user_name", nullable=False),
    _amount("predictions", nullable=False),
    _amount("predict_us", nullable=False),
    _amount("images", nullable=False),
    _amount("tokens_in", nullable=False),
    _amount("tokens_out", nullable=False),
    _amount("cost_nano", nullable=False),
    _amount("unpriced", nullable=False),
    sqlite_with_rowid=False,
)

# The upstream account's allowance as a bucket that all workers draw from.
allowance = Table(
    "allowance",
    metadata,
    _id("kind"),
    Column("tokens", Double, nullable=False),
    _time("updated_at", nullable=False),
    Column("per_minute", Double, nullable=False),
    _time("lowered_at", nullable=False),
    _time("blocked_until", nullable=False),
)

# Who reads a prediction's stream upstream, and from where: that URL is a secret.
streams = Table(
    "streams",
    metadata,
    _id("prediction_id"),
    _words("upstream_url", nullable=False),
    _time("created_at", nullable=False),
    _time("done_at"),
    _time("claimed_until"),
    _words("claimed_by"),
)

stream_events = Table(
    "stream_events",
    metadata,
    _id("prediction_id"),
    Column("seq", Integer, primary_key=True, autoincrement=False),
    _words("event_id"),
    _words("event"),
    Column("data", LargeBinary, nullable=False),
    _time("at", nullable=False),
    Index("ix_stream_events_at", "at"),
)
