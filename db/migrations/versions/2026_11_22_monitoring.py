"""What alerting needs: more of each alert, states of rules, silences, notifications, and the index of reports."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "2026_11_22_monitoring"
down_revision = "2026_11_22_serving"
branch_labels = None
depends_on = None

BIG_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
MOMENT = sa.DateTime(timezone=True)

ALERT_COLUMNS: tuple[tuple[str, sa.types.TypeEngine[Any]], ...] = (
    ("value", sa.Double()),
    ("baseline", sa.Double()),
    ("version", BIG_ID),
    ("page", sa.Text()),
    ("mend", sa.Text()),
    ("group_key", sa.Text()),
    ("fired_at", MOMENT),
    ("kept_until", MOMENT),
    ("acknowledged_at", MOMENT),
    ("acknowledged_by", sa.Text()),
    ("last_notified_at", MOMENT),
)


def upgrade() -> None:
    """Make the change."""
    for name, kind in ALERT_COLUMNS:
        op.add_column("alerts", sa.Column(name, kind, nullable=True))
    op.add_column("alerts", sa.Column("num_notified", sa.Integer(), nullable=False, server_default="0"))
    op.create_index(op.f("ix_alerts_group_key"), "alerts", ["group_key"], unique=False)
    op.create_table(
        "rule_states",
        sa.Column("fingerprint", sa.Text(), nullable=False),
        sa.Column("rule", sa.Text(), nullable=False),
        sa.Column("labels", JSON, nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("memory", JSON, nullable=False),
        sa.Column("since", MOMENT, nullable=False),
        sa.Column("updated_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("fingerprint", name=op.f("pk_rule_states")),
    )
    op.create_index(op.f("ix_rule_states_rule"), "rule_states", ["rule"], unique=False)
    op.create_index(op.f("ix_rule_states_state"), "rule_states", ["state"], unique=False)
    op.create_table(
        "silences",
        sa.Column("id", BIG_ID, nullable=False),
        sa.Column("matchers", JSON, nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("starts_at", MOMENT, nullable=False),
        sa.Column("ends_at", MOMENT, nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("ended_at", MOMENT, nullable=True),
        sa.Column("ended_by", sa.Text(), nullable=True),
        sa.CheckConstraint("ends_at > starts_at", name=op.f("ck_silences_ends_later")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_silences")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_silences_ends_at"), "silences", ["ends_at"], unique=False)
    op.create_table(
        "notifications",
        sa.Column("id", BIG_ID, nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("group_key", sa.Text(), nullable=False),
        sa.Column("receiver", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("firing", JSON, nullable=False),
        sa.Column("resolved", JSON, nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("delivered_at", MOMENT, nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_notifications")),
        sa.UniqueConstraint("key", name=op.f("uq_notifications_key")),
    )
    grouped = ["group_key", "receiver", "id"]
    op.create_index(op.f("ix_notifications_group_key_receiver_id"), "notifications", grouped, unique=False)
    op.create_index(op.f("ix_notifications_created_at"), "notifications", ["created_at"], unique=False)
    op.create_table(
        "reports",
        sa.Column("id", BIG_ID, nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("version", BIG_ID, nullable=True),
        sa.Column("round_id", BIG_ID, nullable=True),
        sa.Column("starts_at", MOMENT, nullable=True),
        sa.Column("ends_at", MOMENT, nullable=True),
        sa.Column("num_rows", BIG_ID, nullable=False),
        sa.Column("num_reference", BIG_ID, nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("numbers", JSON, nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.ForeignKeyConstraint(["round_id"], ["rounds.id"], name=op.f("fk_reports_round_id_rounds")),
        sa.ForeignKeyConstraint(["version"], ["releases.version"], name=op.f("fk_reports_version_releases")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_reports")),
        sa.UniqueConstraint("key", name=op.f("uq_reports_key")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_reports_version_id"), "reports", ["version", "id"], unique=False)
    op.create_index(op.f("ix_reports_round_id"), "reports", ["round_id"], unique=False)


def downgrade() -> None:
    """Undo the change; what was remembered in these tables and columns is lost."""
    for table in ("reports", "notifications", "silences", "rule_states"):
        op.drop_table(table)
    op.drop_index(op.f("ix_alerts_group_key"), "alerts")
    for name in ("num_notified", *(name for name, _ in reversed(ALERT_COLUMNS))):
        op.drop_column("alerts", name)
