"""Rooms that everybody sees: their logs, who follows whom, keys that only show, nicknames."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("users", sa.Column("nickname", sa.String(50), nullable=False, server_default=""))
    _logs()
    _follows()
    _display_keys()


def _id(name: str) -> sa.Column[bytes]:
    return sa.Column(name, sa.LargeBinary(16), nullable=False)


def _number(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger, autoincrement=False, nullable=False)


def _logs() -> None:
    op.create_table(
        "room_logs",
        _id("room_id"),
        _number("seq"),
        sa.Column("closed", sa.Boolean, nullable=False),
        sa.PrimaryKeyConstraint("room_id", name="pk_room_logs"),
    )
    op.create_index(
        "ix_room_logs_open",
        "room_logs",
        ["room_id"],
        sqlite_where=sa.text("NOT closed"),
        postgresql_where=sa.text("NOT closed"),
    )
    op.create_table(
        "room_segments",
        _id("room_id"),
        _number("first_seq"),
        _number("last_seq"),
        sa.Column("entries", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("room_id", "first_seq", name="pk_room_segments"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "room_states",
        _id("room_id"),
        _number("seq"),
        sa.Column("state", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("room_id", name="pk_room_states"),
    )
    # A room that is live has a log. What happened in it before is not told again: the log begins
    # at the end of the ledger, which the first start looks up (-1 says that it has not yet).
    op.execute(
        "INSERT INTO room_logs (room_id, seq, closed)"
        " SELECT id, 0, FALSE FROM rooms WHERE ended_at IS NULL"
    )
    op.execute(
        "INSERT INTO projections (name, after, gifts, coins, diamond_units)"
        " VALUES ('room_log', -1, 0, 0, 0)"
    )


def _follows() -> None:
    op.create_table(
        "follows",
        _id("viewer_id"),
        _id("creator_id"),
        _number("created_at"),
        sa.PrimaryKeyConstraint("viewer_id", "creator_id", name="pk_follows"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_follows_creator_id", "follows", ["creator_id", "created_at", "viewer_id"])


def _display_keys() -> None:
    op.create_table(
        "display_keys",
        _id("id"),
        _id("creator_id"),
        sa.Column("key_hash", sa.LargeBinary(32), nullable=False),
        sa.Column("name", sa.String(50), nullable=False),
        _number("created_at"),
        sa.PrimaryKeyConstraint("id", name="pk_display_keys"),
        sa.UniqueConstraint("key_hash", name="uq_display_keys_key_hash"),
    )
    op.create_index(
        "ix_display_keys_creator_id", "display_keys", ["creator_id", "created_at", "id"]
    )
