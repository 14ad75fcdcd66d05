"""Labels: only ever added. A later one supersedes the one in force, and the history stays."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from sqlalchemy import and_, or_, select, update
from sqlalchemy.orm import Session

from db.errors import NotFound
from db.models import LabelRow, QueueRow, ReleaseRow, RoundRow, RoundSampleRow, SampleRow
from db.records import Label, NewLabel
from db.repository.common import (
    CHUNK_ROWS,
    MANY_IDS,
    fetch_all,
    fetch_one,
    in_chunks,
    insert_into,
    insert_new,
    rows_of,
    write,
)
from db.repository.tasks import check_answer, get_task
from db.rounds import BATCH


def add_label(
    session: Session, sample_id: str, answer: str, origin: str, *, now: datetime, round_id: int | None = None
) -> Label:
    """Give a sample its answer. The label in force before is superseded; the same answer from the same origin is kept.

    Closes the sample's open entry in the label queue and, unless told otherwise, belongs to that entry's round. A label
    for a quarantined round is quarantined from the start. `NotFound` for an unknown sample, `ValueError` for an answer
    outside the task's set.
    """
    _check_answers(session, [NewLabel(sample_id=sample_id, answer=answer, origin=origin)])
    asked_by = close_entries(session, [sample_id], now).get(sample_id)
    round_id = asked_by if round_id is None else round_id
    aside = _quarantined(session, [round_id])
    old = active_label(session, sample_id)
    if old is not None and (old.answer, old.origin) == (answer, origin) and round_id in (None, old.round_id):
        return old
    if old is not None:
        write(session, update(LabelRow).where(LabelRow.id == old.id).values(superseded_at=now))
    values = _values(NewLabel(sample_id=sample_id, answer=answer, origin=origin, round_id=round_id), now)
    values["supersedes_id"] = None if old is None else old.id
    values["quarantined_at"] = now if round_id in aside else None
    write(session, insert_into(session, LabelRow).values(**values))
    label = active_label(session, sample_id)
    assert label is not None
    return label


def add_labels(session: Session, rows: Iterable[NewLabel], *, now: datetime) -> int:
    """Give answers to samples that have none; returns how many were new. A label in force is left alone, so that
    reading a manifest again never overrules a person. Otherwise as `add_label`; streams.
    """
    num_new = 0
    for chunk in in_chunks(rows, CHUNK_ROWS):
        _check_answers(session, chunk)
        rounds = close_entries(session, [row.sample_id for row in chunk], now)
        asked = [row.round_id if row.round_id is not None else rounds.get(row.sample_id) for row in chunk]
        bad = _quarantined(session, asked)
        values = [
            _values(row, now) | {"round_id": round_id, "quarantined_at": now if round_id in bad else None}
            for row, round_id in zip(chunk, asked, strict=True)
        ]
        num_new += insert_new(session, LabelRow, values)
    return num_new


def active_label(session: Session, sample_id: str) -> Label | None:
    """The label in force, quarantined or not; None if nobody has labelled the sample."""
    statement = rows_of(LabelRow).where(LabelRow.sample_id == sample_id, LabelRow.superseded_at.is_(None))
    return fetch_one(session, Label, statement)


def active_labels(session: Session, sample_ids: Sequence[str]) -> dict[str, Label]:
    """The label in force of each of these samples that has one."""
    statement = rows_of(LabelRow).where(LabelRow.superseded_at.is_(None))
    found: dict[str, Label] = {}
    for chunk in in_chunks(sample_ids, MANY_IDS):
        for label in fetch_all(session, Label, statement.where(LabelRow.sample_id.in_(chunk))):
            found[label.sample_id] = label
    return found


def label_history(session: Session, sample_id: str) -> list[Label]:
    """Every label that the sample ever had, oldest first."""
    return fetch_all(session, Label, rows_of(LabelRow).where(LabelRow.sample_id == sample_id).order_by(LabelRow.id))


def labels_of_round(session: Session, round_id: int) -> list[Label]:
    """The labels that a round asked for, superseded ones too, oldest first."""
    return fetch_all(session, Label, rows_of(LabelRow).where(LabelRow.round_id == round_id).order_by(LabelRow.id))


def set_quarantine(session: Session, round_id: int, moment: datetime | None) -> int:
    """Put all labels of a round into quarantine, or out of it with None; returns how many.

    They are the labels that it asked for, and those in force of the batch that its version learnt, whoever gave them.
    Lifting leaves alone what another quarantined round asked for.
    """
    made = select(ReleaseRow.created_at).where(ReleaseRow.round_id == round_id).scalar_subquery()
    learnt = select(RoundSampleRow.sample_id).where(RoundSampleRow.round_id == round_id, RoundSampleRow.role.in_(BATCH))
    chosen = or_(
        LabelRow.round_id == round_id,
        and_(LabelRow.sample_id.in_(learnt), LabelRow.superseded_at.is_(None), LabelRow.created_at <= made),
    )
    if moment is None:
        others = select(RoundRow.id).where(RoundRow.id != round_id, RoundRow.quarantined_at.is_not(None))
        chosen = and_(chosen, or_(LabelRow.round_id.is_(None), LabelRow.round_id.not_in(others)))
    return write(session, update(LabelRow).where(chosen).values(quarantined_at=moment))


def hold_samples(session: Session, sample_ids: Sequence[str]) -> dict[str, str]:
    """Keep others from labelling these samples until this transaction ends; returns the task of each that exists.

    Who labels takes this lock before any other, and by id, so that two who label never wait for each other in a circle.
    """
    statement = select(SampleRow.id, SampleRow.task).where(SampleRow.id.in_(sample_ids)).order_by(SampleRow.id)
    return {id_: task for id_, task in session.execute(statement.with_for_update(key_share=True))}


def _check_answers(session: Session, rows: Sequence[NewLabel]) -> None:
    tasks = hold_samples(session, [row.sample_id for row in rows])
    known = {name: get_task(session, name) for name in set(tasks.values())}
    for row in rows:
        if row.sample_id not in tasks:
            raise NotFound(f"There is no sample {row.sample_id!r} to label. Ingest it first.")
        check_answer(known[tasks[row.sample_id]], row.answer, of=f"Sample {row.sample_id}")


def close_entries(session: Session, sample_ids: Sequence[str], now: datetime) -> dict[str, int | None]:
    """Close the open queue entries of samples that get a label; returns the round that asked, by sample."""
    waiting = (QueueRow.sample_id.in_(sample_ids), QueueRow.done_at.is_(None))
    rounds = {
        id_: round_id
        for id_, round_id in session.execute(select(QueueRow.sample_id, QueueRow.round_id).where(*waiting))
    }
    if rounds:
        write(session, update(QueueRow).where(*waiting).values(done_at=now))
    return rounds


def _quarantined(session: Session, round_ids: Sequence[int | None]) -> set[int | None]:
    """Which of the rounds are in quarantine. None of them can be put there before this transaction ends."""
    wanted = {round_id for round_id in round_ids if round_id is not None}
    if not wanted:
        return set()
    statement = select(RoundRow.id, RoundRow.quarantined_at).where(RoundRow.id.in_(wanted)).order_by(RoundRow.id)
    return {id_ for id_, moment in session.execute(statement.with_for_update(read=True)) if moment is not None}


def _values(row: NewLabel, now: datetime) -> dict[str, object]:
    return {
        "sample_id": row.sample_id,
        "answer": row.answer,
        "origin": row.origin,
        "round_id": row.round_id,
        "created_at": now,
    }
