"""Silences: who wants no notice of which alerts, why, and until when."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import or_, update
from sqlalchemy.orm import Session

from db.errors import NotFound
from db.models import SilenceRow
from db.records import Silence
from db.records.alerting import Json
from db.repository.common import fetch_all, fetch_one, insert_into, rows_of, write


def add(
    session: Session,
    matchers: Sequence[Json],
    *,
    owner: str,
    why: str,
    starts_at: datetime,
    ends_at: datetime,
    now: datetime,
) -> Silence:
    """Silence what matches every one of `matchers`.

    Raises `ValueError` without a matcher, an owner or a reason, and for an end that is not after the start and now.
    """
    if not matchers:
        raise ValueError("A silence without matchers would hide every alert. Name at least one label, such as name=….")
    if not owner.strip() or not why.strip():
        raise ValueError("A silence needs an owner and a reason, so that others know whom to ask.")
    if ends_at <= max(starts_at, now):
        raise ValueError(f"A silence must end after its start and after now, got {ends_at:%Y-%m-%d %H:%M:%S} UTC.")
    values: dict[str, Any] = {
        "matchers": [dict(matcher) for matcher in matchers],
        "owner": owner,
        "why": why,
        "starts_at": starts_at,
        "ends_at": ends_at,
        "created_at": now,
    }
    id_ = session.execute(insert_into(session, SilenceRow).values(**values).returning(SilenceRow.id)).scalar_one()
    return get(session, id_)


def end(session: Session, silence_id: int, *, who: str, now: datetime) -> Silence:
    """End a silence before its time. Ending one that is over changes nothing."""
    chosen = update(SilenceRow).where(SilenceRow.id == silence_id, SilenceRow.ended_at.is_(None))
    write(session, chosen.where(SilenceRow.ends_at > now).values(ended_at=now, ended_by=who))
    return get(session, silence_id)


def get(session: Session, silence_id: int) -> Silence:
    """A silence by its number; raises `NotFound`."""
    silence = fetch_one(session, Silence, rows_of(SilenceRow).where(SilenceRow.id == silence_id))
    if silence is None:
        raise NotFound(f"There is no silence {silence_id}. `omniloop alerts silences` shows them.")
    return silence


def in_force(session: Session, *, now: datetime) -> list[Silence]:
    """The silences that cover this moment, oldest first."""
    statement = (
        rows_of(SilenceRow)
        .where(SilenceRow.starts_at <= now, SilenceRow.ends_at > now)
        .where(or_(SilenceRow.ended_at.is_(None), SilenceRow.ended_at > now))
    )
    return fetch_all(session, Silence, statement.order_by(SilenceRow.id))


def list_silences(session: Session, *, limit: int = 100) -> list[Silence]:
    """Silences, over or not, the latest first."""
    return fetch_all(session, Silence, rows_of(SilenceRow).order_by(SilenceRow.id.desc()).limit(limit))
