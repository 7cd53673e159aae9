"""What a lost create's input looks like where upstream has written its addresses anew."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.add_column("creates", sa.Column("input_outline", sa.Text(), nullable=True))
