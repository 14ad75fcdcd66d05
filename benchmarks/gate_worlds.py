"""Made worlds whose truth is known: two versions with given accuracies that disagree as often as one says.

A pair is lost (old right, new wrong), won, both right or both wrong. With old accuracy a, relative fall f and
discordance d (share of pairs on which exactly one is right): P(lost) = (d + a·f)/2, P(won) = (d - a·f)/2.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from monitoring.outcomes import Answers, PairedOutcomes, Provenance

MADE_AT = datetime(2026, 1, 1, tzinfo=UTC)
NUM_CLASSES = 10
DOMAINS = ("en", "es", "fr", "it", "ru", "fr2")
MODALITIES = ("audio", "image", "text")
_CONCENTRATION = 4.0


@dataclass(frozen=True, kw_only=True)
class World:
    """The truth about two versions."""

    accuracy: float
    """Of the old version."""
    fall: float
    """Relative fall of the new one; negative if it is better."""
    discordance: float
    """Share of pairs on which exactly one of the two is right."""

    def __post_init__(self) -> None:
        least = abs(self.accuracy * self.fall)
        most = 2 * min(self.accuracy, 1 - self.accuracy * (1 - self.fall)) - self.accuracy * self.fall
        if not least - 1e-12 <= self.discordance <= most + 1e-12:
            raise ValueError(
                f"discordance must lie in [{least:.3f}, {most:.3f}] for accuracy {self.accuracy} and fall {self.fall}, "
                f"got {self.discordance}. Two versions cannot disagree less than their accuracies differ."
            )

    @property
    def shares(self) -> tuple[float, float, float, float]:
        """Probabilities of both right, lost, won, both wrong."""
        lost = (self.discordance + self.accuracy * self.fall) / 2
        won = (self.discordance - self.accuracy * self.fall) / 2
        return self.accuracy - lost, lost, won, 1 - self.accuracy - won


def independent(accuracy: float, fall: float) -> World:
    """Two versions whose errors have nothing to do with each other."""
    new = accuracy * (1 - fall)
    return World(accuracy=accuracy, fall=fall, discordance=accuracy * (1 - new) + new * (1 - accuracy))


def draw_pairs(world: World, shape: tuple[int, ...], rng: np.random.Generator) -> tuple[NDArray[Any], NDArray[Any]]:
    """(old right, new right), bool arrays of `shape`."""
    both, lost, won, _ = world.shares
    u = rng.random(shape, dtype=np.float32)
    old_right = u < both + lost
    new_right = (u < both) | ((u >= both + lost) & (u < both + lost + won))
    return old_right, new_right


def made_outcomes(
    world: World, num_samples: int, rng: np.random.Generator, *, rows_per_item: int = 1
) -> PairedOutcomes:
    """A validation in that world: ten balanced classes, six domains, three modalities, calibrated confidences.

    With `rows_per_item` above 1, the rows of one item share their outcome, as renderings of one hard thing do.
    """
    num_items = -(-num_samples // rows_per_item)
    item_N = np.repeat(np.arange(num_items), rows_per_item)[:num_samples]
    old_item, new_item = draw_pairs(world, (num_items,), rng)
    old_right_N, new_right_N = old_item[item_N], new_item[item_N]
    target_N = rng.integers(0, NUM_CLASSES, num_samples)
    present = rng.random((num_samples, len(MODALITIES))) > 0.12
    present[~present.any(axis=1), 0] = True
    old = _answers(world.accuracy, old_right_N, target_N, rng)
    new = _answers(world.accuracy * (1 - world.fall), new_right_N, target_N, rng)
    return PairedOutcomes(
        provenance=Provenance(old_version=1, new_version=2, measured_at=MADE_AT),
        ids=np.array([f"s{row}" for row in range(num_samples)]),
        items=np.char.add("i", item_N.astype(str)),
        tasks=np.full(num_samples, "digit"),
        domains=np.array(DOMAINS)[rng.integers(0, len(DOMAINS), num_samples)],
        modalities=np.array(["+".join(np.array(MODALITIES)[row]) for row in present]),
        target=target_N,
        old=old,
        new=new,
    )


def _answers(
    accuracy: float, right_N: NDArray[np.bool_], target_N: NDArray[np.int64], rng: np.random.Generator
) -> Answers:
    """One side. Confidences are drawn so that they are calibrated."""
    alpha, beta = _CONCENTRATION * accuracy, _CONCENTRATION * (1 - accuracy)
    confidence_N = rng.beta(alpha + right_N, beta + ~right_N)
    rest_N = (1 - confidence_N) / (NUM_CLASSES - 1)
    target_probability_N = np.where(right_N, confidence_N, rest_N)
    return Answers(
        answer=np.where(right_N, target_N, (target_N + 1) % NUM_CLASSES),
        followed=np.ones(len(right_N), dtype=bool),
        confidence=confidence_N,
        target_probability=target_probability_N,
        brier=(1 - target_probability_N) ** 2,
        latency_s=rng.gamma(20.0, 0.0005, len(right_N)),
    )
