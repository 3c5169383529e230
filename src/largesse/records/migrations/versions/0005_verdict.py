"""What the last check of the books said: one process checks, and operators may ask any of them."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "verdict",
        sa.Column("one", sa.Integer, autoincrement=False, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("one", name="pk_verdict"),
        sa.CheckConstraint("one = 1", name="ck_verdict_one"),
    )
