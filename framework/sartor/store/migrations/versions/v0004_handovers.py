"""Conversations that people have, and what people say in them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("turns", sa.Column("author", sa.Text(), nullable=False, server_default=""))
    op.create_table(
        "handovers",
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("bot", sa.Text(), nullable=False),
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("conversation", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("summary", sa.Text(), nullable=False),
        sa.Column("taken_by", sa.Text(), nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False),
        sa.Column("waited", sa.Boolean(), nullable=False),
        sa.Column("released", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["tenant", "bot", "user_id", "conversation"],
            ["conversations.tenant", "conversations.bot", "conversations.user_id", "conversations.id"],
            name="fk_handovers_conversations",
        ),
        sa.PrimaryKeyConstraint("tenant", "id", name="pk_handovers"),
    )
    op.create_index(
        "uq_handovers_open",
        "handovers",
        ["tenant", "bot", "user_id", "conversation"],
        unique=True,
        sqlite_where=sa.text("released IS NULL"),
        postgresql_where=sa.text("released IS NULL"),
    )
