"""What a person does about alerts: take one on, silence some for a time, try a receiver, try dead messages again."""

import re
import time
from collections.abc import Callable, Sequence
from datetime import timedelta

from sqlalchemy.orm import Session

from db.records import Alert, OutboxMessage, Silence
from db.repository import alerts, audit, notifications, outbox, silences
from flows.steps.notifying import usual
from flows.workspace import Workspace
from monitoring.matchers import matches, parse, written
from monitoring.notices import Notice, Notifier
from monitoring.notify_config import NotifyConfig

UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
LONGEST = timedelta(days=30)


def duration(text: str) -> timedelta:
    """A time such as 90s, 30m, 2h or 1d; `ValueError` otherwise, and above thirty days.

    >>> duration("2h")
    datetime.timedelta(seconds=7200)
    """
    found = re.fullmatch(r"([1-9][0-9]{0,6})([smhd])", text.strip())
    if found is None:
        raise ValueError(f"{text!r} is no duration. Write it like 30m, 2h or 1d.")
    length = timedelta(seconds=int(found[1]) * UNITS[found[2]])
    if length > LONGEST:
        raise ValueError(f"{text} is longer than {LONGEST.days} days. Silence for less, or change the rule.")
    return length


def acknowledge(ws: Workspace, alert_id: int, *, who: str, why: str = "") -> Alert:
    """Take an alert on; the audit trail says who did."""
    with ws.database.write() as session:
        before = alerts.get(session, alert_id)
        alert = alerts.acknowledge(session, alert_id, who=who, now=ws.clock())
        if before.acknowledged_at is None:
            _note(ws, session, "acknowledged", "alert", alert_id, who, why or alert.summary)
    return alert


def silence(ws: Workspace, matchers: Sequence[str], *, length: str, who: str, why: str) -> tuple[Silence, int]:
    """Silence what matches from now on; returns the silence, and how many open alerts it hides now."""
    parsed, now = [parse(text) for text in matchers], ws.clock()
    ends_at = now + duration(length)
    with ws.database.write() as session:
        made = silences.add(session, parsed, owner=who, why=why, starts_at=now, ends_at=ends_at, now=now)
        _note(ws, session, "silenced", "silence", made.id, who, f"{why} ({', '.join(map(written, parsed))})")
        hidden = sum(matches(parsed, labels_of(alert)) for alert in alerts.list_alerts(session, is_open=True))
    return made, hidden


def unsilence(ws: Workspace, silence_id: int, *, who: str) -> Silence:
    """End a silence before its time."""
    with ws.database.write() as session:
        ended = silences.end(session, silence_id, who=who, now=ws.clock())
        _note(ws, session, "silence ended", "silence", silence_id, who, ended.why)
    return ended


def try_receiver(
    ws: Workspace,
    receiver: str,
    *,
    who: str,
    make: Callable[[str, NotifyConfig], Notifier] = usual,
    seconds: Callable[[], float] = time.monotonic,
) -> float:
    """Send a test notice at once, by the way that alerts take; returns the seconds it took.

    Raises `ValueError` for a receiver that does not exist, `monitoring.notices.NotDelivered` if it did not take it.
    """
    if receiver not in ws.settings.notify.names:
        known = ", ".join(ws.settings.notify.names)
        raise ValueError(f"There is no receiver {receiver!r}; there are {known}. Set OMNI_NOTIFY__RECEIVERS.")
    now = ws.clock()
    notice = Notice(
        key=f"test:{receiver}:{now:%Y%m%dT%H%M%S.%f}",
        title="Omniloop: test",
        text=f"A test by {who} on {now:%Y-%m-%d %H:%M:%S} UTC. Nothing is wrong.",
        data={"reason": "test", "receiver": receiver},
    )
    began = seconds()
    make(receiver, ws.settings.notify).send(notice)
    return seconds() - began


def retry(ws: Workspace, message_ids: Sequence[int]) -> list[OutboxMessage]:
    """Try notices that were set aside again; all of them without ids. Returns which."""
    with ws.database.write() as session:
        dead = [message for message in outbox.dead_letters(session) if message.kind == notifications.KIND]
        chosen = [message for message in dead if not message_ids or message.id in message_ids]
        if unknown := sorted(set(message_ids) - {message.id for message in chosen}):
            raise ValueError(f"No notice {', '.join(map(str, unknown))} was set aside. See `omniloop alerts dead`.")
        for message in chosen:
            outbox.revive(session, message.id, now=ws.clock())
    return chosen


def labels_of(alert: Alert) -> dict[str, object]:
    """What matchers look at: the alert's labels, with its name and severity."""
    return {**alert.labels, "name": alert.name, "severity": alert.severity}


def _note(ws: Workspace, session: Session, action: str, subject: str, id_: int, who: str, why: str) -> None:
    audit.add(session, who=who, action=action, subject=subject, subject_id=str(id_), why=why, now=ws.clock())
