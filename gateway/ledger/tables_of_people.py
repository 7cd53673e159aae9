"""Tables about users, keys, workers and what administrators did."""

from sqlalchemy import BigInteger, Column, ForeignKey, Index, Integer, Table, Text

from gateway.ledger.schema import amount_column, key_column, metadata, text_column, time_column

# One row (id 1). `revision` grows with everything that decides who may do what; each worker
# compares it several times a second.
state = Table(
    "state",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    amount_column("revision", nullable=False),
    text_column("published"),
    time_column("published_at"),
)

# Small facts that are made once and then shared by all workers, such as a signing secret.
facts = Table("facts", metadata, key_column("name"), text_column("value", nullable=False))

users = Table(
    "users",
    metadata,
    key_column(),
    Column("name", Text, nullable=False, unique=True),
    text_column("team"),
    text_column("plan"),
    text_column("role", nullable=False),
    text_column("overrides"),
    text_column("webhook_secret", nullable=False),
    time_column("created_at", nullable=False),
    time_column("disabled_at"),
)

keys = Table(
    "keys",
    metadata,
    key_column(),
    Column("user_id", Text, ForeignKey("users.id", ondelete="CASCADE"), nullable=False),
    Column("digest", Text, nullable=False, unique=True),
    text_column("hint", nullable=False),
    text_column("label", nullable=False),
    time_column("created_at", nullable=False),
    time_column("expires_at"),
    time_column("revoked_at"),
    time_column("last_used_at"),
    Index("ix_keys_user_id", "user_id"),
)

workers = Table("workers", metadata, key_column(), time_column("beat_at", nullable=False))

# Who may do a job that one at a time may do, until when.
leases = Table(
    "leases",
    metadata,
    key_column("name"),
    text_column("held_by", nullable=False),
    time_column("until", nullable=False),
)

audit = Table(
    "audit",
    metadata,
    Column(
        "id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True
    ),
    time_column("at", nullable=False),
    text_column("actor", nullable=False),
    text_column("action", nullable=False),
    text_column("subject", nullable=False),
    text_column("detail"),
    text_column("source"),
    Index("ix_audit_at", "at"),
)
