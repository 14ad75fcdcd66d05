"""Has a modality changed? On the model's embeddings, and on simple descriptors that a person can look at.

A reference and a current sample of each, no labels needed. Values lie in [0, 1]: 0 for no difference seen, 1 for two
sets that nothing in common has.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Floats = NDArray[np.float64]
MIN_ROWS = 10
FOLDS = 5


@dataclass(frozen=True, kw_only=True)
class Shift:
    """How far a current sample lies from its reference."""

    value: float | None
    """In [0, 1]; None with fewer than ten rows on a side."""
    num_rows: int
    """Current rows."""
    spread: float | None = None
    """Standard error of the value where it is 0 or small; a rule adds it to its bound."""
    feature: str = ""
    """The descriptor that moved most."""


def embedding_shift(reference_RD: Floats, current_ND: Floats, *, seed: int = 0) -> Shift:
    """2 AUC - 1 of Fisher's discriminant, cross-validated, between the two sets; below 0 counts as 0.

    A classifier two-sample test (Lopez-Paz and Oquab 2017). Rows that are not finite are left out. The spread is that
    of an AUC of one half (Hanley and McNeil 1982).

    >>> rng = np.random.default_rng(0)
    >>> same, other = rng.normal(size=(200, 8)), rng.normal(size=(200, 8)) + 3
    >>> embedding_shift(same[:100], same[100:]).value < 0.2, embedding_shift(same, other).value > 0.99
    (True, True)
    """
    reference_RD = reference_RD[np.isfinite(reference_RD).all(axis=1)]
    current_ND = current_ND[np.isfinite(current_ND).all(axis=1)]
    num_reference, num_current = len(reference_RD), len(current_ND)
    if min(num_reference, num_current) < MIN_ROWS:
        return Shift(value=None, num_rows=num_current)
    rows_MD = np.concatenate([reference_RD, current_ND])
    is_current_M = np.arange(len(rows_MD)) >= num_reference
    fold_M = np.random.default_rng(seed).permutation(len(rows_MD)) % FOLDS
    aucs = [_auc_of_fold(rows_MD, is_current_M, fold_M == fold) for fold in range(FOLDS)]
    known = [auc for auc in aucs if auc is not None]
    if not known:
        return Shift(value=None, num_rows=num_current)
    spread = 2 * sqrt((num_reference + num_current + 1) / (12 * num_reference * num_current))
    return Shift(value=max(0.0, 2 * float(np.mean(known)) - 1), num_rows=num_current, spread=spread)


def descriptor_shift(reference: Mapping[str, Sequence[float]], current: Mapping[str, Sequence[float]]) -> Shift:
    """The largest Kolmogorov-Smirnov distance among the descriptors that both sides have.

    The spread is a third of the distance that chance alone gives at 99 % (Smirnov), over all descriptors together.

    >>> descriptor_shift({"length": [1.0] * 20, "mean": [0.0] * 20}, {"length": [9.0] * 20, "mean": [0.0] * 20}).feature
    'length'
    """
    shifts = []
    for name in sorted(reference.keys() & current.keys()):
        a = np.asarray([value for value in reference[name] if np.isfinite(value)], dtype=np.float64)
        b = np.asarray([value for value in current[name] if np.isfinite(value)], dtype=np.float64)
        if min(len(a), len(b)) >= MIN_ROWS:
            shifts.append((float(stats.ks_2samp(a, b, method="asymp").statistic), len(a), len(b), name))
    num_rows = max((len(values) for values in current.values()), default=0)
    if not shifts:
        return Shift(value=None, num_rows=num_rows)
    value, num_a, num_b, name = max(shifts)
    chance = sqrt(-np.log(0.01 / len(shifts) / 2) / 2 * (num_a + num_b) / (num_a * num_b))
    return Shift(value=value, num_rows=num_b, spread=float(chance) / 3, feature=name)


def _auc_of_fold(rows_MD: Floats, is_current_M: NDArray[np.bool_], is_held_M: NDArray[np.bool_]) -> float | None:
    """AUC on the rows held out of Fisher's discriminant of the others, its covariance shrunk towards its mean."""
    train, labels = rows_MD[~is_held_M], is_current_M[~is_held_M]
    held, truth = rows_MD[is_held_M], is_current_M[is_held_M]
    if truth.all() or not truth.any() or min(labels.sum(), (~labels).sum()) < 2:
        return None
    means = train[labels].mean(axis=0), train[~labels].mean(axis=0)
    centred = np.where(labels[:, None], train - means[0], train - means[1])
    covariance_DD = centred.T @ centred / len(train)
    ridge = 0.1 * float(np.trace(covariance_DD)) / len(covariance_DD) + 1e-12
    direction_D: Any = np.linalg.solve(covariance_DD + ridge * np.eye(len(covariance_DD)), means[0] - means[1])
    ranks = stats.rankdata(held @ direction_D)
    num_true = int(truth.sum())
    return float((ranks[truth].sum() - num_true * (num_true + 1) / 2) / (num_true * (len(truth) - num_true)))
