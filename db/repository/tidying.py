"""What was told and is over: notices, silences and reports, deleted in bounded pieces, oldest first."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import delete, func, or_, select
from sqlalchemy.orm import Session

from db.models import NotificationRow, OutboxRow, ReportRow, SilenceRow
from db.repository.common import write
from db.repository.deletion import unnamed

ALIASES = "mlflow_alias"
NOTICES = "notify"
KINDS = (NOTICES, ALIASES)
"""Kinds of messages that nobody asks for again under the same key once they were delivered long ago. A request for a
rollback is none: its key says that the alert asked already.
"""


def forget_notifications(session: Session, moment: datetime, *, limit: int) -> int:
    """Delete at most `limit` notices that were delivered before the moment; returns how many.

    The last notice of each group and receiver stays: it says what that receiver believes to be firing, and the key of
    the next notice is made of its key.
    """
    last = select(func.max(NotificationRow.id)).group_by(NotificationRow.group_key, NotificationRow.receiver)
    old = (
        select(NotificationRow.id)
        .where(NotificationRow.delivered_at < moment, NotificationRow.id.not_in(last))
        .order_by(NotificationRow.id)
        .limit(limit)
    )
    ids = list(session.scalars(old))
    return write(session, delete(NotificationRow).where(NotificationRow.id.in_(ids))) if ids else 0


def forget_messages(session: Session, moment: datetime, *, limit: int) -> int:
    """Delete at most `limit` messages of the outbox that were delivered before the moment; returns how many.

    One that waits, was set aside, or belongs to a notice that is kept stays, and so does its key.
    """
    kept = select(NotificationRow.key).where(NotificationRow.key == OutboxRow.key).exists()
    old = (
        select(OutboxRow.id)
        .where(OutboxRow.kind.in_(KINDS), OutboxRow.done_at < moment, OutboxRow.dead_at.is_(None), ~kept)
        .order_by(OutboxRow.id)
        .limit(limit)
    )
    ids = list(session.scalars(old))
    return write(session, delete(OutboxRow).where(OutboxRow.id.in_(ids))) if ids else 0


def forget_silences(session: Session, moment: datetime, *, limit: int) -> int:
    """Delete at most `limit` silences that were over before the moment; returns how many."""
    old = (
        select(SilenceRow.id)
        .where(or_(SilenceRow.ends_at < moment, SilenceRow.ended_at < moment))
        .order_by(SilenceRow.id)
        .limit(limit)
    )
    ids = list(session.scalars(old))
    return write(session, delete(SilenceRow).where(SilenceRow.id.in_(ids))) if ids else 0


def forget_reports(session: Session, moment: datetime, *, limit: int) -> tuple[int, tuple[str, ...]]:
    """Delete at most `limit` reports of windows that were made before the moment.

    Returns how many, and the digests of their snapshots that nothing else names: remove them from the blob store after
    the commit.
    """
    old = (
        select(ReportRow.id, ReportRow.digest)
        .where(ReportRow.round_id.is_(None), ReportRow.created_at < moment)
        .order_by(ReportRow.id)
        .limit(limit)
    )
    found = dict(session.execute(old).tuples().all())
    if not found:
        return 0, ()
    num = write(session, delete(ReportRow).where(ReportRow.id.in_(found)))
    still = set(session.scalars(select(ReportRow.digest).where(ReportRow.digest.in_(found.values()))))
    return num, unnamed(session, [digest for digest in found.values() if digest not in still])
