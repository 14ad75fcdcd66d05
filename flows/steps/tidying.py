"""Tidying: what was measured and told long enough ago is deleted, in bounded pieces, so that nobody waits for long."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy.orm import Session

from db.repository import measurements, tidying
from flows.steps.forgetting import remove_blobs
from flows.workspace import Workspace
from monitoring.measures.live_catalogue import KNOWN

CHUNK = 2_000
"""Rows of one transaction at most."""
CHUNK_REPORTS = 50
MOST_CHUNKS = 20
"""Transactions of one kind and turn at most; the next turn goes on."""

Forget = Callable[[Session, datetime], int]


@dataclass(frozen=True, kw_only=True)
class Tidied:
    """What one turn deleted."""

    num_measurements: int = 0
    num_notices: int = 0
    num_messages: int = 0
    num_silences: int = 0
    num_reports: int = 0


def tidy(ws: Workspace) -> Tidied:
    """Delete live measurements, delivered notices, silences that are over and reports of windows that are old enough.

    Notices go before their messages in the outbox, which stay as long as their notices do.
    """
    keep = ws.settings.keep
    measured_days = ws.settings.alerting.keep_s / 86400
    return Tidied(
        num_measurements=_all(ws, measured_days, lambda s, at: measurements.forget(s, at, metrics=KNOWN, limit=CHUNK)),
        num_notices=_all(ws, keep.notices_days, lambda s, at: tidying.forget_notifications(s, at, limit=CHUNK)),
        num_messages=_all(ws, keep.notices_days, lambda s, at: tidying.forget_messages(s, at, limit=CHUNK)),
        num_silences=_all(ws, keep.silences_days, lambda s, at: tidying.forget_silences(s, at, limit=CHUNK)),
        num_reports=_reports(ws, keep.reports_days),
    )


def _all(ws: Workspace, days: float, forget: Forget) -> int:
    """Piece after piece until one is not full; nothing if ``days`` is 0."""
    num, moment = 0, ws.clock() - timedelta(days=days)
    for _ in range(MOST_CHUNKS if days else 0):
        with ws.database.write() as session:
            gone = forget(session, moment)
        num += gone
        if gone < CHUNK:
            break
    return num


def _reports(ws: Workspace, days: float) -> int:
    """Rows first, then the snapshots that nothing names any more; a kill in between leaves bytes, never a bare row."""
    num, moment = 0, ws.clock() - timedelta(days=days)
    for _ in range(MOST_CHUNKS if days else 0):
        with ws.database.write() as session:
            gone, digests = tidying.forget_reports(session, moment, limit=CHUNK_REPORTS)
        remove_blobs(ws, digests)
        num += gone
        if gone < CHUNK_REPORTS:
            break
    return num
