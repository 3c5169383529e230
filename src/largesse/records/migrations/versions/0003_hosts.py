"""Several processes on one database: who does the work of one, and what all hosts must agree on."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "leases",
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("holder", sa.String(100), nullable=False),
        sa.Column("until", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_leases"),
    )
    op.create_table(
        "installation",
        sa.Column("one", sa.Integer, autoincrement=False, nullable=False),
        sa.Column("id", sa.LargeBinary(16), nullable=False),
        sa.Column("environment", sa.String(8), nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("secret_fingerprint", sa.LargeBinary(32), nullable=False),
        sa.PrimaryKeyConstraint("one", name="pk_installation"),
        sa.CheckConstraint("one = 1", name="ck_installation_one"),
    )
