"""Does the model answer what it was asked: the instruction-following rate, with Wilson's interval.

An answer follows its instruction if the model's unmasked choice lies in the answer set of the instructed task. Show the
rate also with the non-text modalities removed: a model that reads the task off the picture follows nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats


@dataclass(frozen=True, kw_only=True)
class Rate:
    """A share of samples with its interval. All nan if there were none."""

    rate: float
    low: float
    high: float
    num_samples: int


def wilson_interval(num_hits: int, num_samples: int, confidence: float = 0.95) -> tuple[float, float]:
    """Two-sided interval for a share (Wilson 1927), inside [0, 1]; (nan, nan) for no samples.

    >>> [round(bound, 4) for bound in wilson_interval(8, 10)]
    [0.4902, 0.9433]
    """
    if not 0 <= num_hits <= num_samples:
        raise ValueError(f"num_hits must lie in 0..{num_samples}, got {num_hits}. Count hits among the samples only.")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie in (0, 1), got {confidence}. For 95 % give 0.95.")
    if num_samples == 0:
        return float("nan"), float("nan")
    z = float(stats.norm.ppf(0.5 + confidence / 2))
    share, weight = num_hits / num_samples, z * z / num_samples
    centre = (share + weight / 2) / (1 + weight)
    half = z * np.sqrt(share * (1 - share) / num_samples + weight / (4 * num_samples)) / (1 + weight)
    return (0.0 if num_hits == 0 else float(centre - half)), (1.0 if num_hits == num_samples else float(centre + half))


def instruction_following(followed_N: NDArray[np.bool_], confidence: float = 0.95) -> Rate:
    """Share of the samples whose unmasked answer lies in the instructed task's set (IFEval's strict accuracy).

    >>> instruction_following(np.array([True] * 8 + [False] * 2)).rate
    0.8
    """
    num_samples, num_hits = len(followed_N), int(np.sum(followed_N))
    low, high = wilson_interval(num_hits, num_samples, confidence)
    return Rate(
        rate=num_hits / num_samples if num_samples else float("nan"), low=low, high=high, num_samples=num_samples
    )
