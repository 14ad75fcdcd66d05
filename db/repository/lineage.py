"""What a version descends from, and which samples it has learnt on the way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from db.models import LabelRow, ReleaseRow, RoundSampleRow
from db.repository.common import in_chunks
from db.rounds import LEARNT, TRAINED

CHUNK_VERSIONS = 500


def ancestors(session: Session, version: int) -> list[int]:
    """The version and what it was tuned from, step by step down to the first. Empty for an unknown version."""
    return line_of(parents(session), version)


def parents(session: Session) -> dict[int, int | None]:
    """What each version was tuned from, by version; None for a first one."""
    return {v: parent for v, parent in session.execute(select(ReleaseRow.version, ReleaseRow.parent_version))}


def line_of(parent_of: Mapping[int, int | None], version: int) -> list[int]:
    """The version and its ancestors down to the first.

    >>> line_of({1: None, 2: 1, 3: 1}, 3), line_of({}, 3)
    ([3, 1], [])
    """
    line: list[int] = []
    found: int | None = version if version in parent_of else None
    while found is not None:
        line.append(found)
        found = parent_of.get(found)
    return line


def count_learnt(session: Session, versions: Sequence[int]) -> dict[int, dict[str, int]]:
    """How many samples the round of each of these versions learnt from, by role."""
    statement = (
        select(ReleaseRow.version, RoundSampleRow.role, func.count())
        .join(RoundSampleRow, RoundSampleRow.round_id == ReleaseRow.round_id)
        .where(ReleaseRow.version.in_(list(versions)), RoundSampleRow.role.in_(LEARNT))
        .group_by(ReleaseRow.version, RoundSampleRow.role)
    )
    found: dict[int, dict[str, int]] = {}
    for version, role, num in session.execute(statement):
        found.setdefault(version, {})[role] = num
    return found


def trained_on(session: Session, version: int) -> set[str]:
    """Ids of the samples that the version or one of its ancestors learnt with the label that is in force now.

    A sample whose label was changed after the last round that learnt it counts as not learnt.
    """
    learnt: set[str] = set()
    for chunk in in_chunks(ancestors(session, version), CHUNK_VERSIONS):
        statement = (
            select(RoundSampleRow.sample_id)
            .join(ReleaseRow, ReleaseRow.round_id == RoundSampleRow.round_id)
            .join(LabelRow, LabelRow.sample_id == RoundSampleRow.sample_id)
            .where(ReleaseRow.version.in_(chunk), RoundSampleRow.role.in_(TRAINED))
            .where(LabelRow.superseded_at.is_(None), LabelRow.created_at <= ReleaseRow.created_at)
        )
        learnt.update(session.scalars(statement))
    return learnt


def count_tainted(session: Session, version: int) -> int:
    """How many labels that the version's own round learnt, or repeated, are in quarantine now."""
    statement = (
        select(func.count())
        .select_from(RoundSampleRow)
        .join(ReleaseRow, ReleaseRow.round_id == RoundSampleRow.round_id)
        .join(LabelRow, LabelRow.sample_id == RoundSampleRow.sample_id)
        .where(ReleaseRow.version == version, RoundSampleRow.role.in_(LEARNT))
        .where(LabelRow.superseded_at.is_(None), LabelRow.created_at <= ReleaseRow.created_at)
        .where(LabelRow.quarantined_at.is_not(None))
    )
    return session.scalars(statement).one()
