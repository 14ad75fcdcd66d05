"""Deleting a sample: everything that is remembered of it goes, and it is told which versions have learnt from it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from sqlalchemy import delete, func, or_, select, true
from sqlalchemy.orm import Session

from db.errors import NotFound
from db.models import (
    BlobRow,
    FaultRow,
    LabelRow,
    MirrorRow,
    PairRow,
    PredictionRow,
    ReleaseRow,
    RoundSampleRow,
    SampleRow,
)
from db.records import Deletion
from db.repository import audit, samples
from db.repository.common import MANY_IDS, hold_the_loop, in_chunks, write
from db.rounds import LEARNT


def delete_sample(session: Session, sample_id: str, *, who: str, why: str, now: datetime) -> Deletion:
    """Remove a sample with its labels, queue entries, memberships in rounds, predictions, feedback, second answers,
    probation pairs and faults. `NotFound` if there is none.

    The blobs in the result are used by no other sample: delete them from the blob store once this is committed. Weights
    do not forget: `trained_versions` learnt from it, `derived_versions` descend from those. The audit trail keeps the
    sample's id, who deleted it and why.
    """
    hold_the_loop(session)
    found = samples.get(session, [sample_id])
    if not found:
        raise NotFound(f"There is no sample {sample_id!r}. Check its id with `omniloop data show`.")
    trained, derived = carriers(session, sample_id)
    deletion = Deletion(
        sample_id=sample_id,
        blobs=unnamed(session, found[0].inputs.values(), without=[sample_id]),
        num_labels=_count(session, LabelRow, sample_id),
        num_predictions=_count(session, PredictionRow, sample_id),
        num_mirrors=_count_mirrors(session, sample_id),
        num_rounds=_count(session, RoundSampleRow, sample_id),
        trained_versions=tuple(trained),
        derived_versions=tuple(derived),
    )
    _delete_rows(session, sample_id, deletion.blobs)
    numbers = {
        "num_labels": deletion.num_labels,
        "num_predictions": deletion.num_predictions,
        "num_mirrors": deletion.num_mirrors,
        "num_blobs": len(deletion.blobs),
        "trained_versions": trained,
        "derived_versions": list(deletion.derived_versions),
    }
    audit.add(
        session, who=who, action="delete", subject="sample", subject_id=sample_id, why=why, numbers=numbers, now=now
    )
    return deletion


def carriers(session: Session, sample_id: str) -> tuple[list[int], list[int]]:
    """(versions whose own round learnt from a sample, versions that descend from those)."""
    trained = _trained_versions(session, sample_id)
    return trained, _descendants(session, trained)


def unnamed(session: Session, digests: Iterable[str], *, without: Sequence[str] = ()) -> tuple[str, ...]:
    """Those of the digests that no sample uses, apart from the samples `without`; sorted."""
    asked = sorted(set(digests))
    used = named(session, asked, without=without)
    return tuple(digest for digest in asked if digest not in used)


def named(session: Session, digests: Sequence[str], *, without: Sequence[str] = ()) -> set[str]:
    """Those of the digests that a sample uses, apart from the samples `without`. Reads every sample once: deletions are
    rare, and an index would cost each ingest.
    """
    is_postgres = session.get_bind().dialect.name == "postgresql"
    each = func.jsonb_each_text if is_postgres else func.json_each
    entry = each(SampleRow.inputs).table_valued("key", "value")
    found: set[str] = set()
    for chunk in in_chunks(digests, MANY_IDS):
        statement = select(entry.c.value).select_from(SampleRow).join(entry, true()).where(entry.c.value.in_(chunk))
        if without:
            statement = statement.where(SampleRow.id.not_in(without))
        found.update(session.scalars(statement.distinct()))
    return found


def _delete_rows(session: Session, sample_id: str, blobs: Sequence[str]) -> None:
    logged = select(PredictionRow.id).where(PredictionRow.sample_id == sample_id)
    for statement in (
        delete(PairRow).where(or_(PairRow.key == sample_id, PairRow.key.in_(logged))),
        delete(PredictionRow).where(PredictionRow.sample_id == sample_id),  # feedback and mirrors go with it
        delete(FaultRow).where(FaultRow.sample_id == sample_id),
        delete(SampleRow).where(SampleRow.id == sample_id),  # labels, queue entries, memberships go with it
        delete(BlobRow).where(BlobRow.digest.in_(blobs)),
    ):
        write(session, statement)


def _trained_versions(session: Session, sample_id: str) -> list[int]:
    statement = (
        select(ReleaseRow.version)
        .join(RoundSampleRow, RoundSampleRow.round_id == ReleaseRow.round_id)
        .where(RoundSampleRow.sample_id == sample_id, RoundSampleRow.role.in_(LEARNT))
        .order_by(ReleaseRow.version)
    )
    return list(session.scalars(statement))


def _descendants(session: Session, versions: Sequence[int]) -> list[int]:
    """Versions that descend from these, without these."""
    carriers = set(versions)
    statement = select(ReleaseRow.version, ReleaseRow.parent_version).order_by(ReleaseRow.version)
    for version, parent in session.execute(statement):  # a parent's number is below its child's
        if parent in carriers:
            carriers.add(version)
    return sorted(carriers - set(versions))


def _count(session: Session, row: type[LabelRow | PredictionRow | RoundSampleRow], sample_id: str) -> int:
    return session.scalars(select(func.count()).select_from(row).where(row.sample_id == sample_id)).one()


def _count_mirrors(session: Session, sample_id: str) -> int:
    statement = (
        select(func.count()).select_from(MirrorRow).join(PredictionRow, PredictionRow.id == MirrorRow.prediction_id)
    )
    return session.scalars(statement.where(PredictionRow.sample_id == sample_id)).one()
