"""What was told to whom. A notice and its message in the outbox are written together and have the same key.

One receiver of one notice is one message, so that a receiver that is down keeps no other from being told, and is
tried again alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from db.models import NotificationRow
from db.records import Notification
from db.records.alerting import Json
from db.repository import alerts, outbox
from db.repository.common import fetch_all, insert_into, rows_of, write

KIND = "notify"
"""Kind of the messages in the outbox."""


def tell(
    session: Session,
    *,
    key: str,
    group_key: str,
    receiver: str,
    reason: str,
    payload: Json,
    now: datetime,
    firing: Sequence[str] = (),
    resolved: Sequence[str] = (),
) -> bool:
    """Leave a notice for one receiver, in the transaction of what it tells of. False if `key` was told before.

    The payload gets `receiver` and `group_key`; the message's key is what the receiver gets to know repeats by.
    """
    message = {**payload, "receiver": receiver, "group_key": group_key, "reason": reason}
    if not outbox.put(session, kind=KIND, key=key, payload=message, now=now):
        return False
    values: dict[str, Any] = {
        "key": key,
        "group_key": group_key,
        "receiver": receiver,
        "reason": reason,
        "firing": list(firing),
        "resolved": list(resolved),
        "created_at": now,
    }
    write(session, insert_into(session, NotificationRow).values(**values).on_conflict_do_nothing())
    alerts.count_notice(session, firing, now=now)
    return True


def delivered(session: Session, key: str, *, now: datetime) -> None:
    """The receiver took it. Of two who say so, the first stays; a key that is no notice changes nothing."""
    chosen = update(NotificationRow).where(NotificationRow.key == key, NotificationRow.delivered_at.is_(None))
    write(session, chosen.values(delivered_at=now))


def last_of_groups(session: Session) -> list[Notification]:
    """The last notice of each group and receiver."""
    last = select(func.max(NotificationRow.id)).group_by(NotificationRow.group_key, NotificationRow.receiver)
    return fetch_all(session, Notification, rows_of(NotificationRow).where(NotificationRow.id.in_(last)))


def list_notifications(session: Session, *, limit: int = 100) -> list[Notification]:
    """Notices, delivered or not, the latest first."""
    return fetch_all(session, Notification, rows_of(NotificationRow).order_by(NotificationRow.id.desc()).limit(limit))
