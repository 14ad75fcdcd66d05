"""Alerts about the pulse's own jobs: one that fails is told of, also when the database is what fails."""

import logging
from datetime import datetime

from sqlalchemy.orm import Session

from db.repository import alerts
from flows.workspace import Workspace

logger = logging.getLogger(__name__)


class JobAlerts:
    """What is said of each job, and what could not be said yet."""

    def __init__(self, ws: Workspace) -> None:
        self._ws = ws
        self._failing: set[str] = set()
        self._settled: set[str] = set()
        self._unsaid: dict[str, tuple[datetime, str]] = {}

    def failed(self, name: str, error: Exception) -> None:
        """Raise the alert; the first failure in a row is logged with its trace, the others in a line."""
        logger.error("The pulse's job %r failed: %s", name, error, exc_info=name not in self._failing)
        self._failing.add(name)
        self._settled.discard(name)
        now, summary = self._ws.clock(), f"The pulse's job {name!r} fails: {type(error).__name__}: {error}"
        try:
            with self._ws.database.write() as session:
                self._raise(session, name, summary, now)
        except Exception:  # the database itself may be what fails
            self._unsaid.setdefault(name, (now, summary))
            logger.exception("No alert could be left about it.")

    def succeeded(self, name: str) -> None:
        """End the alert, one of an earlier process too. One that could not be left is put on record with its end."""
        if name not in self._settled:
            with self._ws.database.write() as session:
                if name in self._unsaid:
                    began, summary = self._unsaid[name]
                    self._raise(session, name, summary, began)
                alerts.resolve(session, fingerprint(name), now=self._ws.clock())
            self._unsaid.pop(name, None)
            self._failing.discard(name)
            self._settled.add(name)

    def _raise(self, session: Session, name: str, summary: str, now: datetime) -> None:
        alerts.raise_alert(session, fingerprint(name), name="pulse", severity="error", summary=summary, now=now)


def fingerprint(name: str) -> str:
    """Of the alert about a job."""
    return f"pulse:{name}"
