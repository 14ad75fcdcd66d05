"""The first tables, with the one row of `serving` and the triggers that keep `audit` append-only."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "2026_11_22_first_tables"
down_revision = None
branch_labels = None
depends_on = None

BIG_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
MOMENT = sa.DateTime(timezone=True)
BYTEWISE = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")

APPEND_ONLY_SQLITE = """
CREATE TRIGGER audit_is_append_only_{verb} BEFORE {verb} ON audit
BEGIN SELECT RAISE(ABORT, 'audit is append-only'); END
"""

APPEND_ONLY_POSTGRES = """
CREATE FUNCTION audit_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION 'audit is append-only'; END $$;
CREATE TRIGGER audit_is_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit
FOR EACH STATEMENT EXECUTE FUNCTION audit_is_append_only();
"""


def upgrade() -> None:
    """Make the change."""
    op.create_table(
        "alerts",
        sa.Column("id", BIG_ID, nullable=False),
        sa.Column("fingerprint", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("severity", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("summary", sa.Text(), nullable=False),
        sa.Column("labels", JSON, nullable=False),
        sa.Column("detail", JSON, nullable=False),
        sa.Column("started_at", MOMENT, nullable=False),
        sa.Column("updated_at", MOMENT, nullable=False),
        sa.Column("resolved_at", MOMENT, nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_alerts")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_alerts_started_at"), "alerts", ["started_at"], unique=False)
    op.create_index(
        "uq_alerts_open",
        "alerts",
        ["fingerprint"],
        unique=True,
        sqlite_where=sa.text("resolved_at IS NULL"),
        postgresql_where=sa.text("resolved_at IS NULL"),
    )

    op.create_table(
        "audit",
        sa.Column("id", BIG_ID, nullable=False),
        sa.Column("at", MOMENT, nullable=False),
        sa.Column("who", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("subject_id", sa.Text(), nullable=False),
        sa.Column("version", BIG_ID, nullable=True),
        sa.Column("from_state", sa.Text(), nullable=True),
        sa.Column("to_state", sa.Text(), nullable=True),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("numbers", JSON, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_audit_subject_subject_id"), "audit", ["subject", "subject_id"], unique=False)
    op.create_index(op.f("ix_audit_version_id"), "audit", ["version", "id"], unique=False)

    op.create_table(
        "baselines",
        sa.Column("id", BIG_ID, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("version", BIG_ID, nullable=True),
        sa.Column("values", JSON, nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_baselines")),
    )
    op.create_index(op.f("ix_baselines_name_id"), "baselines", ["name", "id"], unique=False)

    op.create_table(
        "blobs",
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("size", BIG_ID, nullable=False),
        sa.Column("media", sa.Text(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_blobs")),
    )
    op.create_table(
        "faults",
        sa.Column("id", BIG_ID, nullable=False),
        sa.Column("manifest", sa.Text(), nullable=False),
        sa.Column("line", BIG_ID, nullable=False),
        sa.Column("sample_id", sa.Text(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("raw", sa.Text(), nullable=False),
        sa.Column("at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_faults")),
        sa.UniqueConstraint("manifest", "line", name=op.f("uq_faults_manifest_line")),
    )
    op.create_index(op.f("ix_faults_sample_id"), "faults", ["sample_id"], unique=False)

    op.create_table(
        "ingests",
        sa.Column("manifest", sa.Text(), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("next_line", BIG_ID, nullable=False),
        sa.Column("num_new", BIG_ID, nullable=False),
        sa.Column("num_known", BIG_ID, nullable=False),
        sa.Column("num_faults", BIG_ID, nullable=False),
        sa.Column("started_at", MOMENT, nullable=False),
        sa.Column("updated_at", MOMENT, nullable=False),
        sa.Column("finished_at", MOMENT, nullable=True),
        sa.PrimaryKeyConstraint("manifest", name=op.f("pk_ingests")),
    )
    op.create_table(
        "measurements",
        sa.Column("id", BIG_ID, nullable=False),
        sa.Column("metric", sa.Text(), nullable=False),
        sa.Column("slice", sa.Text(), nullable=False),
        sa.Column("version", BIG_ID, nullable=True),
        sa.Column("value", sa.Double(), nullable=True),
        sa.Column("num_samples", BIG_ID, nullable=False),
        sa.Column("detail", JSON, nullable=False),
        sa.Column("at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_measurements")),
    )
    op.create_index(op.f("ix_measurements_metric_slice_at"), "measurements", ["metric", "slice", "at"], unique=False)
    op.create_index(op.f("ix_measurements_version_metric"), "measurements", ["version", "metric"], unique=False)

    op.create_table(
        "outbox",
        sa.Column("id", BIG_ID, nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("payload", JSON, nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("next_attempt_at", MOMENT, nullable=False),
        sa.Column("lease_until", MOMENT, nullable=True),
        sa.Column("done_at", MOMENT, nullable=True),
        sa.Column("dead_at", MOMENT, nullable=True),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_outbox")),
        sa.UniqueConstraint("key", name=op.f("uq_outbox_key")),
        sqlite_autoincrement=True,
    )
    op.create_index(
        op.f("ix_outbox_kind_done_at_dead_at_next_attempt_at"),
        "outbox",
        ["kind", "done_at", "dead_at", "next_attempt_at"],
        unique=False,
    )

    op.create_table(
        "rounds",
        sa.Column("id", BIG_ID, nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("trigger", sa.Text(), nullable=False),
        sa.Column("base_version", BIG_ID, nullable=True),
        sa.Column("snapshot", sa.Text(), nullable=False),
        sa.Column("config", JSON, nullable=False),
        sa.Column("step", sa.Text(), nullable=False),
        sa.Column("evidence", sa.Text(), nullable=True),
        sa.Column("outcome", sa.Text(), nullable=True),
        sa.Column("is_open", sa.Boolean(), nullable=False),
        sa.Column("opened_at", MOMENT, nullable=False),
        sa.Column("updated_at", MOMENT, nullable=False),
        sa.Column("closed_at", MOMENT, nullable=True),
        sa.Column("quarantined_at", MOMENT, nullable=True),
        sa.Column("quarantine_reason", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_rounds")),
        sa.UniqueConstraint("key", name=op.f("uq_rounds_key")),
        sqlite_autoincrement=True,
    )
    op.create_index(
        "uq_rounds_one_open",
        "rounds",
        ["is_open"],
        unique=True,
        sqlite_where=sa.text("is_open"),
        postgresql_where=sa.text("is_open"),
    )

    op.create_table(
        "tasks",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("instructions", JSON, nullable=False),
        sa.Column("answers", JSON, nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_tasks")),
    )
    op.create_table(
        "releases",
        sa.Column("version", BIG_ID, autoincrement=False, nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("round_id", BIG_ID, nullable=True),
        sa.Column("parent_version", BIG_ID, nullable=True),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("base_digest", sa.Text(), nullable=True),
        sa.Column("metrics", JSON, nullable=False),
        sa.Column("mlflow_run_id", sa.Text(), nullable=True),
        sa.Column("mlflow_version", sa.Text(), nullable=True),
        sa.Column("generation", BIG_ID, nullable=True),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("updated_at", MOMENT, nullable=False),
        sa.CheckConstraint(
            "state IN ('candidate', 'rejected', 'awaiting_approval', 'probation', 'accepted', 'rolled_back')",
            name=op.f("ck_releases_state"),
        ),
        sa.ForeignKeyConstraint(
            ["parent_version"], ["releases.version"], name=op.f("fk_releases_parent_version_releases")
        ),
        sa.ForeignKeyConstraint(["round_id"], ["rounds.id"], name=op.f("fk_releases_round_id_rounds")),
        sa.PrimaryKeyConstraint("version", name=op.f("pk_releases")),
        sa.UniqueConstraint("round_id", name=op.f("uq_releases_round_id")),
    )
    op.create_index(op.f("ix_releases_state_generation"), "releases", ["state", "generation"], unique=False)
    op.create_index(
        "uq_releases_one_on_probation",
        "releases",
        ["state"],
        unique=True,
        sqlite_where=sa.text("state = 'probation'"),
        postgresql_where=sa.text("state = 'probation'"),
    )

    op.create_table(
        "round_steps",
        sa.Column("round_id", BIG_ID, nullable=False),
        sa.Column("step", sa.Text(), nullable=False),
        sa.Column("at", MOMENT, nullable=False),
        sa.Column("outputs", JSON, nullable=False),
        sa.ForeignKeyConstraint(["round_id"], ["rounds.id"], name=op.f("fk_round_steps_round_id_rounds")),
        sa.PrimaryKeyConstraint("round_id", "step", name=op.f("pk_round_steps")),
    )
    op.create_table(
        "samples",
        sa.Column("id", BYTEWISE, nullable=False),
        sa.Column("task", sa.Text(), nullable=False),
        sa.Column("instruction", sa.Text(), nullable=False),
        sa.Column("item", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("domain", sa.Text(), nullable=False),
        sa.Column("split", sa.Text(), nullable=False),
        sa.Column("time", MOMENT, nullable=True),
        sa.Column("inputs", JSON, nullable=False),
        sa.Column("ingested_at", MOMENT, nullable=False),
        sa.Column("quarantined_at", MOMENT, nullable=True),
        sa.CheckConstraint("split IN ('train', 'val', 'test')", name=op.f("ck_samples_split")),
        sa.ForeignKeyConstraint(["task"], ["tasks.name"], name=op.f("fk_samples_task_tasks")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_samples")),
    )
    op.create_index(op.f("ix_samples_item"), "samples", ["item"], unique=False)
    op.create_index(op.f("ix_samples_split_domain_id"), "samples", ["split", "domain", "id"], unique=False)
    op.create_index(op.f("ix_samples_split_id"), "samples", ["split", "id"], unique=False)
    op.create_index(op.f("ix_samples_split_task_id"), "samples", ["split", "task", "id"], unique=False)

    op.create_table(
        "triggers",
        sa.Column("id", BIG_ID, nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("detail", JSON, nullable=False),
        sa.Column("num_requests", sa.Integer(), nullable=False),
        sa.Column("requested_at", MOMENT, nullable=False),
        sa.Column("last_requested_at", MOMENT, nullable=False),
        sa.Column("taken_at", MOMENT, nullable=True),
        sa.Column("round_id", BIG_ID, nullable=True),
        sa.ForeignKeyConstraint(["round_id"], ["rounds.id"], name=op.f("fk_triggers_round_id_rounds")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_triggers")),
        sqlite_autoincrement=True,
    )
    op.create_index(
        "uq_triggers_waiting",
        "triggers",
        ["kind"],
        unique=True,
        sqlite_where=sa.text("taken_at IS NULL"),
        postgresql_where=sa.text("taken_at IS NULL"),
    )

    op.create_table(
        "label_queue",
        sa.Column("id", BIG_ID, nullable=False),
        sa.Column("sample_id", BYTEWISE, nullable=False),
        sa.Column("task", sa.Text(), nullable=False),
        sa.Column("round_id", BIG_ID, nullable=True),
        sa.Column("priority", sa.Double(), nullable=False),
        sa.Column("queued_at", MOMENT, nullable=False),
        sa.Column("leased_to", sa.Text(), nullable=True),
        sa.Column("lease_until", MOMENT, nullable=True),
        sa.Column("done_at", MOMENT, nullable=True),
        sa.ForeignKeyConstraint(["round_id"], ["rounds.id"], name=op.f("fk_label_queue_round_id_rounds")),
        sa.ForeignKeyConstraint(
            ["sample_id"], ["samples.id"], name=op.f("fk_label_queue_sample_id_samples"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_label_queue")),
        sa.UniqueConstraint("round_id", "sample_id", name=op.f("uq_label_queue_round_id_sample_id")),
        sqlite_autoincrement=True,
    )
    op.create_index(
        op.f("ix_label_queue_done_at_priority_id"), "label_queue", ["done_at", "priority", "id"], unique=False
    )
    op.create_index(op.f("ix_label_queue_sample_id"), "label_queue", ["sample_id"], unique=False)
    op.create_index(
        "uq_label_queue_open",
        "label_queue",
        ["sample_id"],
        unique=True,
        sqlite_where=sa.text("done_at IS NULL"),
        postgresql_where=sa.text("done_at IS NULL"),
    )

    op.create_table(
        "labels",
        sa.Column("id", BIG_ID, nullable=False),
        sa.Column("sample_id", BYTEWISE, nullable=False),
        sa.Column("answer", sa.Text(), nullable=False),
        sa.Column("origin", sa.Text(), nullable=False),
        sa.Column("round_id", BIG_ID, nullable=True),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("superseded_at", MOMENT, nullable=True),
        sa.Column("supersedes_id", BIG_ID, nullable=True),
        sa.Column("quarantined_at", MOMENT, nullable=True),
        sa.ForeignKeyConstraint(["round_id"], ["rounds.id"], name=op.f("fk_labels_round_id_rounds")),
        sa.ForeignKeyConstraint(
            ["sample_id"], ["samples.id"], name=op.f("fk_labels_sample_id_samples"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["supersedes_id"], ["labels.id"], name=op.f("fk_labels_supersedes_id_labels"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_labels")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_labels_round_id"), "labels", ["round_id"], unique=False)
    op.create_index(op.f("ix_labels_sample_id"), "labels", ["sample_id"], unique=False)
    op.create_index(
        "uq_labels_active",
        "labels",
        ["sample_id"],
        unique=True,
        sqlite_where=sa.text("superseded_at IS NULL"),
        postgresql_where=sa.text("superseded_at IS NULL"),
    )

    op.create_table(
        "predictions",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("version", BIG_ID, nullable=False),
        sa.Column("task", sa.Text(), nullable=False),
        sa.Column("answer", sa.Text(), nullable=False),
        sa.Column("confidence", sa.Double(), nullable=True),
        sa.Column("sample_id", sa.Text(), nullable=True),
        sa.Column("domain", sa.Text(), nullable=False),
        sa.Column("modalities", JSON, nullable=False),
        sa.Column("latency_s", sa.Double(), nullable=True),
        sa.Column("detail", JSON, nullable=False),
        sa.Column("at", MOMENT, nullable=False),
        sa.ForeignKeyConstraint(["version"], ["releases.version"], name=op.f("fk_predictions_version_releases")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_predictions")),
    )
    op.create_index(op.f("ix_predictions_at"), "predictions", ["at"], unique=False)
    op.create_index(op.f("ix_predictions_sample_id"), "predictions", ["sample_id"], unique=False)
    op.create_index(op.f("ix_predictions_version_at_id"), "predictions", ["version", "at", "id"], unique=False)

    op.create_table(
        "probation_pairs",
        sa.Column("id", BIG_ID, nullable=False),
        sa.Column("version", BIG_ID, nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("new_correct", sa.Boolean(), nullable=False),
        sa.Column("old_correct", sa.Boolean(), nullable=False),
        sa.Column("at", MOMENT, nullable=False),
        sa.ForeignKeyConstraint(["version"], ["releases.version"], name=op.f("fk_probation_pairs_version_releases")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_probation_pairs")),
        sa.UniqueConstraint("version", "key", name=op.f("uq_probation_pairs_version_key")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_probation_pairs_version_id"), "probation_pairs", ["version", "id"], unique=False)

    op.create_table(
        "round_samples",
        sa.Column("round_id", BIG_ID, nullable=False),
        sa.Column("sample_id", BYTEWISE, nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("score", sa.Double(), nullable=True),
        sa.Column("rank", sa.Integer(), nullable=True),
        sa.Column("detail", JSON, nullable=True),
        sa.CheckConstraint(
            "role IN ('selected', 'control', 'validation', 'unlabelled', 'arrived', 'replay', 'base')",
            name=op.f("ck_round_samples_role"),
        ),
        sa.ForeignKeyConstraint(["round_id"], ["rounds.id"], name=op.f("fk_round_samples_round_id_rounds")),
        sa.ForeignKeyConstraint(
            ["sample_id"], ["samples.id"], name=op.f("fk_round_samples_sample_id_samples"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("round_id", "sample_id", name=op.f("pk_round_samples")),
    )
    op.create_index(op.f("ix_round_samples_sample_id"), "round_samples", ["sample_id"], unique=False)

    op.create_table(
        "serving",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("version", BIG_ID, nullable=True),
        sa.Column("previous_version", BIG_ID, nullable=True),
        sa.Column("generation", BIG_ID, nullable=False),
        sa.Column("updated_at", MOMENT, nullable=True),
        sa.CheckConstraint("id = 1", name=op.f("ck_serving_one_row")),
        sa.ForeignKeyConstraint(
            ["previous_version"], ["releases.version"], name=op.f("fk_serving_previous_version_releases")
        ),
        sa.ForeignKeyConstraint(["version"], ["releases.version"], name=op.f("fk_serving_version_releases")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_serving")),
    )
    op.create_table(
        "feedback",
        sa.Column("prediction_id", sa.Text(), nullable=False),
        sa.Column("answer", sa.Text(), nullable=False),
        sa.Column("origin", sa.Text(), nullable=False),
        sa.Column("at", MOMENT, nullable=False),
        sa.ForeignKeyConstraint(
            ["prediction_id"],
            ["predictions.id"],
            name=op.f("fk_feedback_prediction_id_predictions"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("prediction_id", name=op.f("pk_feedback")),
    )
    op.create_index(op.f("ix_feedback_at"), "feedback", ["at"], unique=False)

    op.create_table(
        "label_skips",
        sa.Column("entry_id", BIG_ID, nullable=False),
        sa.Column("who", sa.Text(), nullable=False),
        sa.Column("at", MOMENT, nullable=False),
        sa.ForeignKeyConstraint(
            ["entry_id"], ["label_queue.id"], name=op.f("fk_label_skips_entry_id_label_queue"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("entry_id", "who", name=op.f("pk_label_skips")),
    )
    op.execute("INSERT INTO serving (id, generation) VALUES (1, 0)")
    keep_audit()


def keep_audit() -> None:
    """Let nobody change or remove a line of the trail."""
    if op.get_bind().dialect.name == "sqlite":
        for verb in ("UPDATE", "DELETE"):
            op.execute(APPEND_ONLY_SQLITE.format(verb=verb))
    else:
        op.execute(APPEND_ONLY_POSTGRES)


def downgrade() -> None:
    """Take it back."""
    op.drop_table("label_skips")
    op.drop_table("feedback")
    op.drop_table("serving")
    op.drop_table("round_samples")
    op.drop_table("probation_pairs")
    op.drop_table("predictions")
    op.drop_table("labels")
    op.drop_table("label_queue")
    op.drop_table("triggers")
    op.drop_table("samples")
    op.drop_table("round_steps")
    op.drop_table("releases")
    op.drop_table("tasks")
    op.drop_table("rounds")
    op.drop_table("outbox")
    op.drop_table("measurements")
    op.drop_table("ingests")
    op.drop_table("faults")
    op.drop_table("blobs")
    op.drop_table("baselines")
    op.drop_table("audit")
    op.drop_table("alerts")
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP FUNCTION audit_is_append_only")
