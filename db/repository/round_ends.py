"""A round that a person ends before its time: nothing of it goes into service, and nobody labels for it any more."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import delete, update
from sqlalchemy.orm import Session

from db.errors import IllegalMove
from db.models import QueueRow, RoundRow
from db.records import Round
from db.repository import audit, releases, rounds, versions
from db.repository.common import hold_the_loop, write

CANCELLED = "cancelled"
"""The outcome of a round that a person ended."""


def cancel(session: Session, round_id: int, *, who: str, why: str, now: datetime) -> Round:
    """End an open round as cancelled. `IllegalMove` if it is closed already.

    What it asked for and nobody has labelled leaves the queue; labels that were given stay and count. A candidate that
    it has made is rejected, but its labels are not to blame. The same request on the same data may open a new round.
    """
    hold_the_loop(session)
    round_ = rounds.get_round(session, round_id)
    if not round_.is_open:
        raise IllegalMove(f"Round {round_id} has ended already, as {round_.outcome}. There is nothing to cancel.")
    release = versions.release_of_round(session, round_id)
    if release is not None and release.state == "candidate":
        told = f"Round {round_id} was cancelled: {why}"
        releases.reject(session, release.version, who=who, why=told, now=now)
        good = "The round was cancelled; its labels are not to blame."
        rounds.lift_quarantine(session, round_id, who=who, why=good, now=now)
    open_entries = delete(QueueRow).where(QueueRow.round_id == round_id, QueueRow.done_at.is_(None))
    num_dropped = write(session, open_entries)
    rounds.close(session, round_id, CANCELLED, now=now)
    write(session, update(RoundRow).where(RoundRow.id == round_id).values(key=f"{round_.key}-cancelled-{round_id}"))
    audit.add(
        session,
        who=who,
        action="cancel",
        subject="round",
        subject_id=round_id,
        version=None if release is None else release.version,
        why=why,
        numbers={"step": round_.step, "num_labels_not_asked_for": num_dropped},
        now=now,
    )
    return rounds.get_round(session, round_id)


def check_open(session: Session, round_id: int) -> None:
    """`IllegalMove` if a round has ended, so that nothing more is made for it."""
    round_ = rounds.get_round(session, round_id)
    if not round_.is_open:
        raise IllegalMove(f"Round {round_id} has ended as {round_.outcome}. Nothing more is made for it.")


def who_cancelled(session: Session, round_id: int) -> str:
    """Who cancelled a round and why, as a sentence; empty if nobody did."""
    lines = audit.of_subjects(session, "round", [str(round_id)], action="cancel")
    return f"{lines[-1].who} cancelled round {round_id}: {lines[-1].why}" if lines else ""
