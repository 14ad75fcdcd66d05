"""The label queue: who labels what. A sample is leased to one person at a time."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import exists, func, or_, select, update
from sqlalchemy.orm import Session

from db.errors import IllegalMove, NotFound
from db.models import LabelSkipRow, QueueRow, SampleRow
from db.records import Label, QueueEntry
from db.repository.common import MANY_IDS, fetch_all, fetch_one, in_chunks, insert_into, insert_new, rows_of, write
from db.repository.labels import active_label, add_label, hold_samples

LEASE_S = 900.0
"""Seconds that a sample is kept for the person who was offered it."""


def enqueue(
    session: Session,
    sample_ids: Sequence[str],
    *,
    round_id: int | None,
    now: datetime,
    priorities: Sequence[float] | None = None,
) -> int:
    """Ask for labels; returns how many samples were not waiting already. Without priorities, first come first served.

    A sample waits once, whichever round asks; a round asks for a sample once, so a repeated call changes nothing.
    """
    ranks = [0.0] * len(sample_ids) if priorities is None else list(priorities)
    if len(ranks) != len(sample_ids):
        raise ValueError(f"There are {len(sample_ids)} samples but {len(ranks)} priorities. Give one each.")
    num_new = 0
    for chunk in in_chunks(zip(sample_ids, ranks, strict=True), MANY_IDS):
        found = session.execute(select(SampleRow.id, SampleRow.task).where(SampleRow.id.in_([id_ for id_, _ in chunk])))
        tasks = {id_: task for id_, task in found}
        missing = [id_ for id_, _ in chunk if id_ not in tasks]
        if missing:
            raise NotFound(f"There are no samples {missing[:5]} to label ({len(missing)} unknown). Ingest them first.")
        rows = [
            {"sample_id": id_, "task": tasks[id_], "round_id": round_id, "priority": priority, "queued_at": now}
            for id_, priority in chunk
        ]
        num_new += insert_new(session, QueueRow, rows)
    return num_new


def next_to_label(
    session: Session,
    *,
    who: str,
    now: datetime,
    lease_s: float = LEASE_S,
    task: str | None = None,
    round_id: int | None = None,
) -> QueueEntry | None:
    """Lease the next sample to a person; None if nothing waits for them.

    Asking again before answering gives the same sample and a new lease. What they skipped is not offered again.
    """
    free = or_(QueueRow.leased_to.is_(None), QueueRow.leased_to == who, QueueRow.lease_until <= now)
    skipped = exists().where(LabelSkipRow.entry_id == QueueRow.id, LabelSkipRow.who == who)
    statement = select(QueueRow.id).where(QueueRow.done_at.is_(None), free, ~skipped)
    if task is not None:
        statement = statement.where(QueueRow.task == task)
    if round_id is not None:
        statement = statement.where(QueueRow.round_id == round_id)
    held_first = func.coalesce(QueueRow.leased_to == who, False).desc()
    statement = statement.order_by(held_first, QueueRow.priority.desc(), QueueRow.id)
    entry_id = session.scalars(statement.limit(1).with_for_update(skip_locked=True)).first()
    if entry_id is None:
        return None
    _set(session, entry_id, leased_to=who, lease_until=now + timedelta(seconds=lease_s))
    return get_entry(session, entry_id)


def give_label(session: Session, entry_id: int, answer: str, *, who: str, now: datetime) -> Label:
    """Answer a queued sample. Work is accepted after the lease ran out, too, unless somebody else has the sample now
    or has answered it (`IllegalMove`). Sending the same answer twice is one label.
    """
    hold_samples(session, [get_entry(session, entry_id).sample_id])
    entry = get_entry(session, entry_id, lock=True)
    origin = f"human:{who}"
    if entry.done_at is not None:
        label = active_label(session, entry.sample_id)
        if label is not None and (label.answer, label.origin) == (answer, origin):
            return label
        raise IllegalMove(f"Sample {entry.sample_id} has been labelled already. Ask for the next one.")
    check_free(entry, who=who, now=now)
    return add_label(session, entry.sample_id, answer, origin, now=now, round_id=entry.round_id)


def check_free(entry: QueueEntry, *, who: str, now: datetime) -> None:
    """`IllegalMove` if somebody else holds the entry now."""
    held_by_other = entry.leased_to not in (None, who) and entry.lease_until is not None and entry.lease_until > now
    if held_by_other:
        raise IllegalMove(
            f"Sample {entry.sample_id} is with {entry.leased_to} until {entry.lease_until:%H:%M:%S} UTC. "
            "Ask for the next one."
        )


def skip(session: Session, entry_id: int, *, who: str, now: datetime) -> None:
    """Pass on a sample: it goes back to the queue and is not offered to this person again."""
    entry = get_entry(session, entry_id, lock=True)
    write(
        session, insert_into(session, LabelSkipRow).on_conflict_do_nothing().values(entry_id=entry_id, who=who, at=now)
    )
    if entry.leased_to == who:
        _set(session, entry_id, leased_to=None, lease_until=None)


def get_entry(session: Session, entry_id: int, *, lock: bool = False) -> QueueEntry:
    """The entry with this id; `NotFound` if there is none."""
    statement = rows_of(QueueRow).where(QueueRow.id == entry_id)
    entry = fetch_one(session, QueueEntry, statement.with_for_update() if lock else statement)
    if entry is None:
        raise NotFound(f"There is no entry {entry_id} in the label queue. Ask for the next one.")
    return entry


def list_entries(session: Session, *, round_id: int | None = None, is_open: bool = True) -> list[QueueEntry]:
    """Entries that wait (or, with `is_open` false, that are done), in the order in which they are offered."""
    statement = rows_of(QueueRow).where(QueueRow.done_at.is_(None) if is_open else QueueRow.done_at.is_not(None))
    if round_id is not None:
        statement = statement.where(QueueRow.round_id == round_id)
    return fetch_all(session, QueueEntry, statement.order_by(QueueRow.priority.desc(), QueueRow.id))


def progress(session: Session, round_id: int) -> tuple[int, int]:
    """(num_done, num_queued) of a round."""
    statement = select(func.count(QueueRow.done_at), func.count()).where(QueueRow.round_id == round_id)
    num_done, num_queued = session.execute(statement).one()
    return num_done, num_queued


def _set(session: Session, entry_id: int, **values: Any) -> None:
    write(session, update(QueueRow).where(QueueRow.id == entry_id).values(**values))
