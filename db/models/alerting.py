"""Tables of alerting: where each rule stands, silences, what was told to whom, and the reports behind it."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column

from db.models.base import Base, BigId, Json


class RuleStateRow(Base):
    """Where one rule stands on one set of labels, as the state machine left it at the last evaluation."""

    __tablename__ = "rule_states"
    __table_args__ = (Index(None, "rule"), Index(None, "state"))

    fingerprint: Mapped[str] = mapped_column(primary_key=True)
    rule: Mapped[str]
    labels: Mapped[dict[str, Any]]
    state: Mapped[str]
    memory: Mapped[dict[str, Any]]
    since: Mapped[datetime]
    updated_at: Mapped[datetime]


class SilenceRow(Base):
    """Nobody is told of alerts that match, for a time. It has an owner, a reason and an end."""

    __tablename__ = "silences"
    __table_args__ = (
        CheckConstraint("ends_at > starts_at", name="ends_later"),
        Index(None, "ends_at"),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    matchers: Mapped[list[Any]] = mapped_column(Json)
    owner: Mapped[str]
    why: Mapped[str]
    starts_at: Mapped[datetime]
    ends_at: Mapped[datetime]
    created_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]
    ended_by: Mapped[str | None]


class NotificationRow(Base):
    """What one receiver was told about one group of alerts; its message in the outbox has the same key."""

    __tablename__ = "notifications"
    __table_args__ = (Index(None, "group_key", "receiver", "id"), Index(None, "created_at"))

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    key: Mapped[str] = mapped_column(unique=True)
    group_key: Mapped[str]
    receiver: Mapped[str]
    reason: Mapped[str]
    firing: Mapped[list[str]]
    resolved: Mapped[list[str]]
    created_at: Mapped[datetime]
    delivered_at: Mapped[datetime | None]


class ReportRow(Base):
    """A drift or quality report: its snapshot lies in the blob store, its pages are made when somebody looks."""

    __tablename__ = "reports"
    __table_args__ = (Index(None, "version", "id"), Index(None, "round_id"), {"sqlite_autoincrement": True})

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    key: Mapped[str] = mapped_column(unique=True)
    kind: Mapped[str]
    version: Mapped[int | None] = mapped_column(BigId, ForeignKey("releases.version"))
    round_id: Mapped[int | None] = mapped_column(BigId, ForeignKey("rounds.id"))
    starts_at: Mapped[datetime | None]
    ends_at: Mapped[datetime | None]
    num_rows: Mapped[int] = mapped_column(BigId)
    num_reference: Mapped[int] = mapped_column(BigId)
    digest: Mapped[str]
    numbers: Mapped[dict[str, Any]]
    created_at: Mapped[datetime]
