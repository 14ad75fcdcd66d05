"""How a trial ends: by its own verdict, by a person, or because something else is in service."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import exists, select, update
from sqlalchemy.orm import Session

from db.models import TrialRow
from db.records import Trial
from db.records.loop import Json
from db.repository import audit, outbox
from db.repository.common import fetch_one, rows_of, write
from db.repository.mirrors import forget_pairs


def running(session: Session) -> Trial | None:
    """The trial that runs now, if one does."""
    return fetch_one(session, Trial, rows_of(TrialRow).where(TrialRow.is_running))


def end_any(
    session: Session, outcome: str, *, who: str, now: datetime, why: str = "", numbers: Json | None = None
) -> Trial | None:
    """End the trial that runs, with its audit line and a message for people; None if none runs."""
    trial = running(session)
    if trial is None:
        return None
    write(
        session,
        update(TrialRow)
        .where(TrialRow.id == trial.id, TrialRow.is_running)
        .values(is_running=False, ended_at=now, ended_by=who, outcome=outcome),
    )
    told = f"{outcome}: {why}" if why else outcome
    audit.add(
        session,
        who=who,
        action="end_trial",
        subject="trial",
        subject_id=trial.id,
        version=trial.version,
        why=told,
        numbers=numbers,
        now=now,
    )
    payload = {"trial": trial.id, "version": trial.version, "outcome": outcome, "who": who, "why": told}
    outbox.put(session, kind="notify", key=f"notify:trial:{trial.id}:ended", payload=payload, now=now)
    return fetch_one(session, Trial, rows_of(TrialRow).where(TrialRow.id == trial.id))


def end_of(session: Session, version: int, became: str, *, who: str, why: str, now: datetime) -> None:
    """End a trial that a version takes part in, because the version became something else."""
    trial = running(session)
    if trial is not None and version in (trial.version, trial.base_version):
        end_any(session, f"v{version} became {became.replace('_', ' ')}", who=who, why=why, now=now)


def forget_other_pairs(session: Session, version: int, base_version: int | None) -> int:
    """Remove the pairs of a version if a trial compared it with another one than `base_version`; returns how many."""
    other = exists().where(TrialRow.version == version, TrialRow.base_version != base_version)
    if base_version is None or not session.scalars(select(other)).one():
        return 0
    return forget_pairs(session, version)
