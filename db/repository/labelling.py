"""What a person does at the label queue: answers, takes back, and how far everybody is."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import and_, case, func, select, update
from sqlalchemy.orm import Session

from db.errors import IllegalMove
from db.models import LabelRow, QueueRow, ReleaseRow, RoundRow, RoundSampleRow
from db.records import Label, QueueEntry
from db.records.labelling import Claim, LabellerTally, QueueProgress
from db.records.loop import Json
from db.repository import audit
from db.repository.common import fetch_all, fetch_one, rows_of, write
from db.repository.disagreements import disagree
from db.repository.label_queue import LEASE_S, check_free, get_entry, give_label
from db.repository.labels import active_label, close_entries, hold_samples
from db.rounds import LEARNT

HUMAN = "human:"
OPEN_STEPS = ("opened", "filtered")
"""Steps after which a round still waits for labels; later its model is being trained."""
AGAINST_ASKED = "the queue asked again, and the answer differs"


def answer_entry(session: Session, entry_id: int, answer: str, *, who: str, now: datetime) -> str:
    """Answer a queued sample as a person; returns what came of it: `labelled`, `confirmed` or `contested`.

    A label of somebody else is never overwritten: the same answer confirms it, another is recorded as a disagreement.
    Errors as in `label_queue.give_label`.
    """
    sample_id = get_entry(session, entry_id).sample_id
    hold_samples(session, [sample_id])
    entry, label = get_entry(session, entry_id, lock=True), active_label(session, sample_id)
    if entry.done_at is not None or label is None or label.origin == f"{HUMAN}{who}":
        given = give_label(session, entry_id, answer, who=who, now=now)
        if entry.done_at is None:
            numbers: dict[str, object] = {"answer": answer, "label": given.id, "round": given.round_id}
            _note(session, "label", sample_id, numbers, who=who, now=now)
        return "labelled"
    check_free(entry, who=who, now=now)
    if label.answer == answer:
        close_entries(session, [sample_id], now)
        _note(session, "confirm", sample_id, {"answer": answer, "label": label.id}, who=who, now=now)
        return "confirmed"
    claim = Claim(against="label", answer=label.answer, by=label.origin, at=label.created_at)
    disagree(session, sample_id, answer, claim=claim, who=who, why=AGAINST_ASKED, now=now)
    return "contested"


def last_own(session: Session, who: str, *, since: datetime | None = None) -> Label | None:
    """The latest label in force that this person gave; None if there is none."""
    mine = rows_of(LabelRow).where(LabelRow.origin == f"{HUMAN}{who}", LabelRow.superseded_at.is_(None))
    if since is not None:
        mine = mine.where(LabelRow.created_at >= since)
    return fetch_one(session, Label, mine.order_by(LabelRow.id.desc()))


def undo_last(
    session: Session, *, who: str, now: datetime, expected: int | None = None, lease_s: float = LEASE_S
) -> Label:
    """Take back one's own latest label; the sample waits again, held by the same person. The history keeps the label.

    `IllegalMove` if there is none, if it is not the one that was `expected`, if it was not asked for by the queue, or
    if its round has gone on: what was learnt is not taken back, it is contested.
    """
    label = last_own(session, who)
    if label is None:
        raise IllegalMove(f"{who} has no label in force to take back.")
    hold_samples(session, [label.sample_id])
    now_in_force = active_label(session, label.sample_id)
    if now_in_force != label or expected not in (None, label.id):
        raise IllegalMove("This is not your last label any more. Look again.")
    entry = fetch_one(
        session,
        QueueEntry,
        rows_of(QueueRow).where(QueueRow.sample_id == label.sample_id, QueueRow.done_at == label.created_at),
    )
    if entry is None or label.supersedes_id is not None:
        raise IllegalMove(
            f"The label {label.answer!r} of sample {label.sample_id} did not answer a question of the queue, so it "
            "cannot be taken back. Disagree with it instead."
        )
    if reason := why_learnt(session, label, lock=True):
        raise IllegalMove(reason)
    write(session, update(LabelRow).where(LabelRow.id == label.id).values(superseded_at=now))
    lease = {"leased_to": who, "lease_until": now + timedelta(seconds=lease_s)}
    write(session, update(QueueRow).where(QueueRow.id == entry.id).values(done_at=None, **lease))
    _note(session, "undo", label.sample_id, {"answer": label.answer, "label": label.id}, who=who, now=now)
    return label


def progress_by_task(session: Session, *, now: datetime, limit: int = 50) -> list[QueueProgress]:
    """How far each round's queue is, by task; the latest rounds first, what no round asked for last."""
    leased = and_(QueueRow.done_at.is_(None), QueueRow.leased_to.is_not(None), QueueRow.lease_until > now)
    columns = (
        QueueRow.round_id,
        QueueRow.task,
        func.count().label("num_queued"),
        func.count(QueueRow.done_at).label("num_done"),
        func.count(case((leased, 1))).label("num_leased"),
    )
    statement = select(*columns).group_by(QueueRow.round_id, QueueRow.task)
    order = (func.coalesce(QueueRow.round_id, 0).desc(), QueueRow.task)
    return fetch_all(session, QueueProgress, statement.order_by(*order).limit(limit))


