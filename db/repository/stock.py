"""What there is: samples by where they come from, what is set aside and why, and one sample's whole story."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import func, or_, select, update
from sqlalchemy.orm import Session

from db.errors import IllegalMove, NotFound
from db.models import FaultRow, LabelRow, PredictionRow, ReleaseRow, RoundRow, RoundSampleRow, SampleRow
from db.records import Prediction, StoredSample
from db.records.stock import Membership, QuarantinedRound, SourceCount
from db.repository import audit
from db.repository.common import fetch_all, rows_of, write
from db.repository.predictions import as_prediction
from db.rounds import BATCH

LAST = "\U0010ffff"
"""Sorts after every id that begins alike."""


def by_source(session: Session, *, limit: int = 200) -> list[SourceCount]:
    """How many samples each source and domain has, by split; the largest first."""
    columns = (
        SampleRow.source,
        SampleRow.domain,
        *(func.count().filter(SampleRow.split == split).label(f"num_{split}") for split in ("train", "val", "test")),
        func.count(SampleRow.quarantined_at).label("num_aside"),
        func.max(SampleRow.ingested_at).label("latest_at"),
    )
    statement = select(*columns).group_by(SampleRow.source, SampleRow.domain)
    order = (func.count().desc(), SampleRow.source, SampleRow.domain)
    return fetch_all(session, SourceCount, statement.order_by(*order).limit(limit))


def search(
    session: Session,
    *,
    id_: str = "",
    domain: str = "",
    task: str = "",
    split: str = "",
    after: str = "",
    limit: int = 50,
) -> list[StoredSample]:
    """Samples whose id begins like `id_`, of one domain, task or split if named, by id from the one after `after`."""
    statement = rows_of(SampleRow).order_by(SampleRow.id).limit(limit)
    if id_:
        statement = statement.where(SampleRow.id >= id_, SampleRow.id < id_ + LAST)
    for column, value in ((SampleRow.domain, domain), (SampleRow.task, task), (SampleRow.split, split)):
        if value:
            statement = statement.where(column == value)
    return fetch_all(session, StoredSample, statement.where(SampleRow.id > after) if after else statement)


def quarantined_rounds(session: Session, *, limit: int = 50) -> list[QuarantinedRound]:
    """Rounds in quarantine with their reason, their version, and how many labels are set aside with them; the latest
    first.
    """
    is_mine = or_(LabelRow.round_id == RoundSampleRow.round_id, RoundSampleRow.role.in_(BATCH))
    aside = (
        select(RoundSampleRow.round_id, func.count(LabelRow.id.distinct()).label("num_labels"))
        .join(LabelRow, LabelRow.sample_id == RoundSampleRow.sample_id)
        .where(LabelRow.quarantined_at.is_not(None), is_mine)
        .group_by(RoundSampleRow.round_id)
        .subquery()
    )
    statement = (
        select(
            RoundRow.id,
            RoundRow.quarantined_at,
            RoundRow.quarantine_reason.label("reason"),
            ReleaseRow.version,
            func.coalesce(aside.c.num_labels, 0).label("num_labels"),
        )
        .join(ReleaseRow, ReleaseRow.round_id == RoundRow.id, isouter=True)
        .join(aside, aside.c.round_id == RoundRow.id, isouter=True)
        .where(RoundRow.quarantined_at.is_not(None))
    )
    return fetch_all(session, QuarantinedRound, statement.order_by(RoundRow.id.desc()).limit(limit))


def quarantined_samples(session: Session, *, limit: int = 50) -> list[StoredSample]:
    """Samples that were set aside on their own, the latest first."""
    statement = rows_of(SampleRow).where(SampleRow.quarantined_at.is_not(None))
    return fetch_all(session, StoredSample, statement.order_by(SampleRow.quarantined_at.desc()).limit(limit))


def reasons(session: Session, sample_ids: Sequence[str]) -> dict[str, str]:
    """Why each of these samples was set aside, as the audit trail says; left out if it does not."""
    lines = audit.of_subjects(session, "sample", sample_ids, action="quarantine")
    return {line.subject_id: line.why for line in lines}


def set_aside(session: Session, sample_id: str, *, who: str, why: str, now: datetime) -> None:
    """Keep a sample out of pool, training and comparison. `IllegalMove` if it is set aside already, `NotFound`."""
    _move(session, sample_id, to=now, who=who, why=why, now=now)


def take_back(session: Session, sample_id: str, *, who: str, why: str, now: datetime) -> None:
    """Use a sample again that was set aside. `IllegalMove` if it is not, `NotFound`."""
    _move(session, sample_id, to=None, who=who, why=why, now=now)


def memberships(session: Session, sample_id: str, *, limit: int = 100) -> list[Membership]:
    """The rounds that a sample was in, as what, and the version that came of each; the latest first."""
    columns = (
        RoundSampleRow.round_id,
        RoundSampleRow.role,
        RoundSampleRow.score,
        RoundSampleRow.rank,
        RoundRow.opened_at,
        ReleaseRow.version,
        ReleaseRow.state,
    )
    statement = (
        select(*columns)
        .join(RoundRow, RoundRow.id == RoundSampleRow.round_id)
        .join(ReleaseRow, ReleaseRow.round_id == RoundSampleRow.round_id, isouter=True)
        .where(RoundSampleRow.sample_id == sample_id)
    )
    return fetch_all(session, Membership, statement.order_by(RoundSampleRow.round_id.desc()).limit(limit))


def predictions_of(session: Session, sample_id: str, *, limit: int = 20) -> list[Prediction]:
    """What was answered to a sample, the latest first."""
    statement = rows_of(PredictionRow).where(PredictionRow.sample_id == sample_id)
    statement = statement.order_by(PredictionRow.at.desc(), PredictionRow.id.desc()).limit(limit)
    return [as_prediction(dict(row)) for row in session.execute(statement).mappings()]


def count_faults(session: Session) -> int:
    """How many rows of manifests could not be read."""
    return session.scalars(select(func.count()).select_from(FaultRow)).one()


def _move(session: Session, sample_id: str, *, to: datetime | None, who: str, why: str, now: datetime) -> None:
    found = session.execute(select(SampleRow.quarantined_at).where(SampleRow.id == sample_id).with_for_update()).first()
    if found is None:
        raise NotFound(f"There is no sample {sample_id!r}. Check its id.")
    if (found[0] is None) == (to is None):
        raise IllegalMove(f"Sample {sample_id} is {'not ' if to is None else ''}set aside already. Look again.")
    write(session, update(SampleRow).where(SampleRow.id == sample_id).values(quarantined_at=to))
    action = "lift_quarantine" if to is None else "quarantine"
    audit.add(session, who=who, action=action, subject="sample", subject_id=sample_id, why=why, now=now)
