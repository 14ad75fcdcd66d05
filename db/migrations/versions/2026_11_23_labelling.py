"""What people say against a label or a suggestion, until somebody settles it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "2026_11_23_labelling"
down_revision = "2026_11_23_users"
branch_labels = None
depends_on = None

MOMENT = sa.DateTime(timezone=True)
ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
BINARY = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
OPEN = sa.text("settled_at IS NULL")


def upgrade() -> None:
    """Make the change."""
    op.create_table(
        "disagreements",
        sa.Column("id", ID, nullable=False),
        sa.Column("sample_id", BINARY, nullable=False),
        sa.Column("against", sa.Text(), nullable=False),
        sa.Column("claimed", sa.Text(), nullable=False),
        sa.Column("claimed_by", sa.Text(), nullable=False),
        sa.Column("answer", sa.Text(), nullable=False),
        sa.Column("who", sa.Text(), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("round_id", ID, nullable=True),
        sa.Column("at", MOMENT, nullable=False),
        sa.Column("settled_at", MOMENT, nullable=True),
        sa.Column("settled_by", sa.Text(), nullable=True),
        sa.Column("outcome", sa.Text(), nullable=True),
        sa.CheckConstraint("against IN ('label', 'feedback', 'suggestion')", name=op.f("ck_disagreements_against")),
        sa.CheckConstraint("outcome IN ('keep', 'replace')", name=op.f("ck_disagreements_outcome")),
        sa.ForeignKeyConstraint(
            ["sample_id"], ["samples.id"], name=op.f("fk_disagreements_sample_id_samples"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["round_id"], ["rounds.id"], name=op.f("fk_disagreements_round_id_rounds")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_disagreements")),
        sqlite_autoincrement=True,
    )
    op.create_index(
        "uq_disagreements_open",
        "disagreements",
        ["sample_id", "who"],
        unique=True,
        sqlite_where=OPEN,
        postgresql_where=OPEN,
    )
    op.create_index(op.f("ix_disagreements_sample_id"), "disagreements", ["sample_id"], unique=False)
    op.create_index(op.f("ix_disagreements_settled_at_id"), "disagreements", ["settled_at", "id"], unique=False)
    op.create_index(op.f("ix_labels_origin_id"), "labels", ["origin", "id"], unique=False)


def downgrade() -> None:
    """Undo the change; what is contested then counts as its label in force says."""
    op.drop_index(op.f("ix_labels_origin_id"), table_name="labels")
    op.drop_table("disagreements")
