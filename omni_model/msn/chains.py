"""Chains: parts of a set of modalities that are looked at one after the other until the answer is sure. No torch.

What walking a chain to its end costs at most is known by measured costs: every modality is decoded and encoded once,
and every stage fuses what is there so far.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from omni_model.msn.choice import Budget, Stage
from omni_model.msn.table import SLACK, Costs, Subset


@dataclass(frozen=True, kw_only=True)
class Chain:
    """The stages before a set of modalities, fitted for a task, and what is expected of them."""

    task: str
    subset: Subset
    """The last stage: all that may be looked at."""
    early: tuple[Stage, ...]
    """Each a part of the next."""
    stops: tuple[float, ...]
    """Share of the rows that stop at each stage, the last included; their sum is 1."""
    work: float
    """Expected, as a share of the work of the whole subset."""
    loss: float
    """Expected share of answers lost against the whole subset, on rows that the thresholds were not fitted to."""
    error: float
    """Its standard error."""
    num_rows: int


def kept(early: Sequence[Stage], subset: Subset, available: Subset, costs: Costs, budget: Budget) -> tuple[Stage, ...]:
    """As many of the first stages as keep the budget even if no answer is sure and all stages are walked."""
    stages = tuple(early)
    while stages and _excess(stages, subset, available, costs, budget) > 1 + SLACK:
        stages = stages[:-1]
    return stages


def walked(early: Sequence[Stage], subset: Subset, costs: Costs) -> tuple[float, float]:
    """Seconds of walking a chain to its end: in a batch, and alone.

    >>> from omni_model.msn.table import Parts
    >>> parts = Parts(fixed_s=1.0, each_s={"text": 1.0, "image": 4.0})
    >>> again = Parts(fixed_s=0.5, each_s={"text": 0.25, "image": 0.25})
    >>> costs = Costs(alone=parts, batched=parts, again_alone=again, again_batched=again)
    >>> walked([Stage(frozenset({"text"}), 0.9)], frozenset({"text", "image"}), costs)
    (6.75, 6.75)
    """
    batched_s, alone_s = costs.batched.of(subset), costs.alone.of(subset)
    for stage in early:
        batched_s += (costs.again_batched or costs.batched).of(stage.subset)
        alone_s += (costs.again_alone or costs.alone).of(stage.subset)
    return batched_s, alone_s


def _excess(early: Sequence[Stage], subset: Subset, available: Subset, costs: Costs, budget: Budget) -> float:
    """The larger of cost over bound."""
    batched_s, alone_s = walked(early, subset, costs)
    parts = [0.0]
    if budget.share is not None:
        allowed_s = budget.share * costs.batched.of(available)
        parts.append(batched_s / allowed_s if allowed_s > 0 else (2.0 if early else 0.0))
    if budget.latency_s is not None:
        parts.append(alone_s / budget.latency_s)
    return max(parts)


def to_json(chain: Chain) -> dict[str, Any]:
    """As JSON types; `chain_from` reads it back equal."""
    return {
        "task": chain.task,
        "subset": sorted(chain.subset),
        "early": [{"subset": sorted(stage.subset), "threshold": stage.threshold} for stage in chain.early],
        "stops": list(chain.stops),
        "work": chain.work,
        "loss": chain.loss,
        "error": chain.error,
        "num_rows": chain.num_rows,
    }


def chain_from(raw: Mapping[str, Any]) -> Chain:
    """The inverse of `to_json`. Raises `KeyError` or `TypeError` for anything else."""
    return Chain(
        task=raw["task"],
        subset=frozenset(raw["subset"]),
        early=tuple(Stage(frozenset(stage["subset"]), float(stage["threshold"])) for stage in raw["early"]),
        stops=tuple(raw["stops"]),
        work=raw["work"],
        loss=raw["loss"],
        error=raw["error"],
        num_rows=raw["num_rows"],
    )
