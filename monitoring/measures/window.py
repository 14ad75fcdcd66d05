"""What a window of the log of predictions says: one number a metric and slice, with its samples and its spread.

An empty window gives no numbers but a count of 0; what cannot be measured (nobody timed it, nobody gave feedback) is
None with the samples that there were, so that a rule sees missing data and not a good value.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from math import isfinite, sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from monitoring.measures.calibration import ece
from monitoring.measures.latency import quantile

ALL, OTHER = "all", "other"
KINDS = ("domain", "task", "modalities")
OF_LOG = ("num_predictions", "latency_p50", "latency_p95", "latency_p99", "confidence", "uncertainty")
OF_FEEDBACK = ("accuracy", "ece")
Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Row:
    """An answer as the log has it."""

    domain: str
    task: str
    modalities: str
    """Those that it was given, such as `image+text`."""
    confidence: float | None = None
    entropy: float | None = None
    """In nats."""
    latency_s: float | None = None
    is_correct: bool | None = None
    """None without feedback."""


@dataclass(frozen=True, kw_only=True)
class Number:
    """A measured value, on its way to be remembered."""

    metric: str
    slice: str
    """`all`, or a kind and a value such as `domain=ru`."""
    value: float | None
    num_samples: int
    spread: float | None = None
    """Standard error of the value."""
    detail: Mapping[str, Any] = field(default_factory=dict)


def measure(rows: Sequence[Row], *, kinds: Sequence[str] = KINDS, max_slices: int = 30) -> list[Number]:
    """Every metric of the log on all rows and on each slice; of more slices of a kind the rest is one, `other`.

    >>> rows = [Row(domain="en", task="digit", modalities="text", latency_s=s) for s in (0.1, 0.2, 0.3)]
    >>> [(n.slice, n.value) for n in measure(rows) if n.metric == "latency_p50"]
    [('all', 0.2), ('domain=en', 0.2), ('task=digit', 0.2), ('modalities=text', 0.2)]
    """
    return _on_slices(rows, measure_log, kinds, max_slices)


def measure_feedback(rows: Sequence[Row], *, kinds: Sequence[str] = KINDS, max_slices: int = 30) -> list[Number]:
    """Accuracy and calibration of the rows with feedback, in all and by slice.

    >>> rows = [Row(domain="en", task="digit", modalities="text", is_correct=hit) for hit in (True, True, False, None)]
    >>> [(n.metric, round(n.value, 3), n.num_samples) for n in measure_feedback(rows, kinds=())]
    [('accuracy', 0.667, 3)]
    """
    return _on_slices(rows, measure_judged, kinds, max_slices)


def slices(rows: Iterable[Row], kind: str, max_slices: int) -> dict[str, list[Row]]:
    """Rows by their value of a kind, the largest first; what is beyond `max_slices` is together under `other`."""
    rows = list(rows)
    counted = Counter(getattr(row, kind) for row in rows)
    ranked = sorted(counted, key=lambda name: (-counted[name], name))
    kept = set(ranked if len(ranked) <= max_slices else ranked[: max_slices - 1])
    parts: dict[str, list[Row]] = {name: [] for name in ranked if name in kept}
    for row in rows:
        name = getattr(row, kind)
        parts.setdefault(name if name in kept else OTHER, []).append(row)
    return parts


def measure_log(rows: Sequence[Row], name: str) -> list[Number]:
    """What the log alone says of a slice."""
    found = [Number(metric="num_predictions", slice=name, value=float(len(rows)), num_samples=len(rows))]
    latency_N = _column(rows, "latency_s")
    for metric, share in (("latency_p50", 0.5), ("latency_p95", 0.95), ("latency_p99", 0.99)):
        found.append(_number(metric, name, latency_N, partial(quantile_with_spread, share=share)))
    for metric, column in (("confidence", "confidence"), ("uncertainty", "entropy")):
        found.append(_number(metric, name, _column(rows, column), mean_spread))
    return found


def measure_judged(rows: Sequence[Row], name: str) -> list[Number]:
    """What feedback says of a slice."""
    judged = [row for row in rows if row.is_correct is not None]
    correct_N = np.array([bool(row.is_correct) for row in judged], dtype=np.float64)
    found = [_number("accuracy", name, correct_N, share_spread)]
    sure_N = _column(judged, "confidence")
    if len(judged) and np.isfinite(sure_N).all():
        found.append(Number(metric="ece", slice=name, value=ece(sure_N, correct_N > 0), num_samples=len(judged)))
    return found


def mean_spread(values_N: Floats) -> tuple[float, float | None]:
    """Mean and its standard error; None for the error of one value.

    >>> mean_spread(np.array([1.0, 3.0]))
    (2.0, 1.0)
    """
    num = len(values_N)
    return float(values_N.mean()), float(values_N.std(ddof=1)) / sqrt(num) if num > 1 else None


def share_spread(hits_N: Floats) -> tuple[float, float | None]:
    """A share of 0/1 values and its standard error, with the share drawn towards a half by two hits and two misses.

    So ten of ten are not sure to the last digit (Agresti and Coull 1998).

    >>> share, error = share_spread(np.ones(10))
    >>> share, round(error, 3)
    (1.0, 0.094)
    """
    num = len(hits_N)
    drawn = (float(hits_N.sum()) + 2) / (num + 4)
    return float(hits_N.mean()), sqrt(drawn * (1 - drawn) / (num + 4))


def quantile_with_spread(values_N: Floats, share: float) -> tuple[float, float | None]:
    """A quantile and its standard error."""
    return quantile(values_N, share), quantile_spread(values_N, share)


def quantile_spread(values_N: Floats, share: float) -> float:
    """Standard error of a quantile from order statistics: half the width of its 68 % interval (Woodruff 1952).

    >>> quantile_spread(np.arange(1.0, 101.0), 0.5)
    5.5
    """
    num = len(values_N)
    half = sqrt(share * (1 - share) / num)
    low, high = max(share - half, 1 / num), min(share + half, 1.0)
    return (quantile(values_N, high) - quantile(values_N, low)) / 2


def _on_slices(
    rows: Sequence[Row], how: Callable[[Sequence[Row], str], list[Number]], kinds: Sequence[str], max_slices: int
) -> list[Number]:
    found = how(rows, ALL)
    for kind in kinds:
        for name, part in slices(rows, kind, max_slices).items():
            found += how(part, f"{kind}={name}")
    return found


def _number(metric: str, name: str, values_N: Floats, how: Callable[[Floats], tuple[float, float | None]]) -> Number:
    """One number of the finite values; None if there are none, or if more than one in a hundred is not finite."""
    known_N = values_N[np.isfinite(values_N)]
    if not len(known_N) or len(known_N) < 0.99 * len(values_N):
        return Number(metric=metric, slice=name, value=None, num_samples=len(known_N))
    value, spread = how(known_N)
    return Number(metric=metric, slice=name, value=value, num_samples=len(known_N), spread=spread)


def _column(rows: Sequence[Row], name: str) -> Floats:
    values = [getattr(row, name) for row in rows]
    return np.array([np.nan if value is None or not isfinite(value) else value for value in values], dtype=np.float64)
