"""How much better than chance a selection was, known once its labels are in."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

BISECTIONS = 80
FARTHEST = 30.0  # ln of the largest ratio looked at


@dataclass(frozen=True, kw_only=True)
class Lift:
    """Error rate of the serving model in the uncertainty arm over that in the control arm, with its interval."""

    ratio: float | None
    """None where the control arm is empty or without an error: no ratio is known, whatever the interval says."""
    low: float
    high: float | None
    """None where the data set no upper bound."""
    confidence: float
    num_uncertainty: int
    num_wrong_uncertainty: int
    num_control: int
    num_wrong_control: int


def lift_over_random(
    wrong_uncertainty: npt.ArrayLike, wrong_control: npt.ArrayLike, *, confidence: float = 0.95
) -> Lift:
    """Lift of selection over chance: (wrong / rows in the uncertainty arm) / (wrong / rows in the control arm).

    Each argument holds one truth value a labelled row: was the model that selected it wrong on it? The interval is the
    score interval of a ratio of proportions (Koopman 1984), which keeps its coverage in a control arm of few rows, and
    where an arm has no error or nothing but errors. Above 1 throughout: selection is better than chance.

    >>> lift = lift_over_random([True] * 36 + [False] * 4, [True] * 16 + [False] * 64)  # Koopman's own example
    >>> lift.ratio, round(lift.low, 2), round(lift.high, 2)
    (4.5, 2.94, 7.15)
    """
    if not 0.0 < confidence < 1.0:
        raise ValueError(f"confidence must be between 0 and 1, got {confidence}. Pass 0.95 for 95 %.")
    wrong_1, total_1 = _count(wrong_uncertainty, "wrong_uncertainty")
    wrong_0, total_0 = _count(wrong_control, "wrong_control")
    low, high = koopman_interval(wrong_1, total_1, wrong_0, total_0, confidence=confidence)
    known = total_1 > 0 and wrong_0 > 0
    return Lift(
        ratio=(wrong_1 / total_1) / (wrong_0 / total_0) if known else None,
        low=low,
        high=high if math.isfinite(high) else None,
        confidence=confidence,
        num_uncertainty=total_1,
        num_wrong_uncertainty=wrong_1,
        num_control=total_0,
        num_wrong_control=wrong_0,
    )


def koopman_interval(wrong_1: int, rows_1: int, wrong_0: int, rows_0: int, *, confidence: float) -> tuple[float, float]:
    """Score interval of (wrong_1 / rows_1) / (wrong_0 / rows_0); (0, inf) where an arm is empty or none has an error.

    >>> koopman_interval(0, 10, 0, 10, confidence=0.95)
    (0.0, inf)
    """
    if not rows_1 or not rows_0 or not (wrong_1 or wrong_0):
        return 0.0, math.inf
    limit = NormalDist().inv_cdf(0.5 + confidence / 2.0) ** 2

    def inside(log_ratio: float) -> bool:
        return _score_statistic(wrong_1, rows_1, wrong_0, rows_0, math.exp(log_ratio)) <= limit

    middle = (
        math.log(wrong_1 * rows_0 / (wrong_0 * rows_1)) if wrong_1 and wrong_0 else FARTHEST * (-1) ** (wrong_1 == 0)
    )
    low = math.exp(_edge(inside, middle, -FARTHEST)) if wrong_1 else 0.0
    high = math.exp(_edge(inside, middle, FARTHEST)) if wrong_0 else math.inf
    return low, high


def _score_statistic(wrong_1: int, rows_1: int, wrong_0: int, rows_0: int, ratio: float) -> float:
    """Squared score statistic of "rate 1 = ratio x rate 0", with the rates of highest likelihood under it."""
    sum_b = ratio * (rows_1 + wrong_0) + wrong_1 + rows_0
    root = math.sqrt(max(sum_b * sum_b - 4.0 * ratio * (rows_1 + rows_0) * (wrong_1 + wrong_0), 0.0))
    # the smaller root of a quadratic, in the form that loses no digits when `ratio` is far from 1
    rate_1 = min(2.0 * ratio * (wrong_1 + wrong_0) / (sum_b + root), 1.0)
    rate_0 = min(rate_1 / ratio, 1.0)
    variance = rate_1 * (1.0 - rate_1) / rows_1 + ratio * ratio * rate_0 * (1.0 - rate_0) / rows_0
    difference = wrong_1 / rows_1 - ratio * wrong_0 / rows_0
    if variance <= 0.0:
        return 0.0 if abs(difference) < 1e-12 else math.inf
    return difference * difference / variance


def _edge(inside: Callable[[float], bool], inner: float, outer: float) -> float:
    """The border between `inner`, which is inside, and `outer`, which is not."""
    for _ in range(BISECTIONS):
        middle = 0.5 * (inner + outer)
        inner, outer = (middle, outer) if inside(middle) else (inner, middle)
    return 0.5 * (inner + outer)


def _count(wrong: npt.ArrayLike, name: str) -> tuple[int, int]:
    values = np.asarray(wrong)
    if values.size and values.dtype != np.bool_:
        raise ValueError(f"{name} must hold truth values, got {values.dtype}. Leave out rows whose label is not known.")
    return int(values.sum()), int(values.size)
