"""Tables of the data: tasks, samples, labels, the label queue, ingests, faults, blobs."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, Index, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from db.models.base import Base, BigId, BinaryText

ACTIVE_LABEL = text("superseded_at IS NULL")
OPEN_ENTRY = text("done_at IS NULL")


class TaskRow(Base):
    """A task and its answer set."""

    __tablename__ = "tasks"

    name: Mapped[str] = mapped_column(primary_key=True)
    instructions: Mapped[list[str]]
    answers: Mapped[list[str]]


class BlobRow(Base):
    """Bytes that lie in the blob store."""

    __tablename__ = "blobs"

    digest: Mapped[str] = mapped_column(primary_key=True)
    size: Mapped[int] = mapped_column(BigId)
    media: Mapped[str]
    created_at: Mapped[datetime]


class SampleRow(Base):
    """A sample without its answer; that is in `labels`."""

    __tablename__ = "samples"
    __table_args__ = (
        CheckConstraint("split IN ('train', 'val', 'test')", name="split"),
        Index(None, "split", "id"),
        Index(None, "split", "task", "id"),
        Index(None, "split", "domain", "id"),
        Index(None, "item"),
    )

    id: Mapped[str] = mapped_column(BinaryText, primary_key=True)
    task: Mapped[str] = mapped_column(ForeignKey("tasks.name"))
    instruction: Mapped[str]
    item: Mapped[str]
    source: Mapped[str]
    domain: Mapped[str]
    split: Mapped[str]
    time: Mapped[datetime | None]
    inputs: Mapped[dict[str, Any]]
    ingested_at: Mapped[datetime]
    quarantined_at: Mapped[datetime | None]


class LabelRow(Base):
    """An answer to a sample. At most one per sample is in force."""

    __tablename__ = "labels"
    __table_args__ = (
        Index(
            "uq_labels_active",
            "sample_id",
            unique=True,
            sqlite_where=ACTIVE_LABEL,
            postgresql_where=ACTIVE_LABEL,
        ),
        Index(None, "sample_id"),
        Index(None, "round_id"),
        Index(None, "origin", "id"),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    sample_id: Mapped[str] = mapped_column(BinaryText, ForeignKey("samples.id", ondelete="CASCADE"))
    answer: Mapped[str]
    origin: Mapped[str]
    round_id: Mapped[int | None] = mapped_column(BigId, ForeignKey("rounds.id"))
    created_at: Mapped[datetime]
    superseded_at: Mapped[datetime | None]
    supersedes_id: Mapped[int | None] = mapped_column(BigId, ForeignKey("labels.id", ondelete="CASCADE"))
    quarantined_at: Mapped[datetime | None]


class QueueRow(Base):
    """A sample that waits for a label. At most one open entry per sample."""

    __tablename__ = "label_queue"
    __table_args__ = (
        Index(
            "uq_label_queue_open",
            "sample_id",
            unique=True,
            sqlite_where=OPEN_ENTRY,
            postgresql_where=OPEN_ENTRY,
        ),
        UniqueConstraint("round_id", "sample_id"),
        Index(None, "done_at", "priority", "id"),
        Index(None, "sample_id"),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    sample_id: Mapped[str] = mapped_column(BinaryText, ForeignKey("samples.id", ondelete="CASCADE"))
    task: Mapped[str]
    round_id: Mapped[int | None] = mapped_column(BigId, ForeignKey("rounds.id"))
    priority: Mapped[float]
    queued_at: Mapped[datetime]
    leased_to: Mapped[str | None]
    lease_until: Mapped[datetime | None]
    done_at: Mapped[datetime | None]


class LabelSkipRow(Base):
    """A person passed on a sample; it is not offered to them again."""

    __tablename__ = "label_skips"

    entry_id: Mapped[int] = mapped_column(BigId, ForeignKey("label_queue.id", ondelete="CASCADE"), primary_key=True)
    who: Mapped[str] = mapped_column(primary_key=True)
    at: Mapped[datetime]


class IngestRow(Base):
    """How far the reading of one manifest has come."""

    __tablename__ = "ingests"

    manifest: Mapped[str] = mapped_column(primary_key=True)
    path: Mapped[str]
    next_line: Mapped[int] = mapped_column(BigId)
    num_new: Mapped[int] = mapped_column(BigId)
    num_known: Mapped[int] = mapped_column(BigId)
    num_faults: Mapped[int] = mapped_column(BigId)
    started_at: Mapped[datetime]
    updated_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]


class FaultRow(Base):
    """A manifest row that could not be read."""

    __tablename__ = "faults"
    __table_args__ = (UniqueConstraint("manifest", "line"), Index(None, "sample_id"))

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    manifest: Mapped[str]
    line: Mapped[int] = mapped_column(BigId)
    sample_id: Mapped[str | None]
    reason: Mapped[str]
    raw: Mapped[str]
    at: Mapped[datetime]
