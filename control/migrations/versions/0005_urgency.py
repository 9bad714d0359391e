"""Whose turn it is among those that are due."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

NEW, OTHER = 2, 3


def upgrade() -> None:
    """Forward; a worker finds out by itself which certificates end soon."""
    op.add_column(
        "virtual_hosts", sa.Column("urgency", sa.Integer(), nullable=False, server_default=str(NEW))
    )
    hosts = sa.table("virtual_hosts", sa.column("urgency"), sa.column("certificate_id"))
    op.execute(hosts.update().where(hosts.c.certificate_id.is_not(None)).values(urgency=OTHER))
    with op.batch_alter_table("virtual_hosts", schema=None) as batch_op:
        batch_op.alter_column("urgency", server_default=None)
        batch_op.drop_index("ix_virtual_hosts_due", postgresql_where=sa.text("due_at IS NOT NULL"))
        batch_op.create_index(
            "ix_virtual_hosts_turn",
            ["urgency", "due_at"],
            unique=False,
            postgresql_where=sa.text("due_at IS NOT NULL"),
        )


def downgrade() -> None:
    """Back."""
    with op.batch_alter_table("virtual_hosts", schema=None) as batch_op:
        batch_op.drop_index("ix_virtual_hosts_turn", postgresql_where=sa.text("due_at IS NOT NULL"))
        batch_op.drop_column("urgency")
        batch_op.create_index(
            "ix_virtual_hosts_due",
            ["due_at"],
            unique=False,
            postgresql_where=sa.text("due_at IS NOT NULL"),
        )
