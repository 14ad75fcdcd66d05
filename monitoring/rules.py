"""The gate's limits, and its finding on one comparison."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import isfinite

import numpy as np

from monitoring.comparison import EVERYTHING, Comparison


@dataclass(frozen=True, kw_only=True)
class GateConfig:
    """What a candidate is held to."""

    max_relative_fall: float = 0.05
    """Allowed relative fall of accuracy, balanced accuracy, instruction following and other scores; a fraction."""
    max_error_rise: float = 0.05
    """Allowed rise of ECE, alignment error and other errors; absolute, as a ratio of tiny errors says nothing."""
    max_latency_rise: float = 1.0
    """Allowed relative rise of a latency quantile; 1.0 lets it double."""
    confidence: float = 0.95
    """Confidence of each bound: a candidate just at the limit is accepted with a chance of at most 1 - confidence."""
    primary: tuple[str, ...] = ("accuracy", "balanced_accuracy")
    """Metrics for which a fall beyond the limit must be ruled out before the gate accepts."""
    guarded: tuple[str, ...] = ("instruction_following", "ece")
    """Metrics that must be there and reject if a fall beyond the limit is established."""
    watched: tuple[str, ...] = ("alignment_error", "latency_p50")
    """Metrics whose established fall holds the candidate for a person; may be absent."""
    guarded_slices: tuple[str, ...] = ("task", "domain", "modalities", "with", "without")
    """Kinds of slice whose accuracy rejects if a fall beyond the limit is established after Holm's correction."""
    min_items: int = 60
    """Independent items that a primary or guarded metric must rest on."""
    min_slice_items: int = 20
    """Independent items below which a slice is reported as not enough data."""
    max_age_s: float = 7 * 86400.0
    """Seconds after which a comparison no longer counts."""

    def __post_init__(self) -> None:
        for name in ("max_relative_fall", "max_error_rise"):
            if not 0 < getattr(self, name) < 1:
                raise ValueError(f"gate.{name} must lie in (0, 1), got {getattr(self, name)}. For 5 % give 0.05.")
        if not self.max_latency_rise > 0:
            raise ValueError(f"gate.max_latency_rise must be above 0, got {self.max_latency_rise}. For +50 % give 0.5.")
        if not 0.5 < self.confidence < 1:
            raise ValueError(f"gate.confidence must lie in (0.5, 1), got {self.confidence}. For 95 % give 0.95.")
        if not self.primary:
            raise ValueError("gate.primary is empty, so anything would be accepted. Name at least `accuracy`.")
        if self.min_items < 2 or self.min_slice_items < 2:
            raise ValueError(
                f"gate.min_items and min_slice_items must be at least 2, got {self.min_items}, {self.min_slice_items}."
            )
        if not self.max_age_s > 0:
            raise ValueError(f"gate.max_age_s must be above 0, got {self.max_age_s}. A week is 604800.")

    def role_of(self, metric: str, slice_name: str) -> str:
        """`primary`, `guarded`, `watched`, `slice` or `reported`."""
        if slice_name != EVERYTHING:
            return "slice" if metric == "accuracy" and slice_name.split("=")[0] in self.guarded_slices else "reported"
        for role in ("primary", "guarded", "watched"):
            if metric in getattr(self, role):
                return role
        return "reported"


@dataclass(frozen=True, kw_only=True)
class GateRow:
    """The finding on one comparison."""

    comparison: Comparison
    role: str
    """`primary`, `guarded`, `watched`, `slice` or `reported`."""
    finding: str
    """`safe`, `harm` (rejects), `worse` (holds), `unclear`, `not enough data`, `not measured` or `reported`."""
    p_harm: float
    """p-value for a fall beyond the limit, corrected for the number of slices; nan where it was not tested."""
    p_safe: float
    """p-value for no fall beyond the limit; nan where it was not tested."""
    reason: str
    """The finding as a sentence with figure, interval and number of samples."""

    @property
    def blocks(self) -> bool:
        """This finding alone keeps the gate from accepting."""
        if self.role == "primary":
            return self.finding != "safe"
        if self.role == "guarded":
            return self.finding in ("harm", "worse", "not measured", "not enough data")
        return self.finding == "worse"

    def corrected(self, p_harm: float, config: GateConfig) -> GateRow:
        """The same row under a p-value corrected for multiplicity."""
        return _decide(replace(self, p_harm=p_harm), config)


