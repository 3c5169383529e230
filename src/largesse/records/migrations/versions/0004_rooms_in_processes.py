"""Rooms in several processes: the order of all appends, and who watches where."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("projections", _turn())
    op.add_column("room_segments", _turn())
    op.create_index(
        "ix_room_segments_turn",
        "room_segments",
        ["turn"],
        sqlite_where=sa.text("turn > 0"),
        postgresql_where=sa.text("turn > 0"),
    )
    op.create_table(
        "room_audiences",
        sa.Column("room_id", sa.LargeBinary(16), nullable=False),
        sa.Column("process_id", sa.String(64), nullable=False),
        sa.Column("people", sa.LargeBinary, nullable=False),
        sa.Column("nobodies", sa.Integer, nullable=False),
        sa.Column("until", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("room_id", "process_id", name="pk_room_audiences"),
    )
    op.create_index("ix_room_audiences_process_id", "room_audiences", ["process_id"])


def _turn() -> sa.Column[int]:
    return sa.Column("turn", sa.BigInteger, nullable=False, server_default="0")
