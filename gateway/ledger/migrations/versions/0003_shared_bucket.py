"""The allowance's bucket whole, and what was found of creates in doubt."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    # Nothing is lost with it: a bucket begins full.
    op.drop_table("allowance")
    op.create_table(
        "allowance",
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("tokens", sa.Double(), nullable=False),
        sa.Column("updated_at", sa.Double(), nullable=False),
        sa.Column("per_minute", sa.Double(), nullable=False),
        sa.Column("lowered_at", sa.Double(), nullable=False),
        sa.Column("blocked_until", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("kind", name=op.f("pk_allowance")),
    )
    op.add_column("creates", sa.Column("candidates", sa.Text(), nullable=True))
