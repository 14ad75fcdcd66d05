"""Tables of serving: what belongs to a version, trials before promotion, second answers, the keys of clients."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, Index, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from db.models.base import Base, BigId
from db.trials import MODES

RUNNING = text("is_running")


class ArtefactRow(Base):
    """Something made for a version and kept in the blob store, such as the rules by which it leaves modalities out."""

    __tablename__ = "artefacts"
    __table_args__ = (UniqueConstraint("version", "kind", "digest"), {"sqlite_autoincrement": True})

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    version: Mapped[int] = mapped_column(BigId, ForeignKey("releases.version"))
    kind: Mapped[str]
    digest: Mapped[str]
    detail: Mapped[dict[str, Any]]
    created_at: Mapped[datetime]


class TrialRow(Base):
    """A version that answers a part of the traffic, or a copy of it, before it is promoted. At most one runs."""

    __tablename__ = "trials"
    __table_args__ = (
        CheckConstraint(f"mode IN ({', '.join(repr(mode) for mode in MODES)})", name="mode"),
        CheckConstraint("share > 0 AND share <= 1", name="share"),
        Index("uq_trials_one_running", "is_running", unique=True, sqlite_where=RUNNING, postgresql_where=RUNNING),
        Index(None, "version"),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    version: Mapped[int] = mapped_column(BigId, ForeignKey("releases.version"))
    base_version: Mapped[int] = mapped_column(BigId, ForeignKey("releases.version"))
    mode: Mapped[str]
    share: Mapped[float]
    is_running: Mapped[bool]
    started_at: Mapped[datetime]
    started_by: Mapped[str]
    why: Mapped[str]
    ended_at: Mapped[datetime | None]
    ended_by: Mapped[str | None]
    outcome: Mapped[str | None]


class MirrorRow(Base):
    """What another version answered to the same request; nobody was told it."""

    __tablename__ = "mirrors"
    __table_args__ = (Index(None, "version", "at"),)

    prediction_id: Mapped[str] = mapped_column(ForeignKey("predictions.id", ondelete="CASCADE"), primary_key=True)
    version: Mapped[int] = mapped_column(BigId, ForeignKey("releases.version"), primary_key=True)
    answer: Mapped[str]
    confidence: Mapped[float | None]
    latency_s: Mapped[float | None]
    at: Mapped[datetime]


class KeyRow(Base):
    """A client's key to the service: its hash, and its first characters to know it by. The key itself is nowhere."""

    __tablename__ = "api_keys"

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    prefix: Mapped[str]
    digest: Mapped[str] = mapped_column(unique=True)
    scopes: Mapped[list[str]]
    detail: Mapped[dict[str, Any]]
    created_at: Mapped[datetime]
    created_by: Mapped[str]
    revoked_at: Mapped[datetime | None]
    revoked_by: Mapped[str | None]
