"""Alerts: opened once per fingerprint, updated while they last, resolved, and kept."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import update
from sqlalchemy.orm import Session

from db.models import AlertRow
from db.models.live import OPEN_ALERT
from db.records import Alert
from db.records.live import Json
from db.repository.common import fetch_all, fetch_one, insert_into, rows_of, write


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
) -> Alert:
    """Open an alert, or bring the open one of this fingerprint up to date. It keeps its `started_at`."""
    values: dict[str, Any] = {
        "name": name,
        "severity": severity,
        "state": state,
        "summary": summary,
        "labels": dict(labels or {}),
        "detail": dict(detail or {}),
        "updated_at": now,
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


def open_alert(session: Session, fingerprint: str) -> Alert | None:
    """The open alert of a fingerprint, or None."""
    statement = rows_of(AlertRow).where(AlertRow.fingerprint == fingerprint, AlertRow.resolved_at.is_(None))
    return fetch_one(session, Alert, statement)


def list_alerts(session: Session, *, is_open: bool | None = None, limit: int = 100) -> list[Alert]:
    """Alerts, the latest first; only open ones, only resolved ones, or (for None) both."""
    statement = rows_of(AlertRow).order_by(AlertRow.id.desc()).limit(limit)
    if is_open is not None:
        statement = statement.where(AlertRow.resolved_at.is_(None) if is_open else AlertRow.resolved_at.is_not(None))
    return fetch_all(session, Alert, statement)
