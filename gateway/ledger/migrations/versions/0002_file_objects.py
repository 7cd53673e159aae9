"""File objects as upstream wrote them, and who is handing a mirrored file to upstream again."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.add_column("uploads", sa.Column("document", sa.LargeBinary(), nullable=True))
    op.create_table(
        "reupload_claims",
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("claimed_until", sa.Double(), nullable=False),
        sa.Column("claimed_by", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("url", name=op.f("pk_reupload_claims")),
    )
