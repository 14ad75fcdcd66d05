"""Right and wrong answers: accuracy, balanced accuracy, tables by slice, and flips between two versions.

Arrays are `[N]`, one entry a sample. A target below 0 means that nobody labelled the sample; such rows are left out.
Where nothing is left to measure, the result is nan, and nan passes no gate.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.integer[Any]]
UNLABELLED = -1


@dataclass(frozen=True, kw_only=True)
class SliceScore:
    """Accuracy of one slice of the samples."""

    slice: str
    """`all` or the slice's own name."""
    num_samples: int
    """Labelled samples in it."""
    accuracy: float
    """Fraction."""
    balanced_accuracy: float
    """Fraction, over the classes that occur in the slice."""


def accuracy(target_N: Ints, answer_N: Ints) -> float:
    """Share of labelled samples whose answer is the target; nan if there is none.

    >>> round(accuracy(np.array([1, 2, 2, -1]), np.array([1, 2, 0, 0])), 4)
    0.6667
    """
    labelled_N = _labelled(target_N, answer_N)
    return float(np.mean(target_N[labelled_N] == answer_N[labelled_N])) if labelled_N.any() else float("nan")


def balanced_accuracy(target_N: Ints, answer_N: Ints) -> float:
    """Mean over the classes that occur of the share answered rightly (Brodersen et al. 2010); nan if there is none.

    >>> balanced_accuracy(np.array([0, 0, 0, 1]), np.array([0, 0, 0, 0]))
    0.5
    """
    labelled_N = _labelled(target_N, answer_N)
    target_N, answer_N = target_N[labelled_N], answer_N[labelled_N]
    if not len(target_N):
        return float("nan")
    _, class_N = np.unique(target_N, return_inverse=True)
    right_K = np.bincount(class_N, weights=(target_N == answer_N).astype(np.float64))
    return float(np.mean(right_K / np.bincount(class_N)))


def slice_table(target_N: Ints, answer_N: Ints, slice_N: Sequence[str] | NDArray[Any]) -> list[SliceScore]:
    """One row for all samples and one for each value in `slice_N`, sorted by name.

    >>> [(row.slice, row.num_samples, row.accuracy) for row in slice_table(
    ...     np.array([1, 1, 0]), np.array([1, 0, 0]), ["en", "en", "fr"])]
    [('all', 3, 0.6666666666666666), ('en', 2, 0.5), ('fr', 1, 1.0)]
    """
    names_N = np.asarray(slice_N, dtype=str)
    if len(names_N) != len(target_N):
        raise ValueError(f"slice_N has {len(names_N)} rows and target_N {len(target_N)}. Give one slice a sample.")
    everything_N = np.ones(len(target_N), dtype=bool)
    rows = [("all", everything_N)] + [(str(name), names_N == name) for name in np.unique(names_N)]
    return [
        SliceScore(
            slice=name,
            num_samples=int(_labelled(target_N[in_N], answer_N[in_N]).sum()),
            accuracy=accuracy(target_N[in_N], answer_N[in_N]),
            balanced_accuracy=balanced_accuracy(target_N[in_N], answer_N[in_N]),
        )
        for name, in_N in rows
    ]


def negative_flip_rate(target_N: Ints, old_N: Ints, new_N: Ints) -> float:
    """Share of labelled samples that `old_N` has right and `new_N` wrong (Yan et al. 2021); nan if there is none.

    >>> negative_flip_rate(np.array([1, 1, 1, 1]), np.array([1, 1, 0, 0]), np.array([1, 0, 1, 0]))
    0.25
    """
    labelled_N = _labelled(target_N, old_N) & _labelled(target_N, new_N)
    if not labelled_N.any():
        return float("nan")
    return float(np.mean((old_N == target_N)[labelled_N] & (new_N != target_N)[labelled_N]))


def _labelled(target_N: Ints, answer_N: Ints) -> NDArray[np.bool_]:
    if target_N.shape != answer_N.shape or target_N.ndim != 1:
        raise ValueError(
            f"target and answer must be two vectors of one length, got shapes {target_N.shape} and {answer_N.shape}. "
            "Give one entry a sample, in one order."
        )
    return np.asarray(target_N >= 0, dtype=bool)
