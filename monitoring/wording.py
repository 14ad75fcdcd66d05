"""The gate's findings as sentences: the figure, its interval, the number of samples, and what follows."""

from __future__ import annotations

from math import isfinite
from typing import Any

from monitoring.comparison import Comparison
from monitoring.config import EVERYTHING
from monitoring.measures.catalogue import MEASURES
from monitoring.rules import GateRow

_CONCLUSIONS = {
    "safe": "a change beyond the limit of {limit} is ruled out",
    "harm": "a change beyond the limit of {limit} is established",
    "small fall": "a fall is established, though one within the limit of {limit}",
    "suspect": "the limit of {limit} is passed, but with so few samples that is not established",
    "unclear": "a change beyond the limit of {limit} is not ruled out with so few samples",
    "not enough data": "not enough data to judge",
    "reported": "reported only",
}


def sentence(row: GateRow, confidence: float) -> str:
    """One finding in words; `confidence` is that of each bound of the interval told."""
    comparison = row.comparison
    where = "" if comparison.slice == EVERYTHING else f" for {comparison.slice}"
    if row.finding == "not measured":
        old, new = comparison.provenance.old_version, comparison.provenance.new_version
        return (
            f"{comparison.metric}{where} could not be measured on {comparison.num_samples:,} samples "
            f"(v{old}: {comparison.old:.4g}, v{new}: {comparison.new:.4g})."
        )
    change, low, high = change_of(comparison, confidence, is_relative=row.limit.is_relative)
    scale, unit = (100.0, " %") if row.limit.is_relative else _absolute_unit(comparison.metric)
    conclusion = _CONCLUSIONS[row.finding].format(limit=f"{_signed(row.limit.change * scale)}{unit}")
    return (
        f"{comparison.metric}{where} went from {comparison.old:.4g} to {comparison.new:.4g}, a change of "
        f"{_signed(change * scale)}{unit} (between {_signed(low * scale)} and {_signed(high * scale)}{unit}, "
        f"{comparison.num_samples:,} samples{_items(comparison)}): {conclusion}."
    )


def change_of(comparison: Comparison, confidence: float, *, is_relative: bool) -> tuple[float, float, float]:
    """The change and the bounds that each hold with `confidence`, as fractions or as differences."""
    if is_relative:
        return (comparison.relative_change, *comparison.moments.relative_interval(confidence))
    return (comparison.new - comparison.old, *comparison.moments.absolute_interval(confidence))


def summary_of(row: GateRow, confidence: float) -> dict[str, Any]:
    """One finding as plain values for a table; None where a number cannot be said."""
    comparison = row.comparison
    change, low, high = change_of(comparison, confidence, is_relative=row.limit.is_relative)
    numbers = {
        "old": comparison.old,
        "new": comparison.new,
        "change": change,
        "low": low,
        "high": high,
        "limit": row.limit.change,
        "p_harm": row.p_harm,
        "p_safe": row.p_safe,
    }
    return {
        "metric": comparison.metric,
        "slice": comparison.slice,
        "role": row.role,
        "finding": row.finding,
        "is_relative": row.limit.is_relative,
        "num_samples": comparison.num_samples,
        "num_items": comparison.num_items,
        "sentence": sentence(row, confidence),
    } | {name: value if isfinite(value) else None for name, value in numbers.items()}


def _absolute_unit(metric: str) -> tuple[float, str]:
    unit = MEASURES[metric].unit
    return (100.0, " points") if unit == "fraction" else (1.0, f" {unit}")


def _items(comparison: Comparison) -> str:
    if comparison.num_items == comparison.num_samples:
        return ""
    return f" from {comparison.num_items:,} independent measurements"


def _signed(value: float) -> str:
    """With a sign and one decimal; a number too small for it gets three figures; no negative zero.

    >>> _signed(4.44), _signed(-0.001), _signed(0.0), _signed(float("nan"))
    ('+4.4', '-0.001', '+0.0', 'no bound')
    """
    if not isfinite(value):
        return "no bound"
    return f"{value:+.1f}" if abs(value) >= 0.05 or value == 0 else f"{value:+.3g}"
