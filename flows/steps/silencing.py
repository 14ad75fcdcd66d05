"""What a person does about alerts: take one on, silence some for a time, try a receiver, try dead messages again."""

import time
from collections.abc import Callable, Sequence

from db.records import Alert, OutboxMessage, Silence
from db.repository import alerts, tending
from flows.steps.notifying import usual
from flows.workspace import Workspace
from monitoring.matchers import matches, parse, written
from monitoring.notices import Notice, Notifier
from monitoring.notify_config import NotifyConfig
from monitoring.silence_words import duration
from monitoring.silence_words import labels_of as words_of


def acknowledge(ws: Workspace, alert_id: int, *, who: str, why: str = "") -> Alert:
    """Take an alert on; the audit trail says who did."""
    with ws.database.write() as session:
        return tending.acknowledge(session, alert_id, who=who, why=why, now=ws.clock())


def silence(ws: Workspace, matchers: Sequence[str], *, length: str, who: str, why: str) -> tuple[Silence, int]:
    """Silence what matches from now on; returns the silence, and how many open alerts it hides now."""
    parsed, now = [parse(text) for text in matchers], ws.clock()
    ends_at, said = now + duration(length), ", ".join(map(written, parsed))
    with ws.database.write() as session:
        made = tending.silence(session, parsed, ends_at=ends_at, who=who, why=why, written=said, now=now)
        hidden = sum(matches(parsed, labels_of(alert)) for alert in alerts.list_alerts(session, is_open=True))
    return made, hidden


def unsilence(ws: Workspace, silence_id: int, *, who: str) -> Silence:
    """End a silence before its time."""
    with ws.database.write() as session:
        return tending.unsilence(session, silence_id, who=who, now=ws.clock())


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


def retry(ws: Workspace, message_ids: Sequence[int], *, who: str = "omniloop") -> list[OutboxMessage]:
    """Try notices that were set aside again; all of them without ids. Returns which."""
    with ws.database.write() as session:
        return tending.retry(session, message_ids, who=who, now=ws.clock())


def labels_of(alert: Alert) -> dict[str, object]:
    """What matchers look at: the alert's labels, with its name and severity."""
    return words_of(alert.name, alert.severity, alert.labels)
