"""
Every table of the records. `migrations/` builds them; a test compares the two.

Ids are 16 bytes in the database and 32 hex digits in Python: half the size of every index. Instants
are whole nanoseconds. Orders and rooms name users without a foreign key, because the record of a
payment outlives the person's account.
"""

from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Dialect


class Id(sa.types.TypeDecorator[str]):
    """32 hex digits in Python, 16 bytes in the database."""

    impl = sa.LargeBinary(16)
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> bytes | None:
        return None if value is None else bytes.fromhex(value)

    def process_result_value(self, value: bytes | None, dialect: Dialect) -> str | None:
        return None if value is None else value.hex()


class Words(sa.types.TypeDecorator[tuple[str, ...]]):
    """A few plain words: a tuple in Python, joined by spaces in the database."""

    impl = sa.String(200)
    cache_ok = True

    def process_bind_param(self, value: tuple[str, ...] | None, dialect: Dialect) -> str | None:
        return None if value is None else " ".join(value)

    def process_result_value(self, value: str | None, dialect: Dialect) -> tuple[str, ...]:
        return tuple((value or "").split())


metadata = sa.MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
    }
)


def _instant(name: str, *, nullable: bool = False) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger, nullable=nullable)


users = sa.Table(
    "users",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("login", sa.String(30), nullable=False, unique=True),
    sa.Column("email", sa.String(254), nullable=False, unique=True),
    sa.Column("password_hash", sa.String(200), nullable=False),
    sa.Column("birth_on", sa.String(10), nullable=False),
    sa.Column("country", sa.String(2), nullable=False),
    sa.Column("roles", Words, nullable=False),
    _instant("created_at"),
    _instant("disabled_at", nullable=True),
    # What others see; "" where the person has chosen none and is shown by the login.
    sa.Column("nickname", sa.String(50), nullable=False, server_default=""),
)

sessions = sa.Table(
    "sessions",
    metadata,
    sa.Column("token_hash", sa.LargeBinary(32), primary_key=True),
    sa.Column("user_id", Id, sa.ForeignKey("users.id", ondelete="CASCADE"), nullable=False),
    _instant("created_at"),
    _instant("expires_at"),
    sa.Index("ix_sessions_user_id", "user_id", "created_at"),
    sa.Index("ix_sessions_expires_at", "expires_at"),
)

password_resets = sa.Table(
    "password_resets",
    metadata,
    sa.Column("token_hash", sa.LargeBinary(32), primary_key=True),
    sa.Column("user_id", Id, sa.ForeignKey("users.id", ondelete="CASCADE"), nullable=False),
    _instant("created_at"),
    _instant("expires_at"),
    sa.Index("ix_password_resets_user_id", "user_id"),
)

orders = sa.Table(
    "orders",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("viewer_id", Id, nullable=False),
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
    sa.CheckConstraint("coins > 0 AND bonus_coins >= 0", name="coins"),
    sa.CheckConstraint("amount >= 0 AND tax >= 0 AND tax <= amount", name="amount"),
    sa.CheckConstraint(
        "status IN ('created', 'pending', 'paid', 'credited', 'failed', 'refunded', 'disputed')",
        name="status",
    ),
    sa.UniqueConstraint("provider", "environment", "payment_id"),
    sa.Index("ix_orders_viewer_id", "viewer_id", "created_at", "id"),
    sa.Index("ix_orders_created_at", "created_at", "id"),
    sa.Index("ix_orders_status", "status", "updated_at"),
)

inbox = sa.Table(
    "inbox",
    metadata,
    sa.Column("provider", sa.String(32), primary_key=True),
    sa.Column("environment", sa.String(8), primary_key=True),
    sa.Column("event_id", sa.String(255), primary_key=True),
    sa.Column("reference", sa.String(255), nullable=False),
    sa.Column("body", sa.LargeBinary, nullable=False),
    _instant("received_at"),
    _instant("handled_at", nullable=True),
    sa.Column("attempts", sa.Integer, nullable=False),
    _instant("next_attempt_at"),
    sa.Column("problem", sa.Text),
    sa.Index(
        "ix_inbox_due",
        "next_attempt_at",
        sqlite_where=sa.text("handled_at IS NULL"),
        postgresql_where=sa.text("handled_at IS NULL"),
    ),
    sa.Index("ix_inbox_received_at", "received_at", "event_id"),
)

