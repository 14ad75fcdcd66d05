"""What the repository takes and gives: frozen values, never rows. The field names are the column names."""

from __future__ import annotations

from db.records.alerting import NewReport, Notification, Report, RuleState, Silence
from db.records.data import (
    Blob,
    Deletion,
    Fault,
    Ingest,
    Label,
    LabelledSample,
    NewFault,
    NewLabel,
    NewSample,
    QueueEntry,
    StoredSample,
    Task,
)
from db.records.labelling import Claim, Disagreement, LabellerTally, QueueProgress
from db.records.live import (
    Alert,
    Baseline,
    Feedback,
    Measurement,
    NewMeasurement,
    NewPair,
    NewPrediction,
    Prediction,
    ProbationPair,
    ScoredPrediction,
)
from db.records.loop import AuditEntry, OutboxMessage, Release, Round, RoundSample, RoundStep, Serving, Trigger
from db.records.serving import Agreement, NewMirror, Trial

__all__ = [
    "Agreement",
    "Alert",
    "AuditEntry",
    "Baseline",
    "Blob",
    "Claim",
    "Deletion",
    "Disagreement",
    "Fault",
    "Feedback",
    "Ingest",
    "Label",
    "LabelledSample",
    "LabellerTally",
    "Measurement",
    "NewFault",
    "NewLabel",
    "NewMeasurement",
    "NewMirror",
    "NewPair",
    "NewPrediction",
    "NewReport",
    "NewSample",
    "Notification",
    "OutboxMessage",
    "Prediction",
    "ProbationPair",
    "QueueEntry",
    "QueueProgress",
    "Release",
    "Report",
    "Round",
    "RoundSample",
    "RoundStep",
    "RuleState",
    "ScoredPrediction",
    "Serving",
    "Silence",
    "StoredSample",
    "Task",
    "Trial",
    "Trigger",
]
