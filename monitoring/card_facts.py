"""What a version's model card is made of; `monitoring.model_card` renders it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from monitoring.measures.alignment import PairAlignment


@dataclass(frozen=True, kw_only=True)
class Scored:
    """How many of a slice's samples were answered rightly."""

    name: str
    num_right: int
    num_samples: int


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What a version answers to the labelled validation samples. None: could not be measured."""

    overall: Scored
    domains: Sequence[Scored]
    subsets: Sequence[Scored]
    """With only these modalities shown, of the samples that have them all."""
    following: float | None
    """Share of the answers inside the instructed task's set before anything is masked."""
    ece: float | None
    nll: float | None
    brier: float | None
    temperature: float
    balance: float | None
    """0-1, see `monitoring.measures.balance`."""
    shapley: Mapping[str, float] = field(default_factory=dict)
    pairs: Sequence[PairAlignment] = ()


@dataclass(frozen=True, kw_only=True)
class Gate:
    """What the gate saw and said."""

    verdict: str
    reasons: Sequence[str]
    against: int | None
    """The version compared with; None for a first one."""
    rows: Sequence[tuple[str, str, float, float, float, float, int]]
    """(metric, slice, old, new, lower and upper bound of the relative change, samples)."""


@dataclass(frozen=True, kw_only=True)
class CardFacts:
    """Everything that a card tells."""

    model: str
    version: int
    state: str
    made_at: datetime
    architecture: str
    digest: str
    parent: int | None
    ancestors: Sequence[int]
    parameters: int
    stored_bytes: int | None
    description: Mapping[str, Any]
    """Of the architecture."""
    tasks: Mapping[str, Sequence[str]]
    """Each task's answers."""
    trigger: str
    training: Mapping[str, Any]
    """The fit report's figures."""
    roles: Mapping[str, int]
    """Samples of the round by role."""
    num_learnt: int
    """Samples learnt by the version and its ancestors, with the labels in force."""
    num_tainted: int
    """Labels of its own round that are in quarantine now."""
    snapshot: str
    samples: Mapping[str, Mapping[str, int]]
    """Samples in the home by domain and split."""
    measured: Measured
    gate: Gate | None
