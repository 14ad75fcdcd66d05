"""The log of what versions answered."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from sqlalchemy import delete, exists, select
from sqlalchemy.orm import Session

from db.models import FeedbackRow, PredictionRow
from db.records import NewPrediction, Prediction
from db.repository.common import insert_new, rows_of, write

OWN = PredictionRow.detail["edge"]["id"].as_string().is_(None)
"""Answers of the version itself."""


def log(session: Session, rows: Iterable[NewPrediction], *, now: datetime) -> int:
    """Write answers down; returns how many were new. A known id stays as it is, so a retry logs nothing twice."""
    return insert_new(session, PredictionRow, (_columns(row, now) for row in rows))


def get(session: Session, prediction_id: str) -> Prediction | None:
    """The answer with this id, or None."""
    row = session.execute(rows_of(PredictionRow).where(PredictionRow.id == prediction_id)).mappings().first()
    return None if row is None else as_prediction(dict(row))


def between(
    session: Session,
    start: datetime,
    end: datetime,
    *,
    version: int | None = None,
    limit: int | None = None,
    own_only: bool = False,
) -> list[Prediction]:
    """Answers given from `start` up to but not at `end`, oldest first; of one version, if one is named.

    With `own_only`, without those that a light model at an edge gave in the version's name.
    """
    statement = rows_of(PredictionRow).where(PredictionRow.at >= start, PredictionRow.at < end)
    if own_only:
        statement = statement.where(OWN)
    if version is not None:
        statement = statement.where(PredictionRow.version == version)
    statement = statement.order_by(PredictionRow.at, PredictionRow.id).limit(limit)
    return [as_prediction(dict(row)) for row in session.execute(statement).mappings()]


def newest(session: Session, start: datetime, end: datetime, *, version: int, limit: int) -> list[Prediction]:
    """The last `limit` answers of a version's own given from `start` up to but not at `end`, oldest first."""
    statement = rows_of(PredictionRow).where(
        PredictionRow.version == version, PredictionRow.at >= start, PredictionRow.at < end, OWN
    )
    statement = statement.order_by(PredictionRow.at.desc(), PredictionRow.id.desc()).limit(limit)
    return [as_prediction(dict(row)) for row in session.execute(statement).mappings()][::-1]


def forget_before(session: Session, moment: datetime) -> int:
    """Delete answers given before the moment that nobody gave feedback to; returns how many. Keeps the log bounded."""
    answered = exists(select(FeedbackRow.prediction_id).where(FeedbackRow.prediction_id == PredictionRow.id))
    statement = delete(PredictionRow).where(PredictionRow.at < moment, ~answered)
    return write(session, statement)


def as_prediction(row: dict[str, Any]) -> Prediction:
    """A row of the table as a record."""
    return Prediction(**{**row, "modalities": tuple(row["modalities"])})


def _columns(row: NewPrediction, now: datetime) -> dict[str, Any]:
    return {
        "id": row.id,
        "version": row.version,
        "task": row.task,
        "answer": row.answer,
        "confidence": row.confidence,
        "sample_id": row.sample_id,
        "domain": row.domain,
        "modalities": list(row.modalities),
        "latency_s": row.latency_s,
        "detail": dict(row.detail),
        "at": now,
    }