rooms = sa.Table(
    "rooms",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("creator_id", Id, nullable=False),
    sa.Column("title", sa.Text, nullable=False),
    _instant("started_at"),
    _instant("ended_at", nullable=True),
    sa.Index("ix_rooms_creator_id", "creator_id", "started_at", "id"),
    sa.Index("ix_rooms_started_at", "started_at", "id"),
    # A creator has at most one live room.
    sa.Index(
        "uq_rooms_live",
        "creator_id",
        unique=True,
        sqlite_where=sa.text("ended_at IS NULL"),
        postgresql_where=sa.text("ended_at IS NULL"),
    ),
)

# The durable log of a room: how far it goes, its entries in segments, one for each append, and now
# and then what they come to, so that a start reads few of them. That is large and seldom written,
# so it does not stand in the row that every append changes.
room_logs = sa.Table(
    "room_logs",
    metadata,
    sa.Column("room_id", Id, primary_key=True),
    sa.Column("seq", sa.BigInteger, nullable=False),
    sa.Column("closed", sa.Boolean, nullable=False),
    sa.Index(
        "ix_room_logs_open",
        "room_id",
        sqlite_where=sa.text("NOT closed"),
        postgresql_where=sa.text("NOT closed"),
    ),
)

# The key begins with the first number, so that the same number can never be given twice. Where
# several processes append, `turn` is the number of the append, by which the others find what is new;
# in a file it stays 0 and is in no index.
room_segments = sa.Table(
    "room_segments",
    metadata,
    sa.Column("room_id", Id, primary_key=True),
    sa.Column("first_seq", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("last_seq", sa.BigInteger, nullable=False),
    sa.Column("entries", sa.LargeBinary, nullable=False),
    sa.Column("turn", sa.BigInteger, nullable=False, server_default="0"),
    sa.Index(
        "ix_room_segments_turn",
        "turn",
        sqlite_where=sa.text("turn > 0"),
        postgresql_where=sa.text("turn > 0"),
    ),
    sqlite_with_rowid=False,
)

room_states = sa.Table(
    "room_states",
    metadata,
    sa.Column("room_id", Id, primary_key=True),
    sa.Column("seq", sa.BigInteger, nullable=False),
    sa.Column("state", sa.LargeBinary, nullable=False),
)

# Whom each of several processes has in a room, as marks of eight bytes each, so that everybody is
# counted once. It is good until an instant: who has gone without a word is soon forgotten.
room_audiences = sa.Table(
    "room_audiences",
    metadata,
    sa.Column("room_id", Id, primary_key=True),
    sa.Column("process_id", sa.String(64), primary_key=True),
    sa.Column("people", sa.LargeBinary, nullable=False),
    sa.Column("nobodies", sa.Integer, nullable=False),
    _instant("until"),
    sa.Index("ix_room_audiences_process_id", "process_id"),
)

follows = sa.Table(
    "follows",
    metadata,
    sa.Column("viewer_id", Id, primary_key=True),
    sa.Column("creator_id", Id, primary_key=True),
    _instant("created_at"),
    sa.Index("ix_follows_creator_id", "creator_id", "created_at", "viewer_id"),
    sqlite_with_rowid=False,
)

display_keys = sa.Table(
    "display_keys",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("creator_id", Id, nullable=False),
    sa.Column("key_hash", sa.LargeBinary(32), nullable=False, unique=True),
    sa.Column("name", sa.String(50), nullable=False),
    _instant("created_at"),
    sa.Index("ix_display_keys_creator_id", "creator_id", "created_at", "id"),
)

price_lists = sa.Table(
    "price_lists",
    metadata,
    sa.Column("version", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("hash", sa.LargeBinary(32), nullable=False, unique=True),
    sa.Column("content", sa.LargeBinary, nullable=False),
    _instant("since"),
)

# The ledger's instants rise strictly, so a gift's is its key: rows and pages are only ever
# appended, and SQLite needs no second index for it (its INTEGER PRIMARY KEY is the row's number).
_row_number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

gifts = sa.Table(
    "gifts",
    metadata,
    sa.Column("timestamp", _row_number, primary_key=True, autoincrement=False),
    sa.Column("id", Id, nullable=False),
    sa.Column("viewer_id", Id, nullable=False),
    sa.Column("creator_id", Id, nullable=False),
    sa.Column("room_id", Id, nullable=False),
    sa.Column("item_number", sa.Integer, nullable=False),
    sa.Column("quantity", sa.Integer, nullable=False),
    sa.Column("coins", sa.BigInteger, nullable=False),
    sa.Column("diamond_units", sa.BigInteger, nullable=False),
    sa.Column("share_bps", sa.Integer, nullable=False),
    sa.Index("ix_gifts_viewer_id", "viewer_id", "timestamp"),
    sa.Index("ix_gifts_creator_id", "creator_id", "timestamp"),
    sa.Index("ix_gifts_room_id", "room_id", "timestamp"),
)

top_gifters = sa.Table(
    "top_gifters",
    metadata,
    sa.Column("scope", sa.String(8), primary_key=True),
    sa.Column("scope_id", Id, primary_key=True),
    sa.Column("viewer_id", Id, primary_key=True),
    sa.Column("coins", sa.BigInteger, nullable=False),
    sa.Column("gifts", sa.BigInteger, nullable=False),
    _instant("reached_at"),
    sa.Index("ix_top_gifters_coins", "scope", "scope_id", "coins", "reached_at"),
    sqlite_with_rowid=False,
)

projections = sa.Table(
    "projections",
    metadata,
    sa.Column("name", sa.String(32), primary_key=True),
    sa.Column("after", sa.BigInteger, nullable=False),
    # Running totals of all gifts, so that an operator's page does not add up millions of rows.
    sa.Column("gifts", sa.BigInteger, nullable=False),
    sa.Column("coins", sa.BigInteger, nullable=False),
    sa.Column("diamond_units", sa.BigInteger, nullable=False),
    # Of the rooms' logs: the number of the last append by one of several processes.
    sa.Column("turn", sa.BigInteger, nullable=False, server_default="0"),
)

# Who of several processes does what one should do, and until when.
leases = sa.Table(
    "leases",
    metadata,
    sa.Column("name", sa.String(64), primary_key=True),
    sa.Column("holder", sa.String(100), nullable=False),
    _instant("until"),
)

# What every host must agree on: one row, and its key can be nothing but one.
installation = sa.Table(
    "installation",
    metadata,
    sa.Column("one", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("id", Id, nullable=False),
    sa.Column("environment", sa.String(8), nullable=False),
    _instant("created_at"),
    sa.Column("secret_fingerprint", sa.LargeBinary(32), nullable=False),
    sa.CheckConstraint("one = 1", name="one"),
)

# What the last check of the books said: one row.
verdict = sa.Table(
    "verdict",
    metadata,
    sa.Column("one", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("body", sa.LargeBinary, nullable=False),
    sa.CheckConstraint("one = 1", name="one"),
)


def added_up(column: sa.ColumnElement[int]) -> sa.ColumnElement[int]:
    """The sum of whole numbers, a whole number everywhere: PostgreSQL's own has decimals."""
    return sa.cast(sa.func.sum(column), sa.BigInteger)


def columns(table: sa.Table, struct: type[msgspec.Struct]) -> list[sa.Column[Any]]:
    """The columns that fill a struct, in the order of its fields: `struct(*row)` reads a row."""
    return [table.c[name] for name in struct.__struct_fields__]
