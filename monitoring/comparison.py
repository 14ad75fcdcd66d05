"""The candidate against the version in service, on the same samples: every metric with its paired interval.

Measuring happens here and judging in `monitoring.gate`, from what is here alone: a list of `Comparison`, kept as JSON,
can be judged again under other limits, and the `PairedOutcomes` behind it under other metrics.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from monitoring.config import EVERYTHING
from monitoring.measures.calibration import PROBABILITY_FLOOR
from monitoring.measures.catalogue import MEASURES
from monitoring.moments import Moments, Statistic, bootstrap_moments, mean_moments, nothing
from monitoring.outcomes import Answers, PairedOutcomes, Provenance
from monitoring.weighted import alignment_statistic, balanced_accuracy_statistic, ece_statistic, quantile_statistic

Bools = NDArray[np.bool_]
GUARDED_METRICS = frozenset(
    {"accuracy", "balanced_accuracy", "instruction_following", "ece", "alignment_error", "latency_p50"}
)
"""What the gate holds to a limit unless told otherwise. The rest is reported."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """One metric on one slice of the samples. nan where it cannot be said; JSON holds null there."""

    metric: str
    """A name in `monitoring.measures.catalogue`."""
    slice: str
    """`all`, `task=…`, `domain=…`, `modalities=a+b` (exactly these present), `with=a` or `without=a` (a taken away)."""
    higher_is_better: bool
    guarded: bool
    """The gate's default holds this metric to a limit."""
    old: float
    new: float
    relative_change: float
    """new / old - 1."""
    low: float
    """Lower bound of the relative change, held with 95 % confidence."""
    high: float
    """Upper bound of the relative change, held with 95 % confidence; between the two lie 90 %."""
    moments: Moments
    """What intervals and tests at other confidences and margins are computed from."""
    num_samples: int
    """Rows measured."""
    num_items: int
    """Independent items among them."""
    provenance: Provenance


def compare(paired: PairedOutcomes, *, resamples: int = 2000, seed: int = 0) -> list[Comparison]:
    """Every metric on all samples, accuracy on every slice. Deterministic for a seed; does not touch its input."""
    with np.errstate(over="ignore", invalid="ignore"):  # what overflows ends as nan, which the gate looks for
        overall = _overall(paired, resamples, seed)
    rows = [_row(EVERYTHING, metric, moments, paired.provenance) for metric, moments in overall.items()]
    for name, mask_N, old, new in _slices(paired):
        for metric, moments in _slice_moments(paired, mask_N, old, new).items():
            rows.append(_row(name, metric, moments, paired.provenance))
    return rows


def to_json(comparisons: Iterable[Comparison]) -> str:
    """Strict JSON (nan as null), one object a comparison."""
    return json.dumps([_jsonable(asdict(comparison)) for comparison in comparisons], allow_nan=False)


def from_json(text: str) -> list[Comparison]:
    """What `to_json` wrote; `ValueError` for anything else."""
    try:
        return [_restore(entry) for entry in json.loads(text)]
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"The stored comparisons cannot be read: {error!r}. Compare the stored outcomes again."
        ) from error


def _overall(paired: PairedOutcomes, resamples: int, seed: int) -> dict[str, Moments]:
    old, new, items = paired.old, paired.new, paired.items
    labelled_N = paired.target >= 0
    old_right_N, new_right_N = (side.answer[labelled_N] == paired.target[labelled_N] for side in (old, new))
    result = _slice_moments(paired, np.ones(len(paired), dtype=bool), old, new)
    statistics: dict[str, Statistic] = {}
    if labelled_N.any():
        classes = np.char.add(np.char.add(paired.tasks, "/"), paired.target.astype(str))[labelled_N]
        statistics["balanced_accuracy"] = balanced_accuracy_statistic(classes, old_right_N, new_right_N)
        statistics["ece"] = ece_statistic(
            old.confidence[labelled_N], new.confidence[labelled_N], old_right_N, new_right_N
        )
    rng = np.random.default_rng(seed)
    rates = frozenset(statistics)
    result |= {"balanced_accuracy": nothing(), "ece": nothing()}
    result |= bootstrap_moments(statistics, items[labelled_N], resamples=resamples, rng=rng, rates=rates)
    result["nll"] = mean_moments(_nll(old)[labelled_N], _nll(new)[labelled_N], items[labelled_N], is_rate=False)
    result["brier"] = mean_moments(old.brier[labelled_N], new.brier[labelled_N], items[labelled_N], is_rate=False)
    flips_N = old_right_N & ~new_right_N
    result["negative_flip_rate"] = mean_moments(np.zeros(len(flips_N)), flips_N, items[labelled_N], is_rate=True)
    result["alignment_error"] = _alignment(paired, resamples, rng)
    return result | _latency(paired, resamples, rng)


