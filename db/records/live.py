"""Records of live traffic: predictions, feedback, probation, measurements, alerts, baselines."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

Json = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class NewPrediction:
    """An answer that a version gave, on its way into the log."""

    id: str
    """Chosen by the caller; the same id is logged once."""
    version: int
    task: str
    answer: str
    confidence: float
    """Probability of the answer, within [0, 1]."""
    sample_id: str | None = None
    domain: str = ""
    modalities: tuple[str, ...] = ()
    latency_s: float | None = None
    detail: Json = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """An answer that a version gave."""

    id: str
    version: int
    task: str
    answer: str
    confidence: float | None
    sample_id: str | None
    domain: str
    modalities: tuple[str, ...]
    latency_s: float | None
    detail: Json
    at: datetime


@dataclass(frozen=True, kw_only=True)
class Feedback:
    """The right answer to a prediction, as somebody gave it. The first one per prediction counts."""

    prediction_id: str
    answer: str
    origin: str
    at: datetime


@dataclass(frozen=True, kw_only=True)
class ScoredPrediction:
    """A prediction with its feedback."""

    prediction: Prediction
    feedback: Feedback

    @property
    def is_correct(self) -> bool:
        """Whether the version was right."""
        return self.prediction.answer == self.feedback.answer


@dataclass(frozen=True, kw_only=True)
class NewPair:
    """The same sample answered by the version on probation and by the one before it, on its way in."""

    key: str
    """Id of the sample or prediction; counted once per version."""
    new_correct: bool
    old_correct: bool


@dataclass(frozen=True, kw_only=True)
class ProbationPair:
    """The same sample answered by the version on probation and by the one before it. Read them in order of `id`."""

    id: int
    version: int
    key: str
    new_correct: bool
    old_correct: bool
    at: datetime


@dataclass(frozen=True, kw_only=True)
class NewMeasurement:
    """A number on its way in."""

    metric: str
    value: float | None
    """NaN and infinity are remembered as None: not measured."""
    slice: str = "all"
    version: int | None = None
    num_samples: int = 0
    detail: Json = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """A number with the slice, version and number of samples that it is about."""

    id: int
    metric: str
    slice: str
    version: int | None
    value: float | None
    num_samples: int
    detail: Json
    at: datetime


@dataclass(frozen=True, kw_only=True)
class Alert:
    """Something that wants attention, from its first sight to its end."""

    id: int
    fingerprint: str
    """Identifies what it is about; at most one open alert each."""
    name: str
    severity: str
    state: str
    summary: str
    labels: Json
    detail: Json
    started_at: datetime
    updated_at: datetime
    resolved_at: datetime | None
    value: float | None = None
    """What was measured at the last evaluation, in the unit of the metric."""
    baseline: float | None = None
    """What it was compared with; None where the bound is absolute."""
    version: int | None = None
    page: str | None = None
    """Where to look."""
    mend: str | None = None
    """What to do."""
    group_key: str | None = None
    """Alerts with the same one are told together."""
    fired_at: datetime | None = None
    """When it went from pending to firing."""
    kept_until: datetime | None = None
    """It keeps firing until then although its condition has ended."""
    acknowledged_at: datetime | None = None
    acknowledged_by: str | None = None
    last_notified_at: datetime | None = None
    num_notified: int = 0
    """How often somebody was told."""


@dataclass(frozen=True, kw_only=True)
class Baseline:
    """What measurements are compared with; the newest of a name is in force."""

    id: int
    name: str
    version: int | None
    values: Json
    created_at: datetime