def judge_row(comparison: Comparison, config: GateConfig) -> GateRow:
    """Hold one comparison to its limit. Slices still need their p-values corrected together."""
    role = config.role_of(comparison.metric, comparison.slice)
    p_harm, p_safe = _p_values(comparison, config) if role != "reported" else (float("nan"), float("nan"))
    row = GateRow(comparison=comparison, role=role, finding="reported", p_harm=p_harm, p_safe=p_safe, reason="")
    return _decide(row, config)


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


def _p_values(comparison: Comparison, config: GateConfig) -> tuple[float, float]:
    minimum = config.min_slice_items if comparison.slice != EVERYTHING else config.min_items
    if not (isfinite(comparison.old) and isfinite(comparison.new)) or comparison.num_items < minimum:
        return float("nan"), float("nan")
    factor, offset = _limit(comparison, config)
    above, below = comparison.moments.p_above(factor, offset), comparison.moments.p_below(factor, offset)
    return (below, above) if comparison.higher_is_better else (above, below)


def _limit(comparison: Comparison, config: GateConfig) -> tuple[float, float]:
    """The limit of the new figure as factor·old + offset."""
    if comparison.higher_is_better:
        return 1 - config.max_relative_fall, 0.0
    if comparison.metric.startswith("latency"):
        return 1 + config.max_latency_rise, 0.0
    return 1.0, config.max_error_rise


def _decide(row: GateRow, config: GateConfig) -> GateRow:
    finding = _finding(row, config)
    return replace(row, finding=finding, reason=_sentence(row, finding, config))


def _finding(row: GateRow, config: GateConfig) -> str:
    comparison, alpha = row.comparison, 1 - config.confidence
    if row.role == "reported":
        return "reported"
    if comparison.num_samples == 0 or not (isfinite(comparison.old) and isfinite(comparison.new)):
        return "not measured"
    if not isfinite(row.p_harm):
        return "not enough data"
    if row.p_harm <= alpha:
        return "worse" if row.role == "watched" else "harm"
    if row.p_safe <= alpha:
        return "safe"
    return "unclear"


_CONCLUSIONS = {
    "safe": "a change beyond the limit of {limit} is ruled out",
    "harm": "a change beyond the limit of {limit} is established",
    "worse": "a change beyond the limit of {limit} is established",
    "unclear": "a change beyond the limit of {limit} is neither established nor ruled out",
    "not enough data": "not enough data",
    "reported": "reported only",
}


def _sentence(row: GateRow, finding: str, config: GateConfig) -> str:
    comparison = row.comparison
    where = "" if comparison.slice == EVERYTHING else f" for {comparison.slice}"
    if finding == "not measured":
        return (
            f"{comparison.metric}{where} could not be measured (v{comparison.provenance.old_version}: "
            f"{comparison.old:.4g}, v{comparison.provenance.new_version}: {comparison.new:.4g})."
        )
    relative = comparison.higher_is_better or comparison.metric.startswith("latency")
    change, low, high = _interval(comparison, config.confidence, relative)
    unit = "%" if relative else "points"
    factor, offset = _limit(comparison, config)
    limit = f"{(factor - 1 + offset) * 100:+.1f} {unit}"
    return (
        f"{comparison.metric}{where} went from {comparison.old:.4g} to {comparison.new:.4g}, "
        f"{change:+.1f} {unit} (interval {_bound(low)} to {_bound(high)} {unit}, "
        f"{comparison.num_samples:,} samples of {comparison.num_items:,} items): "
        f"{_CONCLUSIONS[finding].format(limit=limit)}."
    )


def _interval(comparison: Comparison, confidence: float, relative: bool) -> tuple[float, float, float]:
    if relative:
        low, high = comparison.moments.relative_interval(confidence)
        return comparison.relative_change * 100, low * 100, high * 100
    low, high = comparison.moments.absolute_interval(confidence)
    return (comparison.new - comparison.old) * 100, low * 100, high * 100


def _bound(value: float) -> str:
    return f"{value:+.1f}" if isfinite(value) else "unbounded"
