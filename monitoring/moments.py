"""How sure two paired figures are: their variances and covariance, exactly for means and by bootstrap for the rest.

Whole items are drawn, not rows, because the renderings of one item are not independent. The five moments are all that
is needed to test any margin at any confidence later. N rows, C items, R resamples.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from math import sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Floats = NDArray[np.float64]
Statistic = Callable[[Floats], tuple[Floats, Floats]]
"""Weights `[R, N]` to the old and the new figure under each of them, `[R]` both."""
_CHUNK_CELLS = 4_000_000
_LARGEST = 1e100


@dataclass(frozen=True, kw_only=True)
class Moments:
    """Two paired figures and their sampling variances."""

    old: float
    new: float
    var_old: float
    var_new: float
    covariance: float
    num_samples: int
    """Rows that were measured."""
    num_items: int
    """Independent units among them."""

    @property
    def is_sound(self) -> bool:
        """Finite, and small enough to be squared: what follows from anything else is no measurement."""
        figures = (self.old, self.new, self.var_old, self.var_new, self.covariance)
        return all(abs(figure) < _LARGEST for figure in figures)

    def test(self, factor: float, offset: float = 0.0) -> float:
        """t statistic of new - factor·old - offset against 0; ±inf if it cannot vary, nan if it cannot be said."""
        if not self.is_sound:
            return float("nan")
        difference = self.new - factor * self.old - offset
        variance = self.var_new - 2 * factor * self.covariance + factor**2 * self.var_old
        if variance <= 0:
            return float(np.sign(difference)) * float("inf") if difference else 0.0
        return difference / sqrt(variance)

    def p_above(self, factor: float, offset: float = 0.0) -> float:
        """p-value for the claim that new > factor·old + offset (one-sided t test); 1 if it cannot be said."""
        return self._tail(self.test(factor, offset))

    def p_below(self, factor: float, offset: float = 0.0) -> float:
        """p-value for the claim that new < factor·old + offset (one-sided t test); 1 if it cannot be said."""
        return self._tail(-self.test(factor, offset))

    def _tail(self, statistic: float) -> float:
        if np.isnan(statistic) or self.num_items < 2:
            return 1.0
        return float(stats.t.sf(statistic, self.num_items - 1))

    def relative_interval(self, confidence: float) -> tuple[float, float]:
        """Bounds of new/old - 1, each held with `confidence` (Fieller 1954); nan where the data do not bound it.

        Agrees with `p_above` and `p_below`: a margin lies outside exactly if its p-value is below 1 - confidence.
        """
        t = self._quantile(confidence)
        square = self.old**2 - t * t * self.var_old if self.is_sound else float("nan")
        if not square > 0:
            return float("nan"), float("nan")
        middle = self.old * self.new - t * t * self.covariance
        constant = self.new**2 - t * t * self.var_new
        root = sqrt(max(middle * middle - square * constant, 0.0))
        return (middle - root) / square - 1, (middle + root) / square - 1

    def absolute_interval(self, confidence: float) -> tuple[float, float]:
        """Bounds of new - old, each held with `confidence`; nan where nothing was measured."""
        if not self.is_sound:
            return float("nan"), float("nan")
        variance = self.var_new - 2 * self.covariance + self.var_old
        half = self._quantile(confidence) * sqrt(max(variance, 0.0))
        return self.new - self.old - half, self.new - self.old + half

    def _quantile(self, confidence: float) -> float:
        return float(stats.t.ppf(confidence, self.num_items - 1)) if self.num_items > 1 else float("nan")


def nothing(num_samples: int = 0) -> Moments:
    """The moments of what could not be measured."""
    nan = float("nan")
    return Moments(
        old=nan, new=nan, var_old=nan, var_new=nan, covariance=nan, num_samples=num_samples, num_items=num_samples
    )


def unseen_flips(num_items: int) -> float:
    """Variance of a difference of rates from one flip in each direction that might have been seen but was not.

    Added to every rate (in the spirit of Agresti and Min 2005, Bonett and Price 2012): without it ten samples on which
    two versions happen to agree would prove them equal.

    >>> round(unseen_flips(98) ** 0.5, 4)
    0.0141
    """
    return 2 / (num_items + 2) ** 2


def mean_moments(old_N: NDArray[Any], new_N: NDArray[Any], item_N: NDArray[Any], *, is_rate: bool) -> Moments:
    """Moments of two means over the rows, robust to dependence within an item. nan in, nan out.

    >>> moments = mean_moments(np.array([1, 1, 0, 1]), np.array([1, 0, 0, 1]), np.arange(4), is_rate=False)
    >>> moments.old, moments.new, round(moments.covariance, 4)
    (0.75, 0.5, 0.0417)
    """
    num_rows = len(old_N)
    if num_rows == 0:
        return nothing()
    pair_N2 = np.stack([np.asarray(old_N, dtype=np.float64), np.asarray(new_N, dtype=np.float64)], axis=1)
    mean_2 = pair_N2.mean(axis=0)
    _, item_index_N = np.unique(item_N, return_inverse=True)
    num_items = int(item_index_N.max()) + 1
    deviation_C2 = np.stack(
        [np.bincount(item_index_N, weights=pair_N2[:, side] - mean_2[side], minlength=num_items) for side in (0, 1)],
        axis=1,
    )
    correction = num_items / (num_items - 1) if num_items > 1 else float("nan")
    cov_22 = deviation_C2.T @ deviation_C2 * correction / num_rows**2
    return Moments(
        old=float(mean_2[0]),
        new=float(mean_2[1]),
        var_old=float(cov_22[0, 0]),
        var_new=float(cov_22[1, 1]) + (unseen_flips(num_items) if is_rate else 0.0),
        covariance=float(cov_22[0, 1]),
        num_samples=num_rows,
        num_items=num_items,
    )


def bootstrap_moments(
    statistics: Mapping[str, Statistic],
    item_N: NDArray[Any],
    *,
    resamples: int,
    rng: np.random.Generator,
    rates: frozenset[str] = frozenset(),
) -> dict[str, Moments]:
    """Moments of each statistic under the paired bootstrap over items; all statistics share the draws.

    A statistic that is nan on the data as they are gives nan. `rates` names those that `unseen_flips` is added to.
    """
    num_rows = len(item_N)
    if num_rows == 0 or not statistics:
        return {name: nothing() for name in statistics}
    item_index_N = np.unique(item_N, return_inverse=True)[1]
    num_items = int(item_index_N.max()) + 1
    ones_1N = np.ones((1, num_rows))
    drawn: dict[str, list[Floats]] = {name: [] for name in statistics}
    for weight_RN in _weights(item_index_N, num_items, resamples, rng):
        for name, statistic in statistics.items():
            drawn[name].append(np.stack(statistic(weight_RN), axis=1))
    result = {}
    for name, statistic in statistics.items():
        old_1, new_1 = statistic(ones_1N)
        draws_R2 = np.concatenate(drawn[name])
        draws_R2 = draws_R2[np.isfinite(draws_R2).all(axis=1)]
        cov_22 = np.cov(draws_R2.T) if len(draws_R2) > resamples // 2 else np.full((2, 2), np.nan)
        result[name] = Moments(
            old=float(old_1[0]),
            new=float(new_1[0]),
            var_old=float(cov_22[0, 0]),
            var_new=float(cov_22[1, 1]) + (unseen_flips(num_items) if name in rates else 0.0),
            covariance=float(cov_22[0, 1]),
            num_samples=num_rows,
            num_items=num_items,
        )
    return result


def _weights(
    item_index_N: NDArray[np.int64], num_items: int, resamples: int, rng: np.random.Generator
) -> Iterator[Floats]:
    """How often each row occurs in each resample, in chunks of bounded size."""
    chunk = max(1, _CHUNK_CELLS // max(len(item_index_N), 1))
    for start in range(0, resamples, chunk):
        rows = min(chunk, resamples - start)
        drawn = rng.integers(0, num_items, size=(rows, num_items)) + num_items * np.arange(rows)[:, None]
        count_RC = np.bincount(drawn.ravel(), minlength=rows * num_items).reshape(rows, num_items)
        yield count_RC[:, item_index_N].astype(np.float64)
