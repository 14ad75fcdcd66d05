"""Feedback: the right answers to predictions, as they come in from outside."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import exists, select
from sqlalchemy.orm import Session

from db.errors import NotFound
from db.models import FeedbackRow, PairRow, PredictionRow
from db.records import Feedback, ScoredPrediction
from db.repository.common import fetch_one, insert_into, rows_of, table_of, write
from db.repository.predictions import OWN, as_prediction
from db.repository.tasks import check_answer, get_task


def add(session: Session, prediction_id: str, answer: str, *, origin: str, now: datetime) -> bool:
    """Say what the right answer was. The first one counts: False, and nothing changes, if there is one already.

    `NotFound` for a prediction that was never logged, `ValueError` for an answer outside the task's set.
    """
    task = session.scalars(select(PredictionRow.task).where(PredictionRow.id == prediction_id)).first()
    if task is None:
        raise NotFound(f"There is no prediction {prediction_id!r} to give feedback on. Use the id that came with it.")
    check_answer(get_task(session, task), answer, of=f"Prediction {prediction_id}")
    statement = insert_into(session, FeedbackRow).on_conflict_do_nothing()
    return write(session, statement.values(prediction_id=prediction_id, answer=answer, origin=origin, at=now)) == 1


def get(session: Session, prediction_id: str) -> Feedback | None:
    """The feedback on a prediction, or None."""
    return fetch_one(session, Feedback, rows_of(FeedbackRow).where(FeedbackRow.prediction_id == prediction_id))


def scored(
    session: Session,
    *,
    version: int | None = None,
    since: datetime | None = None,
    no_pair_of: int | None = None,
    own_only: bool = False,
    limit: int | None = None,
) -> list[ScoredPrediction]:
    """Predictions with their feedback, in the order in which the feedback came.

    Of one `version`; with feedback after the moment `since`; of stored samples that are no probation pair yet of the
    version `no_pair_of`; with `own_only`, without answers that a light model at an edge gave in the version's name.
    """
    statement = select(*_PREDICTION, *_FEEDBACK).join(FeedbackRow, FeedbackRow.prediction_id == PredictionRow.id)
    if version is not None:
        statement = statement.where(PredictionRow.version == version)
    if since is not None:
        statement = statement.where(FeedbackRow.at > since)
    if own_only:
        statement = statement.where(OWN)
    if no_pair_of is not None:
        paired = exists().where(PairRow.version == no_pair_of, PairRow.key == PredictionRow.id)
        statement = statement.where(PredictionRow.sample_id.is_not(None), ~paired)
    statement = statement.order_by(FeedbackRow.at, FeedbackRow.prediction_id).limit(limit)
    return [_scored(tuple(row)) for row in session.execute(statement)]


def newest(session: Session, *, version: int, since: datetime, limit: int) -> list[ScoredPrediction]:
    """The last `limit` predictions of a version's own whose feedback came after the moment, oldest first."""
    statement = select(*_PREDICTION, *_FEEDBACK).join(FeedbackRow, FeedbackRow.prediction_id == PredictionRow.id)
    statement = statement.where(PredictionRow.version == version, FeedbackRow.at > since, OWN)
    statement = statement.order_by(FeedbackRow.at.desc(), FeedbackRow.prediction_id.desc()).limit(limit)
    return [_scored(tuple(row)) for row in session.execute(statement)][::-1]


_PREDICTION = tuple(table_of(PredictionRow).columns)
_FEEDBACK = tuple(table_of(FeedbackRow).columns)


def _scored(row: tuple[Any, ...]) -> ScoredPrediction:
    names = [column.name for column in (*_PREDICTION, *_FEEDBACK)]
    pairs = list(zip(names, row, strict=True))
    return ScoredPrediction(
        prediction=as_prediction(dict(pairs[: len(_PREDICTION)])), feedback=Feedback(**dict(pairs[len(_PREDICTION) :]))
    )
