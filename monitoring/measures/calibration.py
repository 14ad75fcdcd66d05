"""Does the confidence mean what it says: expected calibration error, negative log-likelihood, Brier score.

Empty input gives nan; a nan in gives nan out.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]
NUM_BINS = 15
PROBABILITY_FLOOR = 1e-12


def bin_of(confidence_N: Floats, num_bins: int = NUM_BINS) -> NDArray[np.int64]:
    """Index of the equal-width bin (lo, hi] that each confidence falls in; 0 belongs to the first, nan to bin 0.

    >>> bin_of(np.array([0.0, 0.05, 1 / 15, 0.07, 1.0])).tolist()
    [0, 0, 0, 1, 14]
    """
    scaled_N = np.ceil(np.nan_to_num(np.asarray(confidence_N, dtype=np.float64)) * num_bins) - 1
    return np.asarray(np.clip(scaled_N, 0, num_bins - 1), dtype=np.int64)


def ece(confidence_N: Floats, correct_N: NDArray[np.bool_], num_bins: int = NUM_BINS) -> float:
    """Expected calibration error, a fraction (Guo et al. 2017, eq. 3). Biased upwards in small samples.

    >>> round(ece(np.array([0.9, 0.9, 0.6, 0.6]), np.array([True, True, True, False])), 4)
    0.1
    """
    if not len(confidence_N):
        return float("nan")
    if not np.isfinite(confidence_N).all():
        return float("nan")
    gap_N = np.asarray(correct_N, dtype=np.float64) - confidence_N
    return float(np.abs(np.bincount(bin_of(confidence_N, num_bins), weights=gap_N)).sum() / len(gap_N))


def nll(target_probability_N: Floats) -> float:
    """Mean of -log p(target), in nats; probabilities below 1e-12 count as 1e-12.

    >>> round(nll(np.array([1.0, 0.5])), 4)
    0.3466
    """
    if not len(target_probability_N):
        return float("nan")
    return float(np.mean(-np.log(np.maximum(target_probability_N, PROBABILITY_FLOOR))))


def brier_rows(probability_NA: Floats, target_N: NDArray[np.integer[Any]]) -> NDArray[np.float64]:
    """Squared distance of each row of probabilities to its one-hot target, in [0, 2]; nan where the target is below 0.

    >>> brier_rows(np.array([[0.5, 0.5], [1.0, 0.0]]), np.array([0, 1])).tolist()
    [0.5, 2.0]
    """
    probability_NA = np.asarray(probability_NA, dtype=np.float64)
    rows_N = np.arange(len(target_N))
    target_probability_N = probability_NA[rows_N, np.maximum(target_N, 0)]
    distance_N = (probability_NA**2).sum(axis=1) - 2 * target_probability_N + 1
    return np.where(target_N >= 0, distance_N, np.nan)


def brier(probability_NA: Floats, target_N: NDArray[np.integer[Any]]) -> float:
    """Mean of `brier_rows` over the labelled rows (Brier 1950, all classes).

    >>> brier(np.array([[0.5, 0.5], [1.0, 0.0]]), np.array([0, -1]))
    0.5
    """
    labelled_N = target_N >= 0
    if not labelled_N.any():
        return float("nan")
    return float(np.mean(brier_rows(probability_NA, target_N)[labelled_N]))
