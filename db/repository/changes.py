"""What has changed: a short token for each topic, the same as long as nothing of it has. Cheap enough to ask often."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session

from db.models import (
    AlertRow,
    AuditRow,
    DisagreementRow,
    LabelRow,
    MeasurementRow,
    OutboxRow,
    QueueRow,
    RoundRow,
    ServingRow,
    SilenceRow,
    TrialRow,
    TriggerRow,
)
from db.repository import notifications

_OPEN_ALERTS = AlertRow.resolved_at.is_(None)
_NOTICES = (OutboxRow.kind == notifications.KIND) & OutboxRow.done_at.is_(None)
_WAITING = _NOTICES & OutboxRow.dead_at.is_(None)
_LOOKS: Mapping[str, Select[Any]] = {
    "serving": select(ServingRow.generation),
    "trial": select(func.max(TrialRow.id)),
    "audit": select(func.max(AuditRow.id)),
    "round": select(func.max(RoundRow.id)),
    "step": select(RoundRow.updated_at).order_by(RoundRow.id.desc()).limit(1),
    "request": select(func.max(TriggerRow.id)),
    "asked": select(func.sum(TriggerRow.num_requests)).where(TriggerRow.taken_at.is_(None)),
    "label": select(func.max(LabelRow.id)),
    "queued": select(func.max(QueueRow.id)),
    "waiting": select(func.count()).select_from(QueueRow).where(QueueRow.done_at.is_(None)),
    "contested": select(func.count()).select_from(DisagreementRow).where(DisagreementRow.settled_at.is_(None)),
    "alert": select(func.max(AlertRow.id)),
    "open": select(func.count()).select_from(AlertRow).where(_OPEN_ALERTS),
    "judged": select(func.max(AlertRow.updated_at)).where(_OPEN_ALERTS),
    "silence": select(func.max(SilenceRow.id)),
    "measured": select(func.max(MeasurementRow.id)),
    "message": select(func.max(OutboxRow.id)),
    "undelivered": select(func.count()).select_from(OutboxRow).where(_WAITING),
    "tried": select(func.sum(OutboxRow.attempts)).where(_WAITING),
    "dead": select(func.count()).select_from(OutboxRow).where(_NOTICES, OutboxRow.dead_at.is_not(None)),
}
"""Each is a look at the end of an index or at very few rows."""

TOPICS: Mapping[str, tuple[str, ...]] = {
    "versions": ("serving", "trial", "audit"),
    "rounds": ("round", "step", "request", "asked"),
    "labels": ("label", "queued", "waiting", "contested"),
    "alerts": ("alert", "open", "judged", "silence"),
    "measurements": ("measured",),
    "audit": ("audit",),
    "deliveries": ("message", "undelivered", "tried", "dead"),
}
"""What one may wait for, and the looks that show it."""


def tokens(session: Session) -> dict[str, str]:
    """A token a topic, in one query."""
    seen = session.execute(select(*(look.scalar_subquery().label(name) for name, look in _LOOKS.items()))).one()
    return {topic: "/".join(str(getattr(seen, name)) for name in names) for topic, names in TOPICS.items()}
