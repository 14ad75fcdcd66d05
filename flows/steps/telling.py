"""Telling: which open alerts, of rules and of the program's own jobs, are to be told to whom now, as notices.

The notices are rows of the transaction that moved the alerts; delivery is somebody else's work.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy.orm import Session

from db.records import Alert
from db.repository import alerts, notifications, silences
from monitoring.alerting.grouping import Due, Member, Told, due, group_key, notice_key
from monitoring.alerting.hiding import is_inhibited, is_silenced
from monitoring.alerting.rule import RuleSet

MANY = 2000
"""Open alerts looked at."""


def tell(session: Session, rules: RuleSet, names: Sequence[str], now: datetime, *, base: str = "") -> int:
    """Leave every notice that is due; returns how many. ``names`` are the receivers that there are, ``base`` is where
    the pages are, if they are anywhere.
    """
    open_ = alerts.list_alerts(session, is_open=True, limit=MANY)
    hidden = {
        alert.fingerprint for alert, word in words(session, open_, rules, now) if word in ("silenced", "inhibited")
    }
    last = last_notices(session)
    groups: dict[tuple[str, str], list[Alert]] = {key: [] for key, told in last.items() if told.firing}
    for alert in open_:
        for receiver in receivers_of(alert, names):
            groups.setdefault((group_of(alert, rules), receiver), []).append(alert)
    num_told = 0
    for (group, receiver), part in sorted(groups.items()):
        members = [member_of(alert, is_hidden=alert.fingerprint in hidden) for alert in part]
        told = last.get((group, receiver))
        found = due(members, told, rules.routing, now)
        if found is not None:
            num_told += _leave(session, group, receiver, found, told, now, base)
    return num_told


def words(session: Session, open_: Sequence[Alert], rules: RuleSet, now: datetime) -> list[tuple[Alert, str]]:
    """Each open alert with what is to be said of it: `silenced`, `inhibited`, `acknowledged` or `firing`."""
    matchers = [silence.matchers for silence in silences.in_force(session, now=now)]
    labels = [labels_of(alert) for alert in open_]
    found = []
    for alert, own in zip(open_, labels, strict=True):
        if is_silenced(own, matchers):
            found.append((alert, "silenced"))
        elif is_inhibited(own, [other for other in labels if other is not own], rules.inhibitions):
            found.append((alert, "inhibited"))
        else:
            found.append((alert, "acknowledged" if alert.acknowledged_at else "firing"))
    return found


def labels_of(alert: Alert) -> dict[str, Any]:
    """What silences and inhibitions look at."""
    return {**alert.labels, "name": alert.name, "severity": alert.severity}


def group_of(alert: Alert, rules: RuleSet) -> str:
    """The group that an alert is told in."""
    return alert.group_key or group_key(labels_of(alert), rules.routing.group_by)


def receivers_of(alert: Alert, names: Sequence[str]) -> list[str]:
    """Who is told: those of its rule, and for the program's own alerts everybody but the one it is about."""
    told = alert.detail.get("receivers")
    if isinstance(told, list):
        return [str(name) for name in told]
    return [name for name in names if name != alert.labels.get("receiver")]


def member_of(alert: Alert, *, is_hidden: bool) -> Member:
    """An open alert as grouping takes it."""
    return Member(
        fingerprint=alert.fingerprint,
        fired_at=alert.fired_at or alert.started_at,
        is_hidden=is_hidden,
        is_acknowledged=alert.acknowledged_at is not None,
    )


def last_notices(session: Session) -> dict[tuple[str, str], Told]:
    """What each receiver was last told of each group."""
    return {
        (entry.group_key, entry.receiver): Told(firing=frozenset(entry.firing), at=entry.created_at, key=entry.key)
        for entry in notifications.last_of_groups(session)
    }


def payload_of(session: Session, group: str, found: Due, base: str = "") -> dict[str, Any]:
    """What a notice says: a title, and of every alert what, value, baseline, since, version, page and mend."""
    known = alerts.latest(session, [*found.firing, *found.resolved])
    rows = [
        {
            "name": alert.name,
            "state": "firing" if id_ in found.firing else "resolved",
            "severity": alert.severity,
            "summary": alert.summary,
            "value": alert.value,
            "baseline": alert.baseline,
            "since": (alert.fired_at or alert.started_at).isoformat(),
            "version": alert.version,
            "page": page_of(alert, base),
            "mend": alert.mend,
            "labels": dict(alert.labels),
            "fingerprint": id_,
        }
        for id_ in (*found.firing, *found.resolved)
        if (alert := known.get(id_)) is not None
    ]
    title = ", ".join(sorted({str(row["name"]) for row in rows})) or group
    counts = [f"{len(ids)} {word}" for word, ids in (("firing", found.firing), ("resolved", found.resolved)) if ids]
    return {"title": f"{title} ({', '.join(counts)})", "alerts": rows}


def page_of(alert: Alert, base: str) -> str | None:
    """Where to look: the address that the rule gives, else the alert's page where there are pages, else a command."""
    if not base or (alert.page or "").startswith(("http://", "https://")):
        return alert.page
    return f"{base}/alerts/{alert.id}"


def _leave(
    session: Session, group: str, receiver: str, found: Due, told: Told | None, now: datetime, base: str
) -> bool:
    return notifications.tell(
        session,
        key=notice_key(group, receiver, found, told),
        group_key=group,
        receiver=receiver,
        reason=found.reason,
        payload=payload_of(session, group, found, base),
        now=now,
        firing=found.firing,
        resolved=found.resolved,
    )
