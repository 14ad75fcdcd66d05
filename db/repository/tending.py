"""What a person does about alerts and notices, each with its line in the audit trail."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy.orm import Session

from db.errors import IllegalMove
from db.records import Alert, OutboxMessage, Silence
from db.records.alerting import Json
from db.repository import alerts, audit, notifications, outbox, silences


def acknowledge(session: Session, alert_id: int, *, who: str, now: datetime, why: str = "") -> Alert:
    """Somebody looks after an alert. Of two, the first stays, and the second leaves no line."""
    before = alerts.get(session, alert_id)
    alert = alerts.acknowledge(session, alert_id, who=who, now=now)
    if before.acknowledged_at is None:
        said = why or alert.summary
        audit.add(session, who=who, action="acknowledged", subject="alert", subject_id=alert_id, why=said, now=now)
    return alert


def silence(
    session: Session, matchers: Sequence[Json], *, ends_at: datetime, who: str, why: str, written: str, now: datetime
) -> Silence:
    """Silence what matches from now on; `written` is how a person writes the matchers."""
    made = silences.add(session, matchers, owner=who, why=why, starts_at=now, ends_at=ends_at, now=now)
    said = f"{why} ({written})"
    audit.add(session, who=who, action="silenced", subject="silence", subject_id=made.id, why=said, now=now)
    return made


def unsilence(session: Session, silence_id: int, *, who: str, now: datetime, why: str = "") -> Silence:
    """End a silence before its time."""
    ended = silences.end(session, silence_id, who=who, now=now)
    said = why or ended.why
    audit.add(session, who=who, action="silence ended", subject="silence", subject_id=silence_id, why=said, now=now)
    return ended


def retry(
    session: Session, message_ids: Sequence[int], *, who: str, now: datetime, why: str = ""
) -> list[OutboxMessage]:
    """Try notices that were given up on again, all of them without ids; `IllegalMove` for one that is not such."""
    dead = [message for message in outbox.dead_letters(session) if message.kind == notifications.KIND]
    chosen = [message for message in dead if not message_ids or message.id in message_ids]
    if unknown := sorted(set(message_ids) - {message.id for message in chosen}):
        raise IllegalMove(f"No notice {', '.join(map(str, unknown))} was set aside. See `omniloop alerts dead`.")
    for message in chosen:
        outbox.revive(session, message.id, now=now)
        audit.add(session, who=who, action="retried", subject="notice", subject_id=message.id, why=why, now=now)
    return chosen


def leave_test(session: Session, receiver: str, *, who: str, now: datetime) -> str:
    """Leave a test notice that the pulse delivers by the way that alerts take; returns its key."""
    key = f"test:{receiver}:{now:%Y%m%dT%H%M%S.%f}"
    payload = {
        "title": "Omniloop: test",
        "text": f"A test by {who} on {now:%Y-%m-%d %H:%M:%S} UTC. Nothing is wrong.",
        "reason": "test",
        "receiver": receiver,
    }
    outbox.put(session, kind=notifications.KIND, key=key, payload=payload, now=now)
    audit.add(session, who=who, action="tested", subject="receiver", subject_id=receiver, now=now)
    return key
