"""The tables. Only `db` knows these classes; everyone else sees `db.records`."""

from __future__ import annotations

from db.models.alerting import NotificationRow, ReportRow, RuleStateRow, SilenceRow
from db.models.base import Base
from db.models.data import BlobRow, FaultRow, IngestRow, LabelRow, LabelSkipRow, QueueRow, SampleRow, TaskRow
from db.models.labelling import DisagreementRow
from db.models.live import AlertRow, BaselineRow, FeedbackRow, MeasurementRow, PairRow, PredictionRow
from db.models.loop import (
    AuditRow,
    OutboxRow,
    ReleaseRow,
    RoundRow,
    RoundSampleRow,
    RoundStepRow,
    ServingRow,
    TriggerRow,
)
from db.models.serving import ArtefactRow, KeyRow, MirrorRow, TrialRow
from db.models.users import SignInLinkRow, UserRow, WebSessionRow

__all__ = [
    "AlertRow",
    "ArtefactRow",
    "AuditRow",
    "Base",
    "BaselineRow",
    "BlobRow",
    "DisagreementRow",
    "FaultRow",
    "FeedbackRow",
    "IngestRow",
    "KeyRow",
    "LabelRow",
    "LabelSkipRow",
    "MeasurementRow",
    "MirrorRow",
    "NotificationRow",
    "OutboxRow",
    "PairRow",
    "PredictionRow",
    "QueueRow",
    "ReleaseRow",
    "ReportRow",
    "RoundRow",
    "RoundSampleRow",
    "RoundStepRow",
    "RuleStateRow",
    "SampleRow",
    "ServingRow",
    "SignInLinkRow",
    "SilenceRow",
    "TaskRow",
    "TrialRow",
    "TriggerRow",
    "UserRow",
    "WebSessionRow",
]
