"""Alerts: opened once per fingerprint, updated while they last, resolved, and kept."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from sqlalchemy import update
from sqlalchemy.orm import Session

from db.errors import IllegalMove, NotFound
from db.models import AlertRow
from db.models.live import OPEN_ALERT
from db.records import Alert
from db.records.live import Json
from db.repository.common import fetch_all, fetch_one, insert_into, rows_of, write

SAID = ("value", "baseline", "version", "page", "mend", "group_key", "fired_at", "kept_until")
"""What an alert may say besides; see `db.records.Alert`. What is not given stays as it was."""


def raise_alert(
    session: Session,
    fingerprint: str,
    *,
    name: str,
    severity: str,
    summary: str,
    now: datetime,
    state: str = "firing",
    labels: Json | None = None,
    detail: Json | None = None,
    **said: Any,
) -> Alert:
    """Open an alert, or bring the open one of this fingerprint up to date. It keeps its `started_at`.

    `said` holds any of `SAID`. An acknowledgement and the count of notices are kept.
    """
    if unknown := sorted(said.keys() - set(SAID)):
        raise ValueError(f"An alert has no {', '.join(unknown)}. It may say {', '.join(SAID)}.")
    values: dict[str, Any] = {
        "name": name,
        "severity": severity,
        "state": state,
        "summary": summary,
        "labels": dict(labels or {}),
        "detail": dict(detail or {}),
        "updated_at": now,
        **said,
    }
    statement = insert_into(session, AlertRow).values(fingerprint=fingerprint, started_at=now, **values)
    write(
        session,
        statement.on_conflict_do_update(
            index_elements=[AlertRow.fingerprint],
            index_where=OPEN_ALERT,
            set_={column: statement.excluded[column] for column in values},
        ),
    )
    alert = open_alert(session, fingerprint)
    assert alert is not None
    return alert


def resolve(session: Session, fingerprint: str, *, now: datetime) -> bool:
    """End the open alert of a fingerprint; False if there is none."""
    statement = update(AlertRow).where(AlertRow.fingerprint == fingerprint, AlertRow.resolved_at.is_(None))
    values = {"state": "resolved", "resolved_at": now, "updated_at": now}
    return write(session, statement.values(**values)) == 1


def acknowledge(session: Session, alert_id: int, *, who: str, now: datetime) -> Alert:
    """Somebody looks after it: it is not repeated any more. The first to say so stays.

    Raises `NotFound`, or `IllegalMove` for an alert that has ended.
    """
    alert = get(session, alert_id)
    if alert.resolved_at is not None:
        raise IllegalMove(f"Alert {alert_id} ended on {alert.resolved_at:%Y-%m-%d %H:%M} UTC. Nothing is left to take.")
    unclaimed = update(AlertRow).where(AlertRow.id == alert_id, AlertRow.acknowledged_at.is_(None))
    write(session, unclaimed.values(acknowledged_at=now, acknowledged_by=who))
    return get(session, alert_id)


def count_notice(session: Session, fingerprints: Iterable[str], *, now: datetime) -> int:
    """Note that somebody is told of these open alerts; returns how many there are."""
    chosen = update(AlertRow).where(AlertRow.fingerprint.in_(list(fingerprints)), AlertRow.resolved_at.is_(None))
    return write(session, chosen.values(last_notified_at=now, num_notified=AlertRow.num_notified + 1))


def get(session: Session, alert_id: int) -> Alert:
    """An alert by its number; raises `NotFound`."""
    alert = fetch_one(session, Alert, rows_of(AlertRow).where(AlertRow.id == alert_id))
    if alert is None:
        raise NotFound(f"There is no alert {alert_id}. `omniloop alerts list` shows them.")
    return alert


def open_alert(session: Session, fingerprint: str) -> Alert | None:
    """The open alert of a fingerprint, or None."""
    statement = rows_of(AlertRow).where(AlertRow.fingerprint == fingerprint, AlertRow.resolved_at.is_(None))
    return fetch_one(session, Alert, statement)


def latest(session: Session, fingerprints: Iterable[str]) -> dict[str, Alert]:
    """The newest alert of each fingerprint, open or not; without those that never were."""
    chosen = rows_of(AlertRow).where(AlertRow.fingerprint.in_(list(fingerprints))).order_by(AlertRow.id)
    return {alert.fingerprint: alert for alert in fetch_all(session, Alert, chosen)}


def list_alerts(
    session: Session, *, is_open: bool | None = None, before: int | None = None, limit: int = 100
) -> list[Alert]:
    """Alerts, the latest first; only open ones, only resolved ones, or (for None) both; with ids below `before`."""
    statement = rows_of(AlertRow).order_by(AlertRow.id.desc()).limit(limit)
    if before is not None:
        statement = statement.where(AlertRow.id < before)
    if is_open is not None:
        statement = statement.where(AlertRow.resolved_at.is_(None) if is_open else AlertRow.resolved_at.is_not(None))
    return fetch_all(session, Alert, statement)
