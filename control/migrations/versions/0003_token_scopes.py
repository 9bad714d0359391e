"""What a token may change."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Forward."""
    op.add_column(
        "tokens", sa.Column("hosts_only", sa.Boolean(), nullable=False, server_default="0")
    )
    with op.batch_alter_table("tokens", schema=None) as batch_op:
        batch_op.alter_column("hosts_only", server_default=None)


def downgrade() -> None:
    """Back."""
    with op.batch_alter_table("tokens", schema=None) as batch_op:
        batch_op.drop_column("hosts_only")
