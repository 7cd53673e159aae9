"""Tables about files, webhooks on their way and streams: what predictions bring with them."""

from sqlalchemy import Column, Index, Integer, LargeBinary, Table, text

from gateway.ledger.schema import amount_column, key_column, metadata, text_column, time_column

# `state` is wanted, stored, passed (too large to keep: streamed through), gone.
files = Table(
    "files",
    metadata,
    key_column("url"),
    text_column("state", nullable=False),
    time_column("registered_at", nullable=False),
    time_column("stored_at"),
    amount_column("size"),
    text_column("content_type"),
    text_column("etag"),
    text_column("sha256"),
    Column("attempts", Integer, nullable=False),
    time_column("next_attempt_at"),
    time_column("claimed_until"),
    text_column("claimed_by"),
    text_column("last_error"),
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
    key_column("prediction_id"),
    key_column("url"),
    Index("ix_prediction_files_url", "url"),
    sqlite_with_rowid=False,
)

# Whose an API file is.
uploads = Table(
    "uploads",
    metadata,
    key_column("file_id"),
    text_column("account", nullable=False),
    text_column("user_id", nullable=False),
    text_column("user_name", nullable=False),
    text_column("team"),
    text_column("name"),
    text_column("content_type"),
    amount_column("size"),
    time_column("created_at", nullable=False),
    time_column("expires_at"),
    Column("document", LargeBinary),
    Index("ix_uploads_user_id", "user_id", "created_at"),
    Index("ix_uploads_team", "team", "created_at"),
)

# Mirrored bytes that were handed to upstream again, and under which URL they live there.
reuploads = Table(
    "reuploads",
    metadata,
    key_column("url"),
    text_column("file_id", nullable=False),
    text_column("upstream_url", nullable=False),
    time_column("expires_at", nullable=False),
)

# Who is doing that now, until when: among all workers, one uploads and the others wait.
reupload_claims = Table(
    "reupload_claims",
    metadata,
    key_column("url"),
    time_column("claimed_until", nullable=False),
    text_column("claimed_by", nullable=False),
)

# `once` keeps the same news from being queued twice, whoever queues it.
outbox = Table(
    "outbox",
    metadata,
    key_column(),
    text_column("once"),
    text_column("user_id"),
    text_column("team"),
    text_column("prediction_id"),
    text_column("event", nullable=False),
    text_column("url", nullable=False),
    Column("body", LargeBinary, nullable=False),
    time_column("created_at", nullable=False),
    Column("attempts", Integer, nullable=False),
    time_column("next_attempt_at"),
    time_column("claimed_until"),
    text_column("claimed_by"),
    time_column("delivered_at"),
    time_column("dead_at"),
    Column("last_status", Integer),
    text_column("last_error"),
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

# Who reads a prediction's stream upstream, and from where: that URL is a secret.
streams = Table(
    "streams",
    metadata,
    key_column("prediction_id"),
    text_column("upstream_url", nullable=False),
    time_column("created_at", nullable=False),
    time_column("done_at"),
    time_column("claimed_until"),
    text_column("claimed_by"),
)

stream_events = Table(
    "stream_events",
    metadata,
    key_column("prediction_id"),
    Column("seq", Integer, primary_key=True, autoincrement=False),
    text_column("event_id"),
    text_column("event"),
    Column("data", LargeBinary, nullable=False),
    time_column("at", nullable=False),
    Index("ix_stream_events_at", "at"),
)
