"""What a list of rounds shows beside each: its labels, its version, and who asked for it. One query each."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from db.models import QueueRow, ReleaseRow
from db.records import Measurement, Release
from db.repository import measurements
from db.repository.common import fetch_all, rows_of

CURVES = ("training_loss", "validation_loss", "validation_accuracy")
"""What a training writes down by epoch."""


def labels_of(session: Session, round_ids: Sequence[int]) -> dict[int, tuple[int, int]]:
    """(num_done, num_asked) of each of these rounds that asked for labels."""
    counts = select(QueueRow.round_id, func.count(QueueRow.done_at), func.count())
    statement = counts.where(QueueRow.round_id.in_(list(round_ids))).group_by(QueueRow.round_id)
    return {round_id: (num_done, num) for round_id, num_done, num in session.execute(statement)}


def releases_of(session: Session, round_ids: Sequence[int]) -> dict[int, Release]:
    """The version that each of these rounds made, by round."""
    found = fetch_all(session, Release, rows_of(ReleaseRow).where(ReleaseRow.round_id.in_(list(round_ids))))
    return {release.round_id: release for release in found if release.round_id is not None}


def curve(session: Session, round_id: int, metric: str) -> list[Measurement]:
    """What the training of a round has told of one of `CURVES` so far, by epoch; of its latest training, if it was
    begun anew, and of each epoch the latest, if it was taken up again.
    """
    found = measurements.series(session, metric, slice_=f"round={round_id}")
    by_epoch = {
        row.detail["epoch"]: row for row in found if row.detail.get("training") == found[-1].detail.get("training")
    }
    return [by_epoch[epoch] for epoch in sorted(by_epoch)]
