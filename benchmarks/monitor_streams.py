"""Streams of answered samples with a fault at a known place, as columns for other detectors and as samples for ours."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.monitor_damage import deaf, foreign, ignoring, inverted, silent
from benchmarks.monitor_home import live
from benchmarks.monitor_traffic import wrong_of
from monitoring.measures.descriptors import describe
from omni_model.evaluate import predict
from omni_model.features import encode_samples
from omni_model.protocol import LoopModel
from omni_model.sample import AUDIO_RATE_HZ, Sample

FAULTY: Mapping[str, Callable[[Sample], Sample]] = {
    "camera inverted": inverted,
    "microphone silent": silent,
    "microphone lost": deaf,
    "text in another language": foreign,
    "instructions ignored": ignoring,
    "labels flipped": lambda sample: sample,
}
REFERENCE_ROWS, CLEAN_ROWS, FAULTY_ROWS = 384, 640, 256
AT = 320
"""Clean samples before the fault."""
COMPONENTS = 2
"""Principal components of each modality's embeddings that become columns."""
CONSTANT = ("duration_s", "share_unknown", "share_cyrillic")
"""Descriptors that say nothing here: they would be columns without any spread."""
Column = list[float | None]


@dataclass(frozen=True, kw_only=True)
class Answered:
    """Samples with what the model said and whether it was right, as far as feedback tells."""

    samples: Sequence[Sample]
    modalities: Sequence[frozenset[str]]
    confidence: NDArray[Any]
    has_followed: NDArray[np.bool_]
    """Its best answer of all lay in the task's set."""
    is_right: NDArray[np.bool_]
    embeddings: Mapping[str, NDArray[Any]]
    """[N, D] by modality; NaN rows where a sample lacks it."""

    def __len__(self) -> int:
        return len(self.samples)

    def then(self, other: Answered, at: int) -> Answered:
        """The first `at` samples of this one, and the whole other one after them."""
        blank = np.full((len(other), next(iter(self.embeddings.values())).shape[1]), np.nan)
        return Answered(
            samples=[*self.samples[:at], *other.samples],
            modalities=[*self.modalities[:at], *other.modalities],
            confidence=np.concatenate([self.confidence[:at], other.confidence]),
            has_followed=np.concatenate([self.has_followed[:at], other.has_followed]),
            is_right=np.concatenate([self.is_right[:at], other.is_right]),
            embeddings={
                name: np.concatenate([value[:at], other.embeddings.get(name, blank)])
                for name, value in self.embeddings.items()
            },
        )


@dataclass(frozen=True, kw_only=True)
class Streams:
    """Everything of one seed."""

    reference: Answered
    clean: Answered
    faulty: Mapping[str, Answered]

    @staticmethod
    def of(model: LoopModel, seed: int) -> Streams:
        """Rendered and answered."""
        after = live(FAULTY_ROWS, seed=seed * 7 + 3)
        return Streams(
            reference=answered(model, live(REFERENCE_ROWS, seed=seed * 7 + 1)),
            clean=answered(model, live(CLEAN_ROWS, seed=seed * 7 + 2)),
            faulty={
                name: answered(model, [change(row) for row in after], flips=name == "labels flipped")
                for name, change in FAULTY.items()
            },
        )


def answered(model: LoopModel, samples: Sequence[Sample], *, flips: bool = False) -> Answered:
    """What the model says of samples."""
    said = predict(model, encode_samples(model, list(samples), batch_rows=64))
    right = [wrong_of(row.answer or "") if flips else row.answer for row in samples]
    hits = [model.answers[answer] == told for answer, told in zip(said.answer, right, strict=True)]
    return Answered(
        samples=samples,
        modalities=said.modalities,
        confidence=said.confidence,
        has_followed=said.raw_answer == said.answer,
        is_right=np.array(hits),
        embeddings=said.embeddings,
    )


class Columns:
    """Turns answered samples into columns; the axes of embeddings are those of the reference."""

    def __init__(self, reference: Answered) -> None:
        self._axes: dict[str, tuple[NDArray[Any], NDArray[Any]]] = {}
        for name, value_ND in reference.embeddings.items():
            there_ND = value_ND[np.isfinite(value_ND).all(axis=1)]
            mean_D = there_ND.mean(axis=0)
            axes_CD = np.linalg.svd(there_ND - mean_D, full_matrices=False)[2][:COMPONENTS]
            self._axes[name] = mean_D, axes_CD

    def of(self, rows: Answered) -> dict[str, Column]:
        """Confidence, error, descriptors and components; None where a sample lacks the modality."""
        found: dict[str, Column] = {
            "confidence": [float(value) for value in rows.confidence],
            "error": [float(not hit) for hit in rows.is_right],
        }
        for place, row in enumerate(rows.samples):
            for modality, value in row.inputs.items():
                for name, number in describe(modality, value, rate_hz=float(AUDIO_RATE_HZ)).items():
                    if name not in CONSTANT:
                        found.setdefault(name, [None] * len(rows))[place] = number
        for modality, (mean_D, axes_CD) in self._axes.items():
            whole_ND = rows.embeddings.get(modality)
            parts_NC = np.full((len(rows), COMPONENTS), np.nan) if whole_ND is None else (whole_ND - mean_D) @ axes_CD.T
            for at in range(COMPONENTS):
                found[f"{modality} {at}"] = [float(x) if math.isfinite(x) else None for x in parts_NC[:, at]]
        return found


def joined(clean: Mapping[str, Column], faulty: Mapping[str, Column]) -> dict[str, Column]:
    """The clean columns up to the fault and the faulty ones after it; a column that one side lacks is all gaps there.

    >>> joined({"a": [1.0] * 400, "b": [2.0] * 400}, {"a": [3.0]})["b"][-1] is None
    True
    """
    num = len(next(iter(faulty.values())))
    return {name: values[:AT] + list(faulty.get(name, [None] * num)) for name, values in clean.items()}


def first_delay(alarms: Sequence[int], at: int = AT) -> int | None:
    """Samples from the fault to the first alarm at or after it; None if there is none.

    >>> first_delay([10, 320 + 63], 320), first_delay([10], 320)
    (64, None)
    """
    return next((place - at + 1 for place in alarms if place >= at), None)
