"""The gate's finding on one comparison: is a change beyond its limit established, ruled out, or neither?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import isfinite, isnan

import numpy as np

from monitoring.comparison import Comparison
from monitoring.config import EVERYTHING, GateConfig

NAN = float("nan")


@dataclass(frozen=True, kw_only=True)
class Limit:
    """The worst new figure allowed, as factor·old + offset."""

    factor: float
    offset: float
    is_relative: bool
    """Changes are told relative to the old figure; otherwise as differences."""

    @property
    def change(self) -> float:
        """The limit as a change, in the same terms."""
        return self.factor - 1 if self.is_relative else self.offset


@dataclass(frozen=True, kw_only=True)
class GateRow:
    """The finding on one comparison."""

    comparison: Comparison
    role: str
    """`primary`, `guarded`, `watched`, `slice` or `reported`."""
    finding: str
    """`safe`: a change beyond the limit is ruled out. `harm`: it is established. `small fall`: a fall within the limit
    is established. `suspect`: observed, neither established nor ruled out. `unclear`: neither, and not observed
    either. Else `not enough data`, `not measured` or `reported`."""
    limit: Limit
    p_harm: float
    """p-value for a change beyond the limit, corrected for the number of slices; nan where it was not tested."""
    p_safe: float
    """p-value for no change beyond the limit; nan where it was not tested."""

    @property
    def rejects(self) -> bool:
        """This finding alone refuses the candidate."""
        return self.finding == "harm" and self.role != "watched"

    @property
    def holds(self) -> bool:
        """This finding alone keeps the gate from accepting."""
        if self.role == "primary":
            return self.finding != "safe"
        if self.role == "guarded":
            return self.finding in ("harm", "not measured", "not enough data")
        is_broken = self.finding == "not measured" and self.comparison.num_samples > 0
        return self.finding == "harm" or (self.role == "watched" and is_broken)


def judge_row(comparison: Comparison, config: GateConfig) -> GateRow:
    """Hold one comparison to its limit. The p-values of slices still need to be corrected together."""
    role, limit = role_of(comparison, config), limit_of(comparison, config)
    p_harm, p_safe = _p_values(comparison, limit, config) if role != "reported" else (NAN, NAN)
    row = GateRow(comparison=comparison, role=role, finding="", limit=limit, p_harm=p_harm, p_safe=p_safe)
    return replace(row, finding=_finding(row, config))


def corrected(row: GateRow, p_harm: float, config: GateConfig) -> GateRow:
    """The same row under a p-value corrected for multiplicity."""
    row = replace(row, p_harm=p_harm)
    return replace(row, finding=_finding(row, config))


def role_of(comparison: Comparison, config: GateConfig) -> str:
    """What the gate makes of this metric on this slice."""
    if comparison.slice != EVERYTHING:
        guarded = comparison.metric == "accuracy" and comparison.slice.split("=")[0] in config.guarded_slices
        return "slice" if guarded else "reported"
    for role in ("primary", "guarded", "watched"):
        if comparison.metric in getattr(config, role):
            return role
    return "reported"


def limit_of(comparison: Comparison, config: GateConfig) -> Limit:
    """Scores may fall relatively, latencies rise relatively, errors rise absolutely."""
    if comparison.higher_is_better:
        return Limit(factor=1 - config.max_relative_fall, offset=0.0, is_relative=True)
    if comparison.metric.startswith("latency"):
        return Limit(factor=1 + config.max_latency_rise, offset=0.0, is_relative=True)
    return Limit(factor=1.0, offset=config.max_error_rise, is_relative=False)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down adjusted p-values (Holm 1979), in the order given.

    >>> [round(p, 3) for p in holm([0.01, 0.04, 0.03])]
    [0.03, 0.06, 0.06]
    """
    if not p_values:
        return []
    order = np.argsort(p_values, kind="stable")
    stepped = np.asarray(p_values, dtype=np.float64)[order] * (len(p_values) - np.arange(len(p_values)))
    adjusted = np.empty(len(p_values))
    adjusted[order] = np.minimum(np.maximum.accumulate(stepped), 1.0)
    return [float(value) for value in adjusted]


def _p_values(comparison: Comparison, limit: Limit, config: GateConfig) -> tuple[float, float]:
    """For a change beyond the limit, and for none; (nan, nan) where that cannot be tested."""
    moments = comparison.moments
    if not _has_enough(comparison, config) or isnan(moments.test(limit.factor, limit.offset)):
        return NAN, NAN
    above, below = moments.p_above(limit.factor, limit.offset), moments.p_below(limit.factor, limit.offset)
    return (below, above) if comparison.higher_is_better else (above, below)


def _finding(row: GateRow, config: GateConfig) -> str:
    comparison, alpha = row.comparison, 1 - config.confidence
    if row.role == "reported":
        return "reported"
    if comparison.num_samples and not _has_enough(comparison, config):
        return "not enough data"
    if not isfinite(row.p_harm):
        return "not measured"
    if row.p_harm <= alpha:
        return "harm"
    if row.p_safe <= alpha:
        return "small fall" if row.role == "primary" and _has_fallen(comparison, config) else "safe"
    worst = row.limit.factor * comparison.old + row.limit.offset
    is_beyond = comparison.new < worst if comparison.higher_is_better else comparison.new > worst
    return "suspect" if is_beyond else "unclear"


def _has_fallen(comparison: Comparison, config: GateConfig) -> bool:
    moments = comparison.moments
    p_fall = moments.p_below(1.0) if comparison.higher_is_better else moments.p_above(1.0)
    return config.hold_small_falls and p_fall <= 1 - config.confidence


def _has_enough(comparison: Comparison, config: GateConfig) -> bool:
    minimum = config.min_items if comparison.slice == EVERYTHING else config.min_slice_items
    return comparison.num_items >= minimum
