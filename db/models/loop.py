"""Tables of the loop: rounds, releases, what is in service, triggers, the audit trail, the outbox.

Two rules are held by the database itself, whatever the code does: at most one round is open, and at most one release
is on probation.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from db.models.base import Base, BigId, BinaryText
from db.releases import STATES

OPEN_ROUND = text("is_open")
ON_PROBATION = text("state = 'probation'")
WAITING = text("taken_at IS NULL")


class RoundRow(Base):
    """One turn of the loop."""

    __tablename__ = "rounds"
    __table_args__ = (
        Index("uq_rounds_one_open", "is_open", unique=True, sqlite_where=OPEN_ROUND, postgresql_where=OPEN_ROUND),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    key: Mapped[str] = mapped_column(unique=True)
    trigger: Mapped[str]
    base_version: Mapped[int | None] = mapped_column(BigId)
    snapshot: Mapped[str]
    config: Mapped[dict[str, Any]]
    step: Mapped[str]
    evidence: Mapped[str | None]
    outcome: Mapped[str | None]
    is_open: Mapped[bool]
    opened_at: Mapped[datetime]
    updated_at: Mapped[datetime]
    closed_at: Mapped[datetime | None]
    quarantined_at: Mapped[datetime | None]
    quarantine_reason: Mapped[str | None]


class RoundStepRow(Base):
    """A done step of a round and what it reported."""

    __tablename__ = "round_steps"

    round_id: Mapped[int] = mapped_column(BigId, ForeignKey("rounds.id"), primary_key=True)
    step: Mapped[str] = mapped_column(primary_key=True)
    at: Mapped[datetime]
    outputs: Mapped[dict[str, Any]]


class RoundSampleRow(Base):
    """A sample's part in a round."""

    __tablename__ = "round_samples"
    __table_args__ = (
        CheckConstraint(
            "role IN ('selected', 'control', 'validation', 'unlabelled', 'arrived', 'replay', 'base')", name="role"
        ),
        Index(None, "sample_id"),
    )

    round_id: Mapped[int] = mapped_column(BigId, ForeignKey("rounds.id"), primary_key=True)
    sample_id: Mapped[str] = mapped_column(BinaryText, ForeignKey("samples.id", ondelete="CASCADE"), primary_key=True)
    role: Mapped[str]
    score: Mapped[float | None]
    rank: Mapped[int | None]
    detail: Mapped[dict[str, Any] | None]


class TriggerRow(Base):
    """A request for a round. At most one per kind waits."""

    __tablename__ = "triggers"
    __table_args__ = (
        Index("uq_triggers_waiting", "kind", unique=True, sqlite_where=WAITING, postgresql_where=WAITING),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    kind: Mapped[str]
    detail: Mapped[dict[str, Any]]
    num_requests: Mapped[int]
    requested_at: Mapped[datetime]
    last_requested_at: Mapped[datetime]
    taken_at: Mapped[datetime | None]
    round_id: Mapped[int | None] = mapped_column(BigId, ForeignKey("rounds.id"))


class ReleaseRow(Base):
    """A version and its state."""

    __tablename__ = "releases"
    __table_args__ = (
        CheckConstraint(f"state IN ({', '.join(repr(state) for state in STATES)})", name="state"),
        Index(
            "uq_releases_one_on_probation",
            "state",
            unique=True,
            sqlite_where=ON_PROBATION,
            postgresql_where=ON_PROBATION,
        ),
        Index(None, "state", "generation"),
    )

    version: Mapped[int] = mapped_column(BigId, primary_key=True, autoincrement=False)
    state: Mapped[str]
    round_id: Mapped[int | None] = mapped_column(BigId, ForeignKey("rounds.id"), unique=True)
    parent_version: Mapped[int | None] = mapped_column(BigId, ForeignKey("releases.version"))
    digest: Mapped[str]
    base_digest: Mapped[str | None]
    metrics: Mapped[dict[str, Any]]
    mlflow_run_id: Mapped[str | None]
    mlflow_version: Mapped[str | None]
    generation: Mapped[int | None] = mapped_column(BigId)
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]


class ServingRow(Base):
    """The version in service. One row, made by the migration; whoever moves anything in the loop locks it first."""

    __tablename__ = "serving"
    __table_args__ = (CheckConstraint("id = 1", name="one_row"),)

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    version: Mapped[int | None] = mapped_column(BigId, ForeignKey("releases.version"))
    previous_version: Mapped[int | None] = mapped_column(BigId, ForeignKey("releases.version"))
    generation: Mapped[int] = mapped_column(BigId)
    updated_at: Mapped[datetime | None]


class AuditRow(Base):
    """Who did what, when and why. Triggers made by the migration refuse every update and delete."""

    __tablename__ = "audit"
    __table_args__ = (
        Index(None, "version", "id"),
        Index(None, "subject", "subject_id"),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    at: Mapped[datetime]
    who: Mapped[str]
    action: Mapped[str]
    subject: Mapped[str]
    subject_id: Mapped[str]
    version: Mapped[int | None] = mapped_column(BigId)
    from_state: Mapped[str | None]
    to_state: Mapped[str | None]
    why: Mapped[str]
    numbers: Mapped[dict[str, Any]]


class OutboxRow(Base):
    """A message to deliver, written in the transaction that it tells of."""

    __tablename__ = "outbox"
    __table_args__ = (Index(None, "kind", "done_at", "dead_at", "next_attempt_at"), {"sqlite_autoincrement": True})

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    kind: Mapped[str]
    key: Mapped[str] = mapped_column(unique=True)
    payload: Mapped[dict[str, Any]]
    created_at: Mapped[datetime]
    attempts: Mapped[int]
    next_attempt_at: Mapped[datetime]
    lease_until: Mapped[datetime | None]
    done_at: Mapped[datetime | None]
    dead_at: Mapped[datetime | None]
    last_error: Mapped[str | None]