def held_now(session: Session, *, now: datetime, limit: int = 100) -> list[QueueEntry]:
    """What somebody holds at this moment, by person."""
    held = (QueueRow.done_at.is_(None), QueueRow.leased_to.is_not(None), QueueRow.lease_until > now)
    return fetch_all(session, QueueEntry, rows_of(QueueRow).where(*held).order_by(QueueRow.leased_to).limit(limit))


def tallies(session: Session, *, since: datetime, limit: int = 50) -> list[LabellerTally]:
    """Who labelled how many that are in force, the busiest first; people alone."""
    recent = case((LabelRow.created_at >= since, 1))
    columns = (
        LabelRow.origin,
        func.count().label("num_labels"),
        func.count(recent).label("num_since"),
        func.max(LabelRow.created_at).label("last_at"),
    )
    people = (LabelRow.origin.startswith(HUMAN, autoescape=True), LabelRow.superseded_at.is_(None))
    statement = select(*columns).where(*people).group_by(LabelRow.origin)
    return fetch_all(session, LabellerTally, statement.order_by(func.count().desc()).limit(limit))


def count_own(session: Session, who: str, *, since: datetime) -> int:
    """How many labels in force this person has given since the moment."""
    mine = (LabelRow.origin == f"{HUMAN}{who}", LabelRow.created_at >= since, LabelRow.superseded_at.is_(None))
    return session.scalars(select(func.count()).select_from(LabelRow).where(*mine)).one()


def count_queue(session: Session, *, task: str | None = None, round_id: int | None = None) -> tuple[int, int]:
    """(num_done, num_queued), of one task or round if one is named."""
    statement = select(func.count(QueueRow.done_at), func.count()).select_from(QueueRow)
    if task is not None:
        statement = statement.where(QueueRow.task == task)
    if round_id is not None:
        statement = statement.where(QueueRow.round_id == round_id)
    num_done, num_queued = session.execute(statement).one()
    return num_done, num_queued


def why_learnt(session: Session, label: Label, *, lock: bool = False) -> str:
    """Why a label cannot be taken back: a model has learnt it, or is learning it now. Empty if it can.

    With `lock`, its round cannot go on before this transaction ends.
    """
    mend = "Disagree with it instead of undoing it."
    if label.round_id is not None:
        statement = select(RoundRow.step, RoundRow.closed_at).where(RoundRow.id == label.round_id)
        step, closed_at = session.execute(statement.with_for_update(read=True) if lock else statement).one()
        if step not in OPEN_STEPS or closed_at is not None:
            return f"Round {label.round_id} has gone on to train with this label. {mend}"
    learnt = (
        select(ReleaseRow.version)
        .join(RoundSampleRow, RoundSampleRow.round_id == ReleaseRow.round_id)
        .where(RoundSampleRow.sample_id == label.sample_id, RoundSampleRow.role.in_(LEARNT))
        .where(ReleaseRow.created_at >= label.created_at)
    )
    training = select(RoundRow.id).where(RoundRow.is_open, RoundRow.step.not_in(OPEN_STEPS))
    if session.scalars(learnt.limit(1)).first() is not None:
        return f"A version has learnt this label. {mend}"
    return f"A round is being trained, perhaps with this label. {mend}" if session.scalars(training).first() else ""


def _note(session: Session, action: str, sample_id: str, numbers: Json, *, who: str, now: datetime) -> None:
    audit.add(session, who=who, action=action, subject="sample", subject_id=sample_id, numbers=numbers, now=now)
