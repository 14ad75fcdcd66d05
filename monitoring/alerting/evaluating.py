"""Hold a value to a rule: ok, breach, or no data. Never ok without data, and never a breach by a bare accident.

>>> from monitoring.alerting.rule import Bound, Rule
>>> rule = Rule(name="slow", metric="latency_p95", bound=Bound(kind="relative", side="upper", limit=0.15), confidence=0)
>>> evaluate(rule, Reading(value=0.05, num_samples=200), Reading(value=0.04, num_samples=500)).status
'breach'
>>> evaluate(rule, Reading(value=0.05, num_samples=99), Reading(value=0.04, num_samples=500)).why
'99 samples of the 100 that it takes.'
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import hypot, isfinite
from statistics import NormalDist, fmean

from monitoring.alerting.rule import Rule

OK, BREACH, NO_DATA = "ok", "breach", "no_data"


@dataclass(frozen=True, kw_only=True)
class Reading:
    """A measured value, or a baseline."""

    value: float | None
    """None where it could not be measured; nan and infinity count as None."""
    num_samples: int = 0
    spread: float | None = None
    """Standard error of `value`; None where it is not known, which counts as 0."""


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What a rule finds at one moment."""

    status: str
    """`ok`, `breach` or `no_data`."""
    why: str
    """One sentence."""
    value: float | None = None
    baseline: float | None = None
    bound: float | None = None
    """The last value allowed, in the unit of the metric."""
    num_samples: int = 0


def evaluate(rule: Rule, reading: Reading | None, baseline: Reading | None, *, is_breached: bool = False) -> Evaluation:
    """Hold `reading` to `rule`. `is_breached`: it was in breach before, so that the hysteresis applies.

    A breach begins once the value is beyond the bound with the rule's confidence. It ends when the value is within.
    """
    if reading is None:
        return Evaluation(status=NO_DATA, why="Nothing was measured in the window.")
    if reading.num_samples < rule.min_samples:
        why = f"{reading.num_samples:,} samples of the {rule.min_samples:,} that it takes."
        return Evaluation(status=NO_DATA, why=why, value=_number(reading.value), num_samples=reading.num_samples)
    value = _number(reading.value)
    if value is None:
        return Evaluation(status=NO_DATA, why="The value could not be measured.", num_samples=reading.num_samples)
    compared = None if rule.bound.kind == "absolute" or baseline is None else _number(baseline.value)
    bound = rule.bound.at(compared, is_breached=is_breached)
    if bound is None:
        why = "There is no baseline to hold it to. `omniloop baseline` captures one."
        return Evaluation(status=NO_DATA, why=why, value=value, num_samples=reading.num_samples)
    is_beyond, is_unsure = rule.bound.is_beyond(value, bound), False
    if is_beyond and not is_breached and rule.confidence:
        is_unsure = abs(value - bound) <= _z(rule.confidence) * spread_of(rule, reading, baseline)
        is_beyond = not is_unsure
    return Evaluation(
        status=BREACH if is_beyond else OK,
        why=_sentence(rule, value, compared, bound, word="is" if is_beyond else "may be" if is_unsure else "is not"),
        value=value,
        baseline=compared,
        bound=bound,
        num_samples=reading.num_samples,
    )


def spread_of(rule: Rule, reading: Reading, baseline: Reading | None) -> float:
    """Standard error of the distance between value and bound: both vary, the baseline times its factor."""
    own = _number(reading.spread) or 0.0
    if rule.bound.kind == "absolute" or baseline is None:
        return own
    factor = 1 + rule.bound.limit if rule.bound.side == "upper" else 1 - rule.bound.limit
    return hypot(own, factor * (_number(baseline.spread) or 0.0))


def combine(readings: Sequence[Reading], over: str) -> Reading | None:
    """One reading of those in a window, oldest first; None without any. Those without a value count for nothing.

    >>> combine([Reading(value=1.0, num_samples=2), Reading(value=3.0, num_samples=2)], "mean")
    Reading(value=2.0, num_samples=4, spread=None)
    """
    if not readings:
        return None
    if over in ("window", "last"):
        return readings[-1]
    known = [(value, entry.num_samples) for entry in readings if (value := _number(entry.value)) is not None]
    if not known:
        return Reading(value=None, num_samples=sum(entry.num_samples for entry in readings))
    values = [value for value, _ in known]
    found = fmean(values) if over == "mean" else max(values) if over == "max" else min(values)
    return Reading(value=float(found), num_samples=sum(num for _, num in known))


def _sentence(rule: Rule, value: float, baseline: float | None, bound: float, *, word: str) -> str:
    side = "above" if rule.bound.side == "upper" else "below"
    against = "" if baseline is None else f", {rule.bound.limit:.0%} from the baseline of {baseline:.4g}"
    return f"{rule.metric} of {value:.4g} {word} {side} {bound:.4g}{against}."


def _number(value: float | None) -> float | None:
    return None if value is None or not isfinite(value) else float(value)


def _z(confidence: float) -> float:
    return NormalDist().inv_cdf(confidence)
