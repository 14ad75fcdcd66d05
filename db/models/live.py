"""Tables of live traffic: predictions, feedback, probation pairs, measurements, alerts, baselines."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Index, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from db.models.base import Base, BigId

OPEN_ALERT = text("resolved_at IS NULL")


class PredictionRow(Base):
    """An answer that a version gave."""

    __tablename__ = "predictions"
    __table_args__ = (Index(None, "version", "at", "id"), Index(None, "sample_id"), Index(None, "at"))

    id: Mapped[str] = mapped_column(primary_key=True)
    version: Mapped[int] = mapped_column(BigId, ForeignKey("releases.version"))
    task: Mapped[str]
    answer: Mapped[str]
    confidence: Mapped[float | None]
    sample_id: Mapped[str | None]
    domain: Mapped[str]
    modalities: Mapped[list[str]]
    latency_s: Mapped[float | None]
    detail: Mapped[dict[str, Any]]
    at: Mapped[datetime]


class FeedbackRow(Base):
    """The right answer to a prediction."""

    __tablename__ = "feedback"
    __table_args__ = (Index(None, "at"),)

    prediction_id: Mapped[str] = mapped_column(ForeignKey("predictions.id", ondelete="CASCADE"), primary_key=True)
    answer: Mapped[str]
    origin: Mapped[str]
    at: Mapped[datetime]


class PairRow(Base):
    """A sample scored for the version on probation and for the one before it."""

    __tablename__ = "probation_pairs"
    __table_args__ = (UniqueConstraint("version", "key"), Index(None, "version", "id"), {"sqlite_autoincrement": True})

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    version: Mapped[int] = mapped_column(BigId, ForeignKey("releases.version"))
    key: Mapped[str]
    new_correct: Mapped[bool]
    old_correct: Mapped[bool]
    at: Mapped[datetime]


class MeasurementRow(Base):
    """A number that was measured, or None where it could not be."""

    __tablename__ = "measurements"
    __table_args__ = (Index(None, "metric", "slice", "at"), Index(None, "version", "metric"))

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    metric: Mapped[str]
    slice: Mapped[str]
    version: Mapped[int | None] = mapped_column(BigId)
    value: Mapped[float | None]
    num_samples: Mapped[int] = mapped_column(BigId)
    detail: Mapped[dict[str, Any]]
    at: Mapped[datetime]


class AlertRow(Base):
    """Something that wants attention. At most one open alert per fingerprint."""

    __tablename__ = "alerts"
    __table_args__ = (
        Index("uq_alerts_open", "fingerprint", unique=True, sqlite_where=OPEN_ALERT, postgresql_where=OPEN_ALERT),
        Index(None, "started_at"),
        Index(None, "group_key"),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    fingerprint: Mapped[str]
    name: Mapped[str]
    severity: Mapped[str]
    state: Mapped[str]
    summary: Mapped[str]
    labels: Mapped[dict[str, Any]]
    detail: Mapped[dict[str, Any]]
    started_at: Mapped[datetime]
    updated_at: Mapped[datetime]
    resolved_at: Mapped[datetime | None]
    value: Mapped[float | None]
    baseline: Mapped[float | None]
    version: Mapped[int | None] = mapped_column(BigId)
    page: Mapped[str | None]
    mend: Mapped[str | None]
    group_key: Mapped[str | None]
    fired_at: Mapped[datetime | None]
    kept_until: Mapped[datetime | None]
    acknowledged_at: Mapped[datetime | None]
    acknowledged_by: Mapped[str | None]
    last_notified_at: Mapped[datetime | None]
    num_notified: Mapped[int] = mapped_column(default=0, server_default="0")


class BaselineRow(Base):
    """What measurements are compared with."""

    __tablename__ = "baselines"
    __table_args__ = (Index(None, "name", "id"),)

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    name: Mapped[str]
    version: Mapped[int | None] = mapped_column(BigId)
    values: Mapped[dict[str, Any]]
    created_at: Mapped[datetime]
