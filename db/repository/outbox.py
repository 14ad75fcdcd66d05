"""The outbox: messages written with the change that they tell of, delivered afterwards, at least once.

A worker claims, delivers, and says `done` or `fail`. A worker that dies in between loses its lease, and the message is
claimed again. A message that failed `MAX_ATTEMPTS` times is set aside (`dead_letters`) until somebody calls `revive`.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import func, or_, select, update
from sqlalchemy.orm import Session

from db.errors import NotFound
from db.models import OutboxRow
from db.models.base import cleaned
from db.records import OutboxMessage
from db.records.loop import Json
from db.repository.common import fetch_all, fetch_one, insert_into, rows_of, write

MAX_ATTEMPTS = 10

DIED = "Every worker that took it died before it could say how it went."

LEASE_S = 60.0
"""Seconds that a claimed message is kept from other workers."""


def backoff_s(attempts: int) -> float:
    """Seconds to wait after the n-th failed attempt: doubling from 2 s, at most an hour.

    >>> [backoff_s(n) for n in (1, 2, 3, 30)]
    [2.0, 4.0, 8.0, 3600.0]
    """
    return min(3600.0, 2.0 ** min(attempts, 20))


def put(session: Session, *, kind: str, key: str, payload: Json, now: datetime) -> bool:
    """Leave a message. False, and nothing is written, if one with this key was left before."""
    statement = insert_into(session, OutboxRow).on_conflict_do_nothing()
    values: dict[str, Any] = {
        "kind": kind,
        "key": key,
        "payload": dict(payload),
        "created_at": now,
        "attempts": 0,
        "next_attempt_at": now,
    }
    return write(session, statement.values(**values)) == 1


def claim(
    session: Session,
    kind: str,
    *,
    now: datetime,
    limit: int = 20,
    lease_s: float = LEASE_S,
    max_attempts: int = MAX_ATTEMPTS,
) -> list[OutboxMessage]:
    """Take the oldest messages that are due; nobody else gets them until the lease is over. Counts as an attempt."""
    due = (
        select(OutboxRow.id)
        .where(OutboxRow.kind == kind, OutboxRow.done_at.is_(None), OutboxRow.dead_at.is_(None))
        .where(OutboxRow.next_attempt_at <= now)
        .where(or_(OutboxRow.lease_until.is_(None), OutboxRow.lease_until <= now))
        .order_by(OutboxRow.id)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    while dead := list(session.scalars(due.where(OutboxRow.attempts >= max_attempts))):
        _change(session, dead, dead_at=now, last_error=DIED)
    taken = list(session.scalars(due))
    _change(session, taken, attempts=OutboxRow.attempts + 1, lease_until=now + timedelta(seconds=lease_s))
    return fetch_all(session, OutboxMessage, rows_of(OutboxRow).where(OutboxRow.id.in_(taken)).order_by(OutboxRow.id))


def put_back(session: Session, message_ids: Iterable[int], *, until: datetime) -> None:
    """These claimed messages were not tried after all: it counts as no attempt, and they wait until then."""
    chosen = list(message_ids)
    _change(session, chosen, attempts=OutboxRow.attempts - 1, lease_until=None, next_attempt_at=until)


def done(session: Session, message_id: int, *, now: datetime) -> None:
    """The message was delivered. Saying so twice changes nothing."""
    _get(session, message_id)
    write(
        session,
        update(OutboxRow)
        .where(OutboxRow.id == message_id, OutboxRow.done_at.is_(None))
        .values(done_at=now, lease_until=None, dead_at=None),
    )


def fail(
    session: Session,
    message_id: int,
    *,
    error: str,
    now: datetime,
    wait_s: float | None = None,
    is_final: bool = False,
    max_attempts: int = MAX_ATTEMPTS,
) -> OutboxMessage:
    """The delivery failed: try again in `wait_s` (None: `backoff_s`), or set the message aside after `max_attempts`.

    One whose failure is final is set aside at once. A delivered one stays delivered.
    """
    message = _get(session, message_id)
    if message.done_at is None:
        pause_s = backoff_s(message.attempts) if wait_s is None else wait_s
        _change(
            session,
            [message_id],
            lease_until=None,
            last_error=cleaned(error[:2_000]),
            next_attempt_at=now + timedelta(seconds=pause_s),
            dead_at=now if is_final or message.attempts >= max_attempts else None,
        )
    return _get(session, message_id)


def waiting(session: Session, kind: str | None = None) -> list[OutboxMessage]:
    """Messages that are neither delivered nor set aside, oldest first."""
    statement = rows_of(OutboxRow).where(OutboxRow.done_at.is_(None), OutboxRow.dead_at.is_(None))
    if kind is not None:
        statement = statement.where(OutboxRow.kind == kind)
    return fetch_all(session, OutboxMessage, statement.order_by(OutboxRow.id))


def is_due(session: Session, kind: str, *, now: datetime) -> bool:
    """Is there a message of a kind that `claim` would take now?"""
    return any(
        message.next_attempt_at <= now and (message.lease_until is None or message.lease_until <= now)
        for message in waiting(session, kind)
    )


def num_pending(session: Session, kind: str) -> int:
    """How many messages of a kind are neither delivered nor set aside."""
    pending = (OutboxRow.kind == kind, OutboxRow.done_at.is_(None), OutboxRow.dead_at.is_(None))
    return session.scalars(select(func.count()).select_from(OutboxRow).where(*pending)).one()


def dead_letters(session: Session) -> list[OutboxMessage]:
    """Messages that were set aside, oldest first."""
    return fetch_all(
        session, OutboxMessage, rows_of(OutboxRow).where(OutboxRow.dead_at.is_not(None)).order_by(OutboxRow.id)
    )


def revive(session: Session, message_id: int, *, now: datetime) -> None:
    """Try a message that was set aside again from the start."""
    _get(session, message_id)
    _change(session, [message_id], dead_at=None, attempts=0, next_attempt_at=now, lease_until=None)


def _get(session: Session, message_id: int) -> OutboxMessage:
    message = fetch_one(session, OutboxMessage, rows_of(OutboxRow).where(OutboxRow.id == message_id))
    if message is None:
        raise NotFound(f"There is no outbox message {message_id}. List them with outbox.waiting().")
    return message


def _change(session: Session, ids: list[int] | set[int], **values: Any) -> None:
    if ids:
        write(session, update(OutboxRow).where(OutboxRow.id.in_(ids)).values(**values))
