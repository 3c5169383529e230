"""The first tables: people, orders, inbox, rooms, price lists and what is read from the ledger."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    _people()
    _orders()
    _inbox()
    _rooms()
    _price_lists()
    _projections()


def _id(name: str, *constraints: sa.schema.SchemaItem) -> sa.Column[bytes]:
    return sa.Column(name, sa.LargeBinary(16), *constraints, nullable=False)


def _instant(name: str, *, nullable: bool = False) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger, nullable=nullable)


def _people() -> None:
    op.create_table(
        "users",
        _id("id"),
        sa.Column("login", sa.String(30), nullable=False),
        sa.Column("email", sa.String(254), nullable=False),
        sa.Column("password_hash", sa.String(200), nullable=False),
        sa.Column("birth_on", sa.String(10), nullable=False),
        sa.Column("country", sa.String(2), nullable=False),
        sa.Column("roles", sa.String(200), nullable=False),
        _instant("created_at"),
        _instant("disabled_at", nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_users"),
        sa.UniqueConstraint("login", name="uq_users_login"),
        sa.UniqueConstraint("email", name="uq_users_email"),
    )
    for name in ("sessions", "password_resets"):
        op.create_table(
            name,
            sa.Column("token_hash", sa.LargeBinary(32), nullable=False),
            _id("user_id"),
            _instant("created_at"),
            _instant("expires_at"),
            sa.PrimaryKeyConstraint("token_hash", name=f"pk_{name}"),
            sa.ForeignKeyConstraint(
                ["user_id"], ["users.id"], ondelete="CASCADE", name=f"fk_{name}_user_id"
            ),
        )
    op.create_index("ix_sessions_user_id", "sessions", ["user_id", "created_at"])
    op.create_index("ix_sessions_expires_at", "sessions", ["expires_at"])
    op.create_index("ix_password_resets_user_id", "password_resets", ["user_id"])


def _orders() -> None:
    op.create_table(
        "orders",
        _id("id"),
        _id("viewer_id"),
        sa.Column("environment", sa.String(8), nullable=False),
        sa.Column("provider", sa.String(32), nullable=False),
        sa.Column("channel", sa.String(16), nullable=False),
        sa.Column("country", sa.String(2), nullable=False),
        sa.Column("package_id", sa.String(64), nullable=False),
        sa.Column("coins", sa.BigInteger, nullable=False),
        sa.Column("bonus_coins", sa.BigInteger, nullable=False),
        sa.Column("amount", sa.BigInteger, nullable=False),
        sa.Column("currency", sa.String(3), nullable=False),
        sa.Column("tax", sa.BigInteger, nullable=False),
        sa.Column("price_list_version", sa.Integer, nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("payment_id", sa.String(255)),
        sa.Column("checkout_url", sa.Text),
        sa.Column("failure", sa.Text),
        _instant("created_at"),
        _instant("updated_at"),
        sa.PrimaryKeyConstraint("id", name="pk_orders"),
        sa.UniqueConstraint(
            "provider",
            "environment",
            "payment_id",
            name="uq_orders_provider_environment_payment_id",
        ),
        sa.CheckConstraint("coins > 0 AND bonus_coins >= 0", name="ck_orders_coins"),
        sa.CheckConstraint("amount >= 0 AND tax >= 0 AND tax <= amount", name="ck_orders_amount"),
        sa.CheckConstraint(
            "status IN ('created', 'pending', 'paid', 'credited', 'failed', 'refunded',"
            " 'disputed')",
            name="ck_orders_status",
        ),
    )
    op.create_index("ix_orders_viewer_id", "orders", ["viewer_id", "created_at", "id"])
    op.create_index("ix_orders_created_at", "orders", ["created_at", "id"])
    op.create_index("ix_orders_status", "orders", ["status", "updated_at"])


def _inbox() -> None:
    op.create_table(
        "inbox",
        sa.Column("provider", sa.String(32), nullable=False),
        sa.Column("environment", sa.String(8), nullable=False),
        sa.Column("event_id", sa.String(255), nullable=False),
        sa.Column("reference", sa.String(255), nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
        _instant("received_at"),
        _instant("handled_at", nullable=True),
        sa.Column("attempts", sa.Integer, nullable=False),
        _instant("next_attempt_at"),
        sa.Column("problem", sa.Text),
        sa.PrimaryKeyConstraint("provider", "environment", "event_id", name="pk_inbox"),
    )
    op.create_index(
        "ix_inbox_due",
        "inbox",
        ["next_attempt_at"],
        sqlite_where=sa.text("handled_at IS NULL"),
        postgresql_where=sa.text("handled_at IS NULL"),
    )
    op.create_index("ix_inbox_received_at", "inbox", ["received_at", "event_id"])


def _rooms() -> None:
    op.create_table(
        "rooms",
        _id("id"),
        _id("creator_id"),
        sa.Column("title", sa.Text, nullable=False),
        _instant("started_at"),
        _instant("ended_at", nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_rooms"),
    )
    op.create_index("ix_rooms_creator_id", "rooms", ["creator_id", "started_at", "id"])
    op.create_index("ix_rooms_started_at", "rooms", ["started_at", "id"])
    op.create_index(
        "uq_rooms_live",
        "rooms",
        ["creator_id"],
        unique=True,
        sqlite_where=sa.text("ended_at IS NULL"),
        postgresql_where=sa.text("ended_at IS NULL"),
    )


def _price_lists() -> None:
    op.create_table(
        "price_lists",
        sa.Column("version", sa.Integer, autoincrement=False, nullable=False),
        sa.Column("hash", sa.LargeBinary(32), nullable=False),
        sa.Column("content", sa.LargeBinary, nullable=False),
        _instant("since"),
        sa.PrimaryKeyConstraint("version", name="pk_price_lists"),
        sa.UniqueConstraint("hash", name="uq_price_lists_hash"),
    )


def _projections() -> None:
    row_number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "gifts",
        sa.Column("timestamp", row_number, autoincrement=False, nullable=False),
        _id("id"),
        _id("viewer_id"),
        _id("creator_id"),
        _id("room_id"),
        sa.Column("item_number", sa.Integer, nullable=False),
        sa.Column("quantity", sa.Integer, nullable=False),
        sa.Column("coins", sa.BigInteger, nullable=False),
        sa.Column("diamond_units", sa.BigInteger, nullable=False),
        sa.Column("share_bps", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("timestamp", name="pk_gifts"),
    )
    for name in ("viewer_id", "creator_id", "room_id"):
        op.create_index(f"ix_gifts_{name}", "gifts", [name, "timestamp"])
    op.create_table(
        "top_gifters",
        sa.Column("scope", sa.String(8), nullable=False),
        _id("scope_id"),
        _id("viewer_id"),
        sa.Column("coins", sa.BigInteger, nullable=False),
        sa.Column("gifts", sa.BigInteger, nullable=False),
        _instant("reached_at"),
        sa.PrimaryKeyConstraint("scope", "scope_id", "viewer_id", name="pk_top_gifters"),
        sqlite_with_rowid=False,
    )
    op.create_index(
        "ix_top_gifters_coins", "top_gifters", ["scope", "scope_id", "coins", "reached_at"]
    )
    projections = op.create_table(
        "projections",
        sa.Column("name", sa.String(32), nullable=False),
        sa.Column("after", sa.BigInteger, nullable=False),
        sa.Column("gifts", sa.BigInteger, nullable=False),
        sa.Column("coins", sa.BigInteger, nullable=False),
        sa.Column("diamond_units", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_projections"),
    )
    op.bulk_insert(
        projections, [{"name": "gifts", "after": 0, "gifts": 0, "coins": 0, "diamond_units": 0}]
    )
