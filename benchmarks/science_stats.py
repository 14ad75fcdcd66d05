"""Spread and intervals of paired runs, as every table of the science benchmark shows them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

RESAMPLES = 10_000


def interval(values: Sequence[float], confidence: float = 0.95, seed: int = 0) -> tuple[float, float]:
    """Percentile bootstrap interval of the mean; nan for fewer than two values.

    >>> low, high = interval([1.0, 2.0, 3.0, 4.0])
    >>> low < 2.5 < high
    True
    """
    if len(values) < 2:
        return float("nan"), float("nan")
    rng = np.random.default_rng(seed)
    array = np.asarray(values, dtype=np.float64)
    means = array[rng.integers(0, len(array), (RESAMPLES, len(array)))].mean(axis=1)
    tail = (1 - confidence) / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    return float(low), float(high)


def spread(values: Sequence[float], decimals: int = 3) -> str:
    """Mean and standard deviation.

    >>> spread([0.5, 0.7])
    '0.600 ± 0.141'
    """
    deviation = f" ± {np.std(values, ddof=1):.{decimals}f}" if len(values) > 1 else ""
    return f"{np.mean(values):.{decimals}f}{deviation}"


def difference(a: Sequence[float], b: Sequence[float], decimals: int = 1, scale: float = 100.0) -> str:
    """Mean of a - b by pair, in points, with its interval.

    >>> difference([0.5, 0.6], [0.5, 0.5])
    '+5.0 (+0.0 to +10.0)'
    """
    gaps = [scale * (x - y) for x, y in zip(a, b, strict=True)]
    low, high = interval(gaps)
    told = "" if np.isnan(low) else f" ({low:+.{decimals}f} to {high:+.{decimals}f})"
    return f"{np.mean(gaps):+.{decimals}f}{told}"


def area_under(budgets: Sequence[float], accuracies: Sequence[float]) -> float:
    """Mean height of the learning curve over its budgets (trapezoids).

    >>> area_under([0, 100], [0.5, 0.7])
    0.6
    """
    x, y = np.asarray(budgets, dtype=np.float64), np.asarray(accuracies, dtype=np.float64)
    return float(((y[1:] + y[:-1]) / 2 * np.diff(x)).sum() / (x[-1] - x[0]))


def labels_to(budgets: Sequence[float], accuracies: Sequence[float], goal: float) -> float | None:
    """Labels at which the curve first reaches the goal, between two budgets in proportion; None if it never does.

    >>> round(labels_to([0, 100, 200], [0.5, 0.6, 0.8], 0.7) or 0.0, 6), labels_to([0, 100], [0.5, 0.6], 0.7)
    (150.0, None)
    """
    for at, height in enumerate(accuracies):
        if height >= goal:
            if at == 0:
                return float(budgets[0])
            rise = accuracies[at] - accuracies[at - 1]
            share = (goal - accuracies[at - 1]) / rise
            return float(budgets[at - 1] + share * (budgets[at] - budgets[at - 1]))
    return None
