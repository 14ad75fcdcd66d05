"""What a stream of domains did to the model, from the matrix R[t][i]: accuracy on domain i after step t.

R is `[T, D]`. Domain i is learnt at step `learned_at[i]`, by default at step i. Sources: GEM (Lopez-Paz and Ranzato
2017) for ACC, BWT, FWT; Chaudhry et al. 2018 for forgetting, whose maximum runs over the steps *before* the last.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True, kw_only=True)
class ContinualScores:
    """All in accuracy (fractions). nan where the stream is too short to say."""

    average_accuracy: float
    """ACC: mean over domains of the accuracy after the last step."""
    backward_transfer: float
    """BWT: mean over domains learnt before the last step of (last accuracy - accuracy when just learnt)."""
    forward_transfer: float
    """FWT: mean over domains learnt after the first step of (accuracy just before learning it - untrained accuracy)."""
    forgetting: float
    """Mean over domains learnt before the last step of (best accuracy at any earlier step - last accuracy)."""
    forgetting_by_domain: tuple[float, ...]
    """The same for each domain; nan for those learnt at the last step."""


def continual_scores(
    accuracy_TD: ArrayLike, *, untrained_D: ArrayLike | None = None, learned_at: Sequence[int] | None = None
) -> ContinualScores:
    """ACC, BWT, FWT and forgetting. `untrained_D` is each domain's accuracy before any training; without it FWT is nan.

    >>> scores = continual_scores([[0.9, 0.2], [0.6, 0.8]], untrained_D=[0.1, 0.1])
    >>> [round(value, 3) for value in (scores.average_accuracy, scores.backward_transfer, scores.forward_transfer)]
    [0.7, -0.3, 0.1]
    >>> round(scores.forgetting, 3)
    0.3
    """
    matrix_TD = np.array(accuracy_TD, dtype=np.float64)
    if matrix_TD.ndim != 2 or 0 in matrix_TD.shape:
        raise ValueError(f"accuracy_TD must be a matrix [steps, domains], got shape {matrix_TD.shape}.")
    num_steps, num_domains = matrix_TD.shape
    learned_D = np.arange(num_domains) if learned_at is None else np.asarray(learned_at, dtype=np.int64)
    if learned_D.shape != (num_domains,) or (learned_D < 0).any():
        raise ValueError(f"learned_at must give a step >= 0 for each of {num_domains} domains, got {learned_at!r}.")
    last_D = matrix_TD[-1]
    earlier_D = learned_D < num_steps - 1
    columns_D = np.arange(num_domains)
    just_learnt_D = matrix_TD[np.minimum(learned_D, num_steps - 1), columns_D]
    forgotten_D = np.where(earlier_D, _best_before_last(matrix_TD) - last_D, np.nan)
    return ContinualScores(
        average_accuracy=float(np.mean(last_D)),
        backward_transfer=_mean((last_D - just_learnt_D)[earlier_D]),
        forward_transfer=_forward(matrix_TD, learned_D, untrained_D),
        forgetting=_mean(forgotten_D[earlier_D]),
        forgetting_by_domain=tuple(float(value) for value in forgotten_D),
    )


def _best_before_last(matrix_TD: NDArray[np.float64]) -> NDArray[np.float64]:
    if len(matrix_TD) < 2:
        return np.full(matrix_TD.shape[1], np.nan)
    return np.asarray(matrix_TD[:-1].max(axis=0))


def _forward(matrix_TD: NDArray[np.float64], learned_D: NDArray[Any], untrained_D: ArrayLike | None) -> float:
    if untrained_D is None:
        return float("nan")
    baseline_D = np.asarray(untrained_D, dtype=np.float64)
    later_D = (learned_D > 0) & (learned_D <= len(matrix_TD))
    before_D = matrix_TD[np.clip(learned_D - 1, 0, len(matrix_TD) - 1), np.arange(len(learned_D))]
    return _mean((before_D - baseline_D)[later_D])


def _mean(values: NDArray[np.float64]) -> float:
    return float(np.mean(values)) if len(values) else float("nan")
