"""The one secret of a gateway that all its workers and machines share, kept in the ledger."""

SECRET_FACT = "stream_secret"  # noqa: S105 - a name, not the secret
"""Its name among the ledger's facts."""
