"""The figures that are no plain means, computed under many weightings of the rows at once, for the bootstrap.

N rows, R weightings, K classes, B bins. Each factory returns a function from weights `[R, N]` to the old and the new
figure.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from monitoring.measures.calibration import NUM_BINS, bin_of
from monitoring.moments import Floats, Statistic


def balanced_accuracy_statistic(class_N: NDArray[Any], old_N: NDArray[np.bool_], new_N: NDArray[np.bool_]) -> Statistic:
    """Mean over the classes that occur under a weighting of the share that is right."""
    index_N = np.unique(class_N, return_inverse=True)[1]
    num_classes = int(index_N.max()) + 1
    member_KN, old_KN, new_KN = (
        _scatter(index_N, num_classes, values) for values in (np.ones(len(index_N)), old_N, new_N)
    )

    def statistic(weight_RN: Floats) -> tuple[Floats, Floats]:
        count_KR = member_KN @ weight_RN.T
        num_present_R = (count_KR > 0).sum(axis=0)
        safe_KR = np.maximum(count_KR, 1)
        old_R = (old_KN @ weight_RN.T / safe_KR).sum(axis=0) / num_present_R
        new_R = (new_KN @ weight_RN.T / safe_KR).sum(axis=0) / num_present_R
        return old_R, new_R

    return statistic


def ece_statistic(
    confidence_old_N: Floats, confidence_new_N: Floats, old_N: NDArray[np.bool_], new_N: NDArray[np.bool_]
) -> Statistic:
    """Expected calibration error over 15 bins; nan if any confidence is not finite."""
    gap_BN = [
        _scatter(bin_of(confidence_N), NUM_BINS, correct_N - confidence_N)
        for confidence_N, correct_N in ((confidence_old_N, old_N), (confidence_new_N, new_N))
    ]

    def statistic(weight_RN: Floats) -> tuple[Floats, Floats]:
        total_R = weight_RN.sum(axis=1)
        old_R, new_R = (np.abs(matrix @ weight_RN.T).sum(axis=0) / total_R for matrix in gap_BN)
        return old_R, new_R

    return statistic


def alignment_statistic(old: Mapping[str, Floats], new: Mapping[str, Floats]) -> Statistic:
    """1 - mean over the directed modality pairs of the share of hits; pairs that a weighting misses are left out.

    Both directions of a pair have the same rows, so the mean over directions is the mean over pairs.
    """
    names = sorted(set(old) & set(new))
    old_NP, new_NP = (np.stack([side[name] for name in names], axis=1) for side in (old, new))
    seen_NP = np.isfinite(old_NP) & np.isfinite(new_NP)

    def statistic(weight_RN: Floats) -> tuple[Floats, Floats]:
        count_RP = weight_RN @ seen_NP
        num_pairs_R = np.maximum((count_RP > 0).sum(axis=1), 1)
        safe_RP = np.maximum(count_RP, 1)
        old_R, new_R = (
            np.where(
                count_RP.any(axis=1),
                1 - (weight_RN @ np.where(seen_NP, hits_NP, 0.0) / safe_RP).sum(axis=1) / num_pairs_R,
                np.nan,
            )
            for hits_NP in (old_NP, new_NP)
        )
        return old_R, new_R

    return statistic


def quantile_statistic(old_N: Floats, new_N: Floats, share: float) -> Statistic:
    """Nearest-rank quantile of each side."""

    def weighted(values_N: Floats, weight_RN: Floats) -> Floats:
        order_N = np.argsort(values_N, kind="stable")
        cumulative_RN = np.cumsum(weight_RN[:, order_N], axis=1)
        rank_R = np.argmax(cumulative_RN >= share * cumulative_RN[:, -1:] - 1e-9, axis=1)
        return np.asarray(values_N[order_N][rank_R])

    def statistic(weight_RN: Floats) -> tuple[Floats, Floats]:
        return weighted(old_N, weight_RN), weighted(new_N, weight_RN)

    return statistic


def _scatter(index_N: NDArray[Any], num_groups: int, values_N: NDArray[Any]) -> Any:
    """Sparse `[groups, N]` that sums `values_N` by group."""
    num_rows = len(index_N)
    values = np.asarray(values_N, dtype=np.float64)
    return sparse.csr_matrix((values, (index_N, np.arange(num_rows))), shape=(num_groups, num_rows))