def _alignment(paired: PairedOutcomes, resamples: int, rng: np.random.Generator) -> Moments:
    shared = sorted(set(paired.old.hits) & set(paired.new.hits))
    seen_N = np.zeros(len(paired), dtype=bool)
    for name in shared:
        seen_N |= np.isfinite(paired.old.hits[name]) & np.isfinite(paired.new.hits[name])
    if not seen_N.any():
        return nothing()
    old, new = ({name: side.hits[name][seen_N] for name in shared} for side in (paired.old, paired.new))
    statistics = {"alignment_error": alignment_statistic(old, new)}
    rates = frozenset(statistics)
    return bootstrap_moments(statistics, paired.items[seen_N], resamples=resamples, rng=rng, rates=rates)[
        "alignment_error"
    ]


def _latency(paired: PairedOutcomes, resamples: int, rng: np.random.Generator) -> dict[str, Moments]:
    """Rows of one batch share one time, so equal times are one measurement and not many."""
    names = {"latency_p50": 0.50, "latency_p95": 0.95}
    timed_N = np.isfinite(paired.old.latency_s) & np.isfinite(paired.new.latency_s)
    if not timed_N.any():
        return {name: nothing() for name in names}
    old_N, new_N = paired.old.latency_s[timed_N], paired.new.latency_s[timed_N]
    measurement_N = np.unique(new_N, return_inverse=True)[1]
    statistics = {name: quantile_statistic(old_N, new_N, share) for name, share in names.items()}
    return bootstrap_moments(statistics, measurement_N, resamples=resamples, rng=rng)


def _slices(paired: PairedOutcomes) -> Iterator[tuple[str, Bools, Answers, Answers]]:
    for kind, column_N in (("task", paired.tasks), ("domain", paired.domains), ("modalities", paired.modalities)):
        for value in np.unique(column_N):
            yield f"{kind}={value}", column_N == value, paired.old, paired.new
    present = [frozenset(names.split("+")) - {""} for names in paired.modalities.tolist()]
    for modality in sorted(frozenset[str]().union(*present)):
        has_N = np.array([modality in names for names in present], dtype=bool)
        yield f"with={modality}", has_N, paired.old, paired.new
        if modality in paired.without:
            old, new = paired.without[modality]
            yield f"without={modality}", has_N & np.array([len(names) > 1 for names in present]), old, new


def _slice_moments(paired: PairedOutcomes, mask_N: Bools, old: Answers, new: Answers) -> dict[str, Moments]:
    labelled_N = mask_N & (paired.target >= 0)
    target = paired.target[labelled_N]
    return {
        "accuracy": mean_moments(
            old.answer[labelled_N] == target, new.answer[labelled_N] == target, paired.items[labelled_N], is_rate=True
        ),
        "instruction_following": mean_moments(
            old.followed[mask_N], new.followed[mask_N], paired.items[mask_N], is_rate=True
        ),
    }


def _nll(side: Answers) -> NDArray[np.float64]:
    return -np.log(np.maximum(side.target_probability, PROBABILITY_FLOOR))


def _row(slice_name: str, metric: str, moments: Moments, provenance: Provenance) -> Comparison:
    low, high = moments.relative_interval(0.95)
    return Comparison(
        metric=metric,
        slice=slice_name,
        higher_is_better=MEASURES[metric].higher_is_better,
        guarded=metric in GUARDED_METRICS and (slice_name == EVERYTHING or metric == "accuracy"),
        old=moments.old,
        new=moments.new,
        relative_change=moments.new / moments.old - 1 if moments.old else float("nan"),
        low=low,
        high=high,
        moments=moments,
        num_samples=moments.num_samples,
        num_items=moments.num_items,
        provenance=provenance,
    )


def _jsonable(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _jsonable(entry) for key, entry in value.items()}
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    return None if isinstance(value, float) and not np.isfinite(value) else value


def _restore(entry: dict[str, Any]) -> Comparison:
    provenance = dict(entry["provenance"])
    provenance["measured_at"] = datetime.fromisoformat(provenance["measured_at"])
    raw = _with_nan({key: value for key, value in entry.items() if key not in ("moments", "provenance")})
    return Comparison(**raw, moments=Moments(**_with_nan(entry["moments"])), provenance=Provenance(**provenance))


def _with_nan(entry: dict[str, Any]) -> dict[str, Any]:
    return {key: float("nan") if value is None else value for key, value in entry.items()}
