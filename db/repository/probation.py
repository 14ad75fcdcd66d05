"""The pairs that a probation is judged by: one sample, answered by the version on probation and by the one before."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import Integer, cast, func, select
from sqlalchemy.orm import Session

from db.models import PairRow
from db.records import NewPair, ProbationPair, ScoredPrediction
from db.repository.common import fetch_all, insert_new, rows_of
from db.repository.feedback import scored


def add_pairs(session: Session, version: int, rows: Iterable[NewPair], *, now: datetime) -> int:
    """Keep pairs of a version; returns how many were new. A key counts once per version, with what came first."""
    return insert_new(
        session,
        PairRow,
        (
            {
                "version": version,
                "key": row.key,
                "new_correct": row.new_correct,
                "old_correct": row.old_correct,
                "at": now,
            }
            for row in rows
        ),
    )


def pairs(session: Session, version: int, *, after: int = 0) -> list[ProbationPair]:
    """The pairs of a version in the order in which they came, from the one after id `after`."""
    statement = rows_of(PairRow).where(PairRow.version == version, PairRow.id > after).order_by(PairRow.id)
    return fetch_all(session, ProbationPair, statement)


def unscored(session: Session, version: int, *, limit: int | None = None) -> list[ScoredPrediction]:
    """Answers of the version to stored samples that have feedback but are no pair yet, by the order of the feedback."""
    return scored(session, version=version, no_pair_of=version, limit=limit)


def count_pairs(session: Session, version: int) -> tuple[int, int, int]:
    """(num_pairs, num_new_correct, num_old_correct) of a version."""
    right = (func.coalesce(func.sum(cast(column, Integer)), 0) for column in (PairRow.new_correct, PairRow.old_correct))
    num_pairs, num_new, num_old = session.execute(
        select(func.count(), *right).select_from(PairRow).where(PairRow.version == version)
    ).one()
    return num_pairs, num_new, num_old
