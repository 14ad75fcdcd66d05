"""Samples: added once, paged through, read with their labels."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Select, exists, func, select, update
from sqlalchemy.orm import Session

from db.models import DisagreementRow, LabelRow, QueueRow, RoundSampleRow, SampleRow
from db.records import Label, LabelledSample, NewSample, StoredSample
from db.repository.common import CHUNK_ROWS, MANY_IDS, fetch_all, in_chunks, insert_new, rows_of, table_of, write
from db.repository.disagreements import IS_OPEN, is_contested

ACTIVE = LabelRow.superseded_at.is_(None)


def add_samples(session: Session, rows: Iterable[NewSample], *, now: datetime) -> tuple[int, int]:
    """Add samples; returns (num_new, num_known). A known id stays as it is. Streams: any number in bounded memory.

    The tasks must be known (`put_task`). `differing` tells which known ids came with other content.
    """
    num_new = num_rows = 0
    for chunk in in_chunks(rows, CHUNK_ROWS):
        num_new += insert_new(session, SampleRow, [_columns(row, now) for row in chunk])
        num_rows += len(chunk)
    return num_new, num_rows - num_new


def differing(session: Session, rows: Sequence[NewSample]) -> list[str]:
    """Ids of the rows that are known with another task, item, split or other inputs: two samples under one id."""
    known = {sample.id: sample for sample in get(session, [row.id for row in rows])}
    return [
        row.id
        for row in rows
        if row.id in known
        and (row.task, row.item, row.split, dict(row.inputs))
        != (known[row.id].task, known[row.id].item, known[row.id].split, dict(known[row.id].inputs))
    ]


def get(session: Session, ids: Sequence[str]) -> list[StoredSample]:
    """The samples with these ids, in the order of the ids; unknown ids are left out."""
    found: dict[str, StoredSample] = {}
    for chunk in in_chunks(ids, MANY_IDS):
        for sample in fetch_all(session, StoredSample, rows_of(SampleRow).where(SampleRow.id.in_(chunk))):
            found[sample.id] = sample
    return [found[id_] for id_ in ids if id_ in found]


def pool(
    session: Session,
    *,
    split: str = "train",
    task: str | None = None,
    domain: str | None = None,
    after: str = "",
    limit: int = 1_000,
) -> list[StoredSample]:
    """One page of the unlabelled pool of a split, by id: samples without a label that nobody is asked to label yet.

    Go on with `after` = the last id of the page; an empty page is the end. A sample whose label is quarantined is not
    in the pool, nor is one that is contested.
    """
    return fetch_all(session, StoredSample, _page(_unlabelled(split, task, domain), after, limit))


def count_pool(session: Session, *, split: str = "train") -> int:
    """How many samples the unlabelled pool of a split holds."""
    return session.scalars(select(func.count()).select_from(_unlabelled(split, None, None).subquery())).one()


def labelled(
    session: Session,
    split: str,
    *,
    task: str | None = None,
    domain: str | None = None,
    round_id: int | None = None,
    include_quarantined: bool = False,
    after: str = "",
    limit: int | None = None,
) -> list[LabelledSample]:
    """Samples of a split with the label in force, by id. What is quarantined or contested only if asked for.

    `round_id` keeps the labels that this round asked for.
    """
    statement = _of_split(split, task, domain).join(LabelRow, (LabelRow.sample_id == SampleRow.id) & ACTIVE)
    statement = statement.add_columns(*table_of(LabelRow).columns)
    if round_id is not None:
        statement = statement.where(LabelRow.round_id == round_id)
    if not include_quarantined:
        aside = (LabelRow.quarantined_at.is_(None), SampleRow.quarantined_at.is_(None), ~is_contested())
        statement = statement.where(*aside)
    return [_labelled(tuple(row)) for row in session.execute(_page(statement, after, limit))]


def list_samples(
    session: Session, *, split: str | None = None, domain: str | None = None, after: str = "", limit: int = 1_000
) -> list[StoredSample]:
    """One page of all samples, by id."""
    return fetch_all(session, StoredSample, _page(_of_split(split, None, domain), after, limit))


def count_samples(session: Session) -> dict[tuple[str, str], int]:
    """How many samples there are per (split, domain)."""
    statement = select(SampleRow.split, SampleRow.domain, func.count()).group_by(SampleRow.split, SampleRow.domain)
    return {(split, domain): num for split, domain, num in session.execute(statement)}


def count_labelled_since(session: Session, since: datetime | None = None) -> int:
    """How many training samples got a label in force after the moment; all of them for None."""
    statement = (
        select(func.count())
        .select_from(LabelRow)
        .join(SampleRow, SampleRow.id == LabelRow.sample_id)
        .where(ACTIVE, LabelRow.quarantined_at.is_(None), SampleRow.split == "train", ~is_contested())
    )
    if since is not None:
        statement = statement.where(LabelRow.created_at > since)
    return session.scalars(statement).one()


def fingerprint(session: Session) -> tuple[int, ...]:
    """Changes when what can be learnt does: (samples, samples in quarantine, newest label, labels in quarantine, labels
    that are not in force, samples that are contested).
    """
    num_samples, num_aside = session.execute(select(func.count(), func.count(SampleRow.quarantined_at))).one()
    newest, *num_labels = session.execute(
        select(
            func.coalesce(func.max(LabelRow.id), 0),
            func.count(LabelRow.quarantined_at),
            func.count(LabelRow.superseded_at),
        )
    ).one()
    contested = select(func.count(DisagreementRow.sample_id.distinct())).where(IS_OPEN)
    return (num_samples, num_aside, newest, *num_labels, session.scalars(contested).one())


def rounds_of(session: Session, sample_id: str) -> list[int]:
    """Ids of the rounds that the sample was a member of."""
    return list(
        session.scalars(
            select(RoundSampleRow.round_id)
            .where(RoundSampleRow.sample_id == sample_id)
            .order_by(RoundSampleRow.round_id)
        )
    )


def quarantine_samples(session: Session, ids: Sequence[str], *, now: datetime) -> int:
    """Keep samples out of pool and training; returns how many were not in quarantine before."""
    return sum(
        write(
            session,
            update(SampleRow)
            .where(SampleRow.id.in_(chunk), SampleRow.quarantined_at.is_(None))
            .values(quarantined_at=now),
        )
        for chunk in in_chunks(ids, MANY_IDS)
    )


def _unlabelled(split: str, task: str | None, domain: str | None) -> Select[Any]:
    labelled_ = exists().where(LabelRow.sample_id == SampleRow.id, ACTIVE)
    queued = exists().where(QueueRow.sample_id == SampleRow.id, QueueRow.done_at.is_(None))
    return _of_split(split, task, domain).where(
        SampleRow.quarantined_at.is_(None), ~labelled_, ~queued, ~is_contested()
    )


def _of_split(split: str | None, task: str | None, domain: str | None) -> Select[Any]:
    statement = rows_of(SampleRow)
    if split is not None:
        statement = statement.where(SampleRow.split == split)
    if task is not None:
        statement = statement.where(SampleRow.task == task)
    if domain is not None:
        statement = statement.where(SampleRow.domain == domain)
    return statement


def _page(statement: Select[Any], after: str, limit: int | None) -> Select[Any]:
    if after:
        statement = statement.where(SampleRow.id > after)
    return statement.order_by(SampleRow.id).limit(limit)


def _columns(row: NewSample, now: datetime) -> dict[str, Any]:
    return {
        "id": row.id,
        "task": row.task,
        "instruction": row.instruction,
        "item": row.item,
        "source": row.source,
        "domain": row.domain,
        "split": row.split,
        "time": row.time,
        "inputs": dict(row.inputs),
        "ingested_at": now,
    }


_SAMPLE_FIELDS = [column.name for column in table_of(SampleRow).columns]
_LABEL_FIELDS = [column.name for column in table_of(LabelRow).columns]


def _labelled(row: tuple[Any, ...]) -> LabelledSample:
    width = len(_SAMPLE_FIELDS)
    return LabelledSample(
        sample=StoredSample(**dict(zip(_SAMPLE_FIELDS, row[:width], strict=True))),
        label=Label(**dict(zip(_LABEL_FIELDS, row[width:], strict=True))),
    )
