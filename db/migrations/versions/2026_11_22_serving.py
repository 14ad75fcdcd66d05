"""What serving needs: artefacts of versions, trials, second answers to a request, keys of clients."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "2026_11_22_serving"
down_revision = "2026_11_22_first_tables"
branch_labels = None
depends_on = None

BIG_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Make the change."""
    op.create_table(
        "artefacts",
        sa.Column("id", BIG_ID, nullable=False),
        sa.Column("version", BIG_ID, nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("detail", JSON, nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.ForeignKeyConstraint(["version"], ["releases.version"], name=op.f("fk_artefacts_version_releases")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_artefacts")),
        sa.UniqueConstraint("version", "kind", "digest", name=op.f("uq_artefacts_version_kind_digest")),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "trials",
        sa.Column("id", BIG_ID, nullable=False),
        sa.Column("version", BIG_ID, nullable=False),
        sa.Column("base_version", BIG_ID, nullable=False),
        sa.Column("mode", sa.Text(), nullable=False),
        sa.Column("share", sa.Double(), nullable=False),
        sa.Column("is_running", sa.Boolean(), nullable=False),
        sa.Column("started_at", MOMENT, nullable=False),
        sa.Column("started_by", sa.Text(), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("ended_at", MOMENT, nullable=True),
        sa.Column("ended_by", sa.Text(), nullable=True),
        sa.Column("outcome", sa.Text(), nullable=True),
        sa.CheckConstraint("mode IN ('canary', 'shadow')", name=op.f("ck_trials_mode")),
        sa.CheckConstraint("share > 0 AND share <= 1", name=op.f("ck_trials_share")),
        sa.ForeignKeyConstraint(["base_version"], ["releases.version"], name=op.f("fk_trials_base_version_releases")),
        sa.ForeignKeyConstraint(["version"], ["releases.version"], name=op.f("fk_trials_version_releases")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_trials")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_trials_version"), "trials", ["version"], unique=False)
    op.create_index(
        "uq_trials_one_running",
        "trials",
        ["is_running"],
        unique=True,
        sqlite_where=sa.text("is_running"),
        postgresql_where=sa.text("is_running"),
    )
    op.create_table(
        "mirrors",
        sa.Column("prediction_id", sa.Text(), nullable=False),
        sa.Column("version", BIG_ID, nullable=False),
        sa.Column("answer", sa.Text(), nullable=False),
        sa.Column("confidence", sa.Double(), nullable=True),
        sa.Column("latency_s", sa.Double(), nullable=True),
        sa.Column("at", MOMENT, nullable=False),
        sa.ForeignKeyConstraint(
            ["prediction_id"],
            ["predictions.id"],
            name=op.f("fk_mirrors_prediction_id_predictions"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(["version"], ["releases.version"], name=op.f("fk_mirrors_version_releases")),
        sa.PrimaryKeyConstraint("prediction_id", "version", name=op.f("pk_mirrors")),
    )
    op.create_index(op.f("ix_mirrors_version_at"), "mirrors", ["version", "at"], unique=False)
    op.create_table(
        "api_keys",
        sa.Column("id", BIG_ID, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("prefix", sa.Text(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("scopes", JSON, nullable=False),
        sa.Column("detail", JSON, nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.Column("revoked_at", MOMENT, nullable=True),
        sa.Column("revoked_by", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_keys")),
        sa.UniqueConstraint("digest", name=op.f("uq_api_keys_digest")),
        sa.UniqueConstraint("name", name=op.f("uq_api_keys_name")),
    )


def downgrade() -> None:
    """Undo the change; what was remembered in these tables is lost."""
    for table in ("api_keys", "mirrors", "trials", "artefacts"):
        op.drop_table(table)
