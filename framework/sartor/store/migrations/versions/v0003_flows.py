"""Where the flows of a conversation stand, and what became of one in a turn."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("conversations", sa.Column("standing", sa.Text(), nullable=False, server_default="null"))
    op.add_column("turns", sa.Column("flow", sa.Text(), nullable=False, server_default="null"))
