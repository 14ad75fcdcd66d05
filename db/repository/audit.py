"""The audit trail: added to, read, never changed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from db.models import AuditRow
from db.records import AuditEntry
from db.records.loop import Json
from db.repository.common import fetch_all, insert_into, rows_of, write


def add(
    session: Session,
    *,
    who: str,
    action: str,
    subject: str,
    subject_id: str | int,
    now: datetime,
    why: str = "",
    version: int | None = None,
    from_state: str | None = None,
    to_state: str | None = None,
    numbers: Json | None = None,
) -> None:
    """Write a line: who did what to what, why, and the numbers seen. `who` must not be empty (`ValueError`)."""
    if not who.strip():
        raise ValueError(f"An entry of the audit trail needs a name, got {who!r}. Say who does this.")
    write(
        session,
        insert_into(session, AuditRow).values(
            at=now,
            who=who,
            action=action,
            subject=subject,
            subject_id=str(subject_id),
            version=version,
            from_state=from_state,
            to_state=to_state,
            why=why,
            numbers=dict(numbers or {}),
        ),
    )


def history(
    session: Session,
    *,
    version: int | None = None,
    subject: str | None = None,
    subject_id: str | int | None = None,
    after: int = 0,
    limit: int = 1_000,
) -> list[AuditEntry]:
    """Lines in the order they were written, from the one after id `after`."""
    statement = rows_of(AuditRow).where(AuditRow.id > after).order_by(AuditRow.id).limit(limit)
    if version is not None:
        statement = statement.where(AuditRow.version == version)
    if subject is not None:
        statement = statement.where(AuditRow.subject == subject)
    if subject_id is not None:
        statement = statement.where(AuditRow.subject_id == str(subject_id))
    return fetch_all(session, AuditEntry, statement)


def newest(
    session: Session,
    *,
    who: str | None = None,
    subject: str | None = None,
    subject_id: str | int | None = None,
    version: int | None = None,
    before: int | None = None,
    limit: int = 100,
) -> list[AuditEntry]:
    """The latest lines that fit, newest first, from those with ids below `before`."""
    statement = rows_of(AuditRow).order_by(AuditRow.id.desc()).limit(limit)
    wanted = {
        AuditRow.who: who,
        AuditRow.subject: subject,
        AuditRow.subject_id: None if subject_id is None else str(subject_id),
        AuditRow.version: version,
    }
    for column, value in wanted.items():
        if value is not None:
            statement = statement.where(column == value)
    return fetch_all(session, AuditEntry, statement if before is None else statement.where(AuditRow.id < before))


def of_subjects(session: Session, subject: str, ids: Sequence[str], *, action: str) -> list[AuditEntry]:
    """The lines about one action on any of these, oldest first."""
    statement = rows_of(AuditRow).where(AuditRow.subject == subject, AuditRow.action == action)
    return fetch_all(session, AuditEntry, statement.where(AuditRow.subject_id.in_(ids)).order_by(AuditRow.id))


def subjects(session: Session) -> list[str]:
    """What the trail is about: release, round, alert …"""
    return list(session.scalars(select(AuditRow.subject).distinct().order_by(AuditRow.subject)))


def moves_of(session: Session, versions: Sequence[int]) -> list[AuditEntry]:
    """Who sent these versions from one state to another, in the order in which they did."""
    statement = rows_of(AuditRow).where(AuditRow.version.in_(list(versions)), AuditRow.to_state.is_not(None))
    return fetch_all(session, AuditEntry, statement.order_by(AuditRow.id))
