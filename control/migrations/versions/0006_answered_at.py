"""When a challenge was answered: nobody asked."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Forward."""
    with op.batch_alter_table("orders", schema=None) as batch_op:
        batch_op.drop_column("answered_at")


def downgrade() -> None:
    """Back."""
    op.add_column("orders", sa.Column("answered_at", sa.DateTime(timezone=True), nullable=True))
