"""What became of notices: the messages of the outbox as people ask for them."""

from __future__ import annotations

from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from db.errors import NotFound
from db.models import NotificationRow, OutboxRow
from db.records import Alert, OutboxMessage
from db.records.deliveries import Delivery
from db.repository.common import fetch_all, rows_of
from db.repository.notifications import KIND

MANY = 1_000
"""Notices that are searched for those about an alert: those of its group since it began."""


def latest(session: Session, *, before: int | None = None, limit: int = 50) -> list[Delivery]:
    """Notices on their way or there, the latest first; from those with ids below `before`."""
    statement = rows_of(OutboxRow).where(OutboxRow.kind == KIND).order_by(OutboxRow.id.desc()).limit(limit)
    if before is not None:
        statement = statement.where(OutboxRow.id < before)
    return [_delivery(message) for message in fetch_all(session, OutboxMessage, statement)]


def dead(session: Session, *, limit: int = 100) -> list[Delivery]:
    """Notices that were given up on, the latest first."""
    statement = rows_of(OutboxRow).where(OutboxRow.kind == KIND, OutboxRow.dead_at.is_not(None))
    found = fetch_all(session, OutboxMessage, statement.order_by(OutboxRow.id.desc()).limit(limit))
    return [_delivery(message) for message in found]


def get(session: Session, message_id: int) -> Delivery:
    """A notice by the number of its message; raises `NotFound`."""
    chosen = rows_of(OutboxRow).where(OutboxRow.id == message_id, OutboxRow.kind == KIND)
    found = fetch_all(session, OutboxMessage, chosen)
    if not found:
        raise NotFound(f"There is no notice {message_id}. The deliveries page lists them.")
    return _delivery(found[0])


def num_waiting(session: Session) -> int:
    """Notices that are neither delivered nor given up on."""
    waits = (OutboxRow.kind == KIND, OutboxRow.done_at.is_(None), OutboxRow.dead_at.is_(None))
    return session.scalars(select(func.count()).select_from(OutboxRow).where(*waits)).one()


def about(session: Session, alert: Alert) -> list[Delivery]:
    """Whom it was told to that an alert fires or has ended, the latest first. A message that is tidied away already
    counts as one attempt.
    """
    chosen = (
        select(NotificationRow, OutboxRow)
        .join(OutboxRow, OutboxRow.key == NotificationRow.key, isouter=True)
        .where(NotificationRow.created_at >= alert.started_at)
    )
    if alert.group_key is not None:
        chosen = chosen.where(NotificationRow.group_key == alert.group_key)
    found = []
    for notice, message in session.execute(chosen.order_by(NotificationRow.id.desc()).limit(MANY)):
        if alert.fingerprint in (*notice.firing, *notice.resolved) and (
            alert.resolved_at is None or notice.created_at <= alert.resolved_at or alert.fingerprint in notice.resolved
        ):
            found.append(_told(notice, message))
    return found


def _told(notice: NotificationRow, message: OutboxRow | None) -> Delivery:
    return Delivery(
        id=0 if message is None else message.id,
        key=notice.key,
        receiver=notice.receiver,
        what="",
        reason=notice.reason,
        created_at=notice.created_at,
        attempts=1 if message is None else message.attempts,
        delivered_at=notice.delivered_at or (None if message is None else message.done_at),
        dead_at=None if message is None else message.dead_at,
        next_attempt_at=notice.created_at if message is None else message.next_attempt_at,
        last_error=None if message is None else message.last_error,
    )


def _delivery(message: OutboxMessage) -> Delivery:
    told: Any = message.payload
    moved = f"v{told['version']} is {str(told['to_state']).replace('_', ' ')}" if "to_state" in told else ""
    return Delivery(
        id=message.id,
        key=message.key,
        receiver=str(told.get("receiver") or ""),
        what=moved or str(told.get("title") or ""),
        reason="release" if moved else str(told.get("reason") or ""),
        created_at=message.created_at,
        attempts=message.attempts,
        delivered_at=message.done_at,
        dead_at=message.dead_at,
        next_attempt_at=message.next_attempt_at,
        last_error=message.last_error,
    )
