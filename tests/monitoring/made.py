"""Small validations with known outcomes, for tests."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.gate_worlds import World, made_outcomes
from monitoring.comparison import Comparison, compare
from monitoring.gate import GateConfig, Verdict, judge
from monitoring.outcomes import Answers, PairedOutcomes

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
EQUAL = World(accuracy=0.8, fall=0.0, discordance=0.1)
BETTER = World(accuracy=0.8, fall=-0.1, discordance=0.12)
WORSE = World(accuracy=0.8, fall=0.25, discordance=0.25)


def outcomes(world: World, num_samples: int, seed: int = 0, **other: Any) -> PairedOutcomes:
    """A validation of one world."""
    return made_outcomes(world, num_samples, np.random.default_rng(seed), **other)


def verdict(
    evidence: PairedOutcomes | list[Comparison], config: GateConfig | None = None, serving_version: int | None = 1
) -> Verdict:
    """The gate's answer on the day after."""
    rows = compare(evidence, resamples=300) if isinstance(evidence, PairedOutcomes) else evidence
    return judge(rows, config or GateConfig(), now=NOW, serving_version=serving_version)


def with_new(paired: PairedOutcomes, **columns: Any) -> PairedOutcomes:
    """The same outcomes with columns of the candidate replaced."""
    return replace(paired, new=replace(paired.new, **columns))


def identical(paired: PairedOutcomes) -> PairedOutcomes:
    """The candidate answers exactly as the version in service does."""
    return replace(paired, new=paired.old)


def damaged(paired: PairedOutcomes) -> Answers:
    """The candidate with its answers shifted by one: all wrong."""
    return replace(paired.new, answer=(paired.target + 1) % 10)


@dataclass
class MadePredictions:
    """What `omni_model` would return, from columns."""

    ids: NDArray[Any]
    probs: NDArray[Any]
    target: NDArray[Any]
    answers: tuple[str, ...] = tuple("0123456789")
    modalities: list[frozenset[str]] = field(default_factory=list)
    embeddings: dict[str, NDArray[Any]] = field(default_factory=dict)
    raw_answer: NDArray[Any] = field(default_factory=lambda: np.array([]))

    def __post_init__(self) -> None:
        num_rows = len(self.ids)
        self.modalities = self.modalities or [frozenset({"image", "text"})] * num_rows
        self.tasks = np.array(["digit"] * num_rows, dtype=object)
        self.domains = np.array(["en"] * num_rows, dtype=object)
        self.answer = self.probs.argmax(axis=1)
        self.confidence = self.probs.max(axis=1)
        self.latency_s = np.full(num_rows, 0.01)
        if not len(self.raw_answer):
            self.raw_answer = self.answer
