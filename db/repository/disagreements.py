"""Disagreements: somebody says that an answer is wrong. The sample is contested, and out of training, until settled."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import ColumnElement, exists, func, select, update
from sqlalchemy.orm import Session

from db.errors import IllegalMove, NotFound
from db.models import DisagreementRow, FeedbackRow, PredictionRow, SampleRow
from db.records.labelling import OUTCOMES, Claim, Disagreement
from db.repository import audit
from db.repository.common import fetch_all, fetch_one, insert_into, rows_of, write
from db.repository.labels import active_label, add_label, close_entries, hold_samples
from db.repository.tasks import check_answer, get_task

IS_OPEN = DisagreementRow.settled_at.is_(None)
MAX_CLAIMS = 20
"""Answers of the log that are looked at for one sample, the latest first."""


def is_contested() -> ColumnElement[bool]:
    """For a query of samples: whether somebody says that an answer to the sample is wrong."""
    return exists().where(DisagreementRow.sample_id == SampleRow.id, IS_OPEN)


def claims(session: Session, sample_id: str) -> list[Claim]:
    """The answers that a sample has from somewhere: the label in force, feedback, and what each version said last."""
    label = active_label(session, sample_id)
    found = [] if label is None else [Claim(against="label", answer=label.answer, by=label.origin, at=label.created_at)]
    statement = (
        select(
            PredictionRow.version,
            PredictionRow.answer,
            PredictionRow.confidence,
            PredictionRow.at,
            FeedbackRow.answer.label("told"),
            FeedbackRow.origin,
            FeedbackRow.at.label("told_at"),
        )
        .join(FeedbackRow, FeedbackRow.prediction_id == PredictionRow.id, isouter=True)
        .where(PredictionRow.sample_id == sample_id)
        .order_by(PredictionRow.at.desc())
        .limit(MAX_CLAIMS)
    )
    said: dict[tuple[str, str], Claim] = {}
    for row in session.execute(statement):
        if row.told is not None:
            told = Claim(against="feedback", answer=row.told, by=row.origin, at=row.told_at)
            said.setdefault(("feedback", row.origin), told)
        by = f"v{row.version}"
        mine = Claim(against="suggestion", answer=row.answer, by=by, at=row.at, confidence=row.confidence)
        said.setdefault(("suggestion", by), mine)
    return found + sorted(said.values(), key=lambda claim: claim.against)


def disagree(session: Session, sample_id: str, answer: str, *, claim: Claim, who: str, why: str, now: datetime) -> int:
    """Say that a claim is wrong and what is right instead; returns the disagreement's id. Nothing is overwritten.

    The sample leaves the label queue. `IllegalMove` if the claim does not stand any more, or this person has contested
    the sample already; `ValueError` for an answer that is none, or the same as the claim's; `NotFound`.
    """
    tasks = hold_samples(session, [sample_id])
    if sample_id not in tasks:
        raise NotFound(f"There is no sample {sample_id!r} to disagree about. Check its id.")
    check_answer(get_task(session, tasks[sample_id]), answer, of=f"Sample {sample_id}")
    if answer == claim.answer:
        raise ValueError(f"{answer!r} is what stands there already. Say what is right instead.")
    standing = {(each.against, each.answer, each.by) for each in claims(session, sample_id)}
    if (claim.against, claim.answer, claim.by) not in standing:
        raise IllegalMove(f"{claim.by} does not say {claim.answer!r} of sample {sample_id} any more. Look again.")
    asked_by = close_entries(session, [sample_id], now).get(sample_id)
    values = {
        "sample_id": sample_id,
        "against": claim.against,
        "claimed": claim.answer,
        "claimed_by": claim.by,
        "answer": answer,
        "who": who,
        "why": why,
        "round_id": asked_by,
        "at": now,
    }
    if not write(session, insert_into(session, DisagreementRow).on_conflict_do_nothing().values(**values)):
        raise IllegalMove(f"{who} has contested sample {sample_id} already. It waits to be settled.")
    numbers = {"against": claim.against, "claimed": claim.answer, "claimed_by": claim.by, "answer": answer}
    audit.add(
        session, who=who, action="disagree", subject="sample", subject_id=sample_id, why=why, numbers=numbers, now=now
    )
    return session.scalars(select(func.max(DisagreementRow.id)).where(DisagreementRow.sample_id == sample_id)).one()


def settle(session: Session, disagreement_id: int, outcome: str, *, who: str, why: str, now: datetime) -> Disagreement:
    """End everything that is contested about a sample. `keep` lets the contested answer stand, as a label of whoever
    settles if there is none; `replace` makes the other answer the label, in the name of whoever gave it.

    `IllegalMove` if it is settled already.
    """
    if outcome not in OUTCOMES:
        raise ValueError(f"A disagreement ends with {' or '.join(OUTCOMES)}, got {outcome!r}. Choose one.")
    found = get(session, disagreement_id)
    hold_samples(session, [found.sample_id])
    mine = (DisagreementRow.sample_id == found.sample_id, IS_OPEN)
    if not session.scalars(select(func.count()).where(*mine, DisagreementRow.id == disagreement_id)).one():
        by = get(session, disagreement_id).settled_by
        raise IllegalMove(f"This disagreement about sample {found.sample_id} was settled by {by}. Look again.")
    label = active_label(session, found.sample_id)
    if outcome == "replace":
        add_label(session, found.sample_id, found.answer, f"human:{found.who}", now=now, round_id=found.round_id)
    elif label is None:
        add_label(session, found.sample_id, found.claimed, f"human:{who}", now=now, round_id=found.round_id)
    num = write(
        session,
        update(DisagreementRow).where(*mine).values(settled_at=now, settled_by=who, outcome=outcome),
    )
    numbers = {
        "outcome": outcome,
        "claimed": found.claimed,
        "claimed_by": found.claimed_by,
        "answer": found.answer,
        "said_by": found.who,
        "num_settled": num,
    }
    audit.add(
        session,
        who=who,
        action="settle",
        subject="sample",
        subject_id=found.sample_id,
        why=why,
        numbers=numbers,
        now=now,
    )
    return get(session, disagreement_id)


def get(session: Session, disagreement_id: int) -> Disagreement:
    """The disagreement with this id; `NotFound` if there is none."""
    statement = rows_of(DisagreementRow).where(DisagreementRow.id == disagreement_id)
    found = fetch_one(session, Disagreement, statement)
    if found is None:
        raise NotFound(f"There is no disagreement {disagreement_id}. Look at those that are open.")
    return found


def list_disagreements(
    session: Session, *, is_open: bool = True, sample_ids: Sequence[str] | None = None, limit: int = 100
) -> list[Disagreement]:
    """Open ones, the oldest first, or settled ones, the latest first; of some samples if they are named."""
    statement = rows_of(DisagreementRow).where(IS_OPEN if is_open else ~IS_OPEN).limit(limit)
    if sample_ids is not None:
        statement = statement.where(DisagreementRow.sample_id.in_(sample_ids))
    order = DisagreementRow.id if is_open else DisagreementRow.id.desc()
    return fetch_all(session, Disagreement, statement.order_by(order))


def count_open(session: Session) -> int:
    """How many disagreements wait to be settled."""
    return session.scalars(select(func.count()).select_from(DisagreementRow).where(IS_OPEN)).one()
