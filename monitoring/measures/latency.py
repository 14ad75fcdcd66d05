"""How long answers take."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class LatencyQuantiles:
    """Seconds from sample to answer. All nan if nothing was timed."""

    p50_s: float
    p95_s: float
    p99_s: float
    num_samples: int


def quantile(values_N: NDArray[np.floating[Any]], share: float) -> float:
    """The smallest value that at least `share` of the values keep within (nearest rank). Rows with nan are left out.

    >>> quantile(np.array([4.0, 1.0, 3.0, 2.0]), 0.5)
    2.0
    """
    if not 0 < share <= 1:
        raise ValueError(f"share must lie in (0, 1], got {share}. For the 95th percentile give 0.95.")
    timed_N = values_N[~np.isnan(values_N)]
    return float(np.quantile(timed_N, share, method="inverted_cdf")) if len(timed_N) else float("nan")


def latency_quantiles(latency_s_N: NDArray[np.floating[Any]]) -> LatencyQuantiles:
    """The three quantiles that pages show.

    >>> latency_quantiles(np.arange(1, 101) / 1000)
    LatencyQuantiles(p50_s=0.05, p95_s=0.095, p99_s=0.099, num_samples=100)
    """
    return LatencyQuantiles(
        p50_s=quantile(latency_s_N, 0.50),
        p95_s=quantile(latency_s_N, 0.95),
        p99_s=quantile(latency_s_N, 0.99),
        num_samples=int((~np.isnan(latency_s_N)).sum()),
    )
