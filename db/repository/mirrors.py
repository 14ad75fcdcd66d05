"""What other versions answered to requests that somebody else was told the answer to, and what comes of it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Select, and_, case, delete, exists, func, or_, select
from sqlalchemy.orm import Session

from db.models import FeedbackRow, MirrorRow, PairRow, PredictionRow
from db.records import Agreement, NewMirror, NewPair
from db.repository import probation, versions
from db.repository.common import MANY_IDS, in_chunks, insert_new, write


def log(session: Session, rows: Sequence[NewMirror], *, now: datetime) -> list[NewMirror]:
    """Write second answers down, each once; returns those whose prediction is not in the log, which are left out."""
    known: set[str] = set()
    for chunk in in_chunks((row.prediction_id for row in rows), MANY_IDS):
        known.update(session.scalars(select(PredictionRow.id).where(PredictionRow.id.in_(chunk))))
    insert_new(session, MirrorRow, (_columns(row, now) for row in rows if row.prediction_id in known))
    return [row for row in rows if row.prediction_id not in known]


def pairs(session: Session, new: int, old: int) -> list[NewPair]:
    """Requests with feedback that both versions answered, one told and one mirrored, and that are no pair of the new
    one yet; in the order in which the feedback came.
    """
    paired = exists().where(PairRow.version == new, PairRow.key == PredictionRow.id)
    statement = (
        select(PredictionRow.id, PredictionRow.version, PredictionRow.answer, MirrorRow.answer, FeedbackRow.answer)
        .join(MirrorRow, MirrorRow.prediction_id == PredictionRow.id)
        .join(FeedbackRow, FeedbackRow.prediction_id == PredictionRow.id)
        .where(_between(new, old), ~paired)
        .order_by(FeedbackRow.at, FeedbackRow.prediction_id)
    )
    found = []
    for id_, version, told, mirrored, right in session.execute(statement):
        by_new, by_old = (told, mirrored) if version == new else (mirrored, told)
        found.append(NewPair(key=id_, new_correct=by_new == right, old_correct=by_old == right))
    return found


def agreement(session: Session, new: int, old: int, *, since: datetime | None = None) -> Agreement:
    """How often both versions gave the same answer to the same request, and how long each took, without feedback."""
    is_same = case((PredictionRow.answer == MirrorRow.answer, 1), else_=0)
    by_new = PredictionRow.version == new
    taken_new = case((by_new, PredictionRow.latency_s), else_=MirrorRow.latency_s)
    taken_old = case((by_new, MirrorRow.latency_s), else_=PredictionRow.latency_s)
    statement: Select[Any] = (
        select(func.count(), func.coalesce(func.sum(is_same), 0), func.avg(taken_new), func.avg(taken_old))
        .select_from(MirrorRow)
        .join(PredictionRow, PredictionRow.id == MirrorRow.prediction_id)
        .where(_between(new, old))
    )
    if since is not None:
        statement = statement.where(MirrorRow.at >= since)
    num_both, num_same, new_s, old_s = session.execute(statement).one()
    return Agreement(num_both=num_both, num_same=int(num_same), new_latency_s=new_s, old_latency_s=old_s)


def unscored(session: Session, version: int) -> set[str]:
    """Ids of the version's predictions, and keys of its second answers, that have feedback and are no pair yet."""
    mirrored = pairs(session, version, versions.serving(session).previous_version or 0)
    return {entry.prediction.id for entry in probation.unscored(session, version)} | {pair.key for pair in mirrored}


def forget_pairs(session: Session, version: int) -> int:
    """Remove the pairs of a version, which compare it with another one than what it is to be compared with now."""
    return write(session, delete(PairRow).where(PairRow.version == version))


def _between(new: int, old: int) -> Any:
    """Told by one of the two versions and mirrored by the other."""
    return or_(
        and_(PredictionRow.version == new, MirrorRow.version == old),
        and_(PredictionRow.version == old, MirrorRow.version == new),
    )


def _columns(row: NewMirror, now: datetime) -> dict[str, Any]:
    return {
        "prediction_id": row.prediction_id,
        "version": row.version,
        "answer": row.answer,
        "confidence": row.confidence,
        "latency_s": row.latency_s,
        "at": now,
    }
