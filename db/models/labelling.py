"""The table of what people say against a label, somebody's feedback, or the model's suggestion."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKey, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from db.models.base import Base, BigId, BinaryText

UNSETTLED = text("settled_at IS NULL")


class DisagreementRow(Base):
    """Somebody says that an answer is wrong. The sample is contested as long as one of its rows is not settled."""

    __tablename__ = "disagreements"
    __table_args__ = (
        CheckConstraint("against IN ('label', 'feedback', 'suggestion')", name="against"),
        CheckConstraint("outcome IN ('keep', 'replace')", name="outcome"),
        Index(
            "uq_disagreements_open",
            "sample_id",
            "who",
            unique=True,
            sqlite_where=UNSETTLED,
            postgresql_where=UNSETTLED,
        ),
        Index(None, "sample_id"),
        Index(None, "settled_at", "id"),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    sample_id: Mapped[str] = mapped_column(BinaryText, ForeignKey("samples.id", ondelete="CASCADE"))
    against: Mapped[str]
    claimed: Mapped[str]
    claimed_by: Mapped[str]
    answer: Mapped[str]
    who: Mapped[str]
    why: Mapped[str]
    round_id: Mapped[int | None] = mapped_column(BigId, ForeignKey("rounds.id"))
    at: Mapped[datetime]
    settled_at: Mapped[datetime | None]
    settled_by: Mapped[str | None]
    outcome: Mapped[str | None]
