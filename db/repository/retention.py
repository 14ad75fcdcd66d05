"""What the log of answers has kept long enough: deleted in bounded pieces, oldest first."""

from __future__ import annotations

import re
from datetime import datetime

from sqlalchemy import delete, exists, select
from sqlalchemy.orm import Session

from db.models import (
    BlobRow,
    DisagreementRow,
    FeedbackRow,
    LabelRow,
    PredictionRow,
    QueueRow,
    RoundSampleRow,
    SampleRow,
)
from db.repository.common import write
from db.repository.deletion import unnamed

LIVE_ID = re.compile(r"live-[0-9a-f]{32}")
"""Ids of samples that live traffic brought: made of their content."""
LIVE_LIKE = "live-" + 32 * "_"


def forget_predictions(session: Session, moment: datetime, *, limit: int) -> int:
    """Delete at most `limit` answers given before the moment that nobody gave feedback to, with the second answers to
    the same requests; returns how many answers.
    """
    answered = exists().where(FeedbackRow.prediction_id == PredictionRow.id)
    oldest = (
        select(PredictionRow.id)
        .where(PredictionRow.at < moment, ~answered)
        .order_by(PredictionRow.at, PredictionRow.id)
        .limit(limit)
    )
    ids = list(session.scalars(oldest))
    return write(session, delete(PredictionRow).where(PredictionRow.id.in_(ids), ~answered)) if ids else 0


def forget_live_samples(session: Session, moment: datetime, *, limit: int) -> tuple[int, tuple[str, ...]]:
    """Delete at most `limit` samples that only live traffic brought, before the moment, and that nothing needs: never
    labelled, contested nor queued for it, in no round, and without an answer in the log.

    Returns how many, and the digests that no other sample uses: remove them from the blob store after the commit.
    """
    needed = (
        exists().where(row.sample_id == SampleRow.id)
        for row in (LabelRow, QueueRow, RoundSampleRow, PredictionRow, DisagreementRow)
    )
    idle = [~each for each in needed]
    old = (
        select(SampleRow.id, SampleRow.inputs)
        .where(SampleRow.id.like(LIVE_LIKE), SampleRow.ingested_at < moment, *idle)
        .order_by(SampleRow.id)
        .limit(limit)
    )
    found = {id_: inputs for id_, inputs in session.execute(old) if LIVE_ID.fullmatch(id_)}
    if not found:
        return 0, ()
    ids = list(found)
    digests = unnamed(session, [digest for inputs in found.values() for digest in inputs.values()], without=ids)
    num = write(session, delete(SampleRow).where(SampleRow.id.in_(ids), *idle))
    if digests:
        write(session, delete(BlobRow).where(BlobRow.digest.in_(digests)))
    return num, digests
