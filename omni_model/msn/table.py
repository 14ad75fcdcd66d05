"""What was measured of a model: the accuracy and the cost of every subset of modalities, by task and by what is there.

Imports no torch. Accuracies are shares 0-1, costs are seconds on the machine that measured.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from omni_model.msn.choice import Budget

Subset = frozenset[str]
SLACK = 1e-9
"""Rounding that a comparison with a budget forgives."""
MOST = 1e300
"""More than anything costs."""


def named(subset: Collection[str]) -> str:
    """A subset as people read it.

    >>> named(frozenset({"text", "image"})), named(())
    ('image + text', 'nothing')
    """
    return " + ".join(sorted(subset)) or "nothing"


@dataclass(frozen=True, kw_only=True)
class Parts:
    """A cost as a sum: what every answer takes, and what each modality adds."""

    fixed_s: float
    each_s: Mapping[str, float]

    def of(self, subset: Collection[str]) -> float:
        """Seconds for a subset.

        >>> Parts(fixed_s=1.0, each_s={"text": 0.5, "image": 2.0}).of({"image"})
        3.0
        """
        return self.fixed_s + sum(self.each_s[name] for name in sorted(subset))


@dataclass(frozen=True, kw_only=True)
class Costs:
    """What an answer to a task costs: decoding, preparing, encoding and fusing, nothing cached."""

    alone: Parts
    """Of one request by itself: what a latency budget bounds."""
    batched: Parts
    """Of a request among many, its share of the batch: what a budget of 0-1 bounds."""
    again_alone: Parts | None = None
    """Of fusing alone, the tokens at hand: what each further stage of a chain costs. None: not measured."""
    again_batched: Parts | None = None

    def share(self, subset: Subset, available: Subset) -> float:
        """Work of a subset as a share of the work of all that is available, 0-1."""
        whole = self.batched.of(available)
        return self.batched.of(subset) / whole if whole > 0 else 1.0

    def keeps(self, subset: Subset, available: Subset, budget: Budget) -> bool:
        """Does a subset stay within both bounds of a budget?"""
        return self.excess(subset, available, budget) <= 1 + SLACK

    def excess(self, subset: Subset, available: Subset, budget: Budget) -> float:
        """The larger of cost over bound; 1 or less keeps the budget, and 0 is the answer to no bound.

        A share of 0 asks for the least work, which only the cheapest subset comes near.
        """
        parts = [0.0]
        if budget.share is not None:
            parts.append(self.share(subset, available) / max(budget.share, SLACK))
        if budget.latency_s is not None:
            parts.append(self.alone.of(subset) / budget.latency_s)
        return max(parts)


@dataclass(frozen=True, kw_only=True)
class Scored:
    """How well a subset does."""

    subset: Subset
    accuracy: float
    """The estimate that choices are made by."""
    error: float
    """Its standard error."""


@dataclass(frozen=True, kw_only=True)
class Situation:
    """A task and the modalities that are available, with every subset of them scored on the same samples."""

    task: str
    available: Subset
    num_rows: int
    """Samples with at least these modalities, the others hidden."""
    num_exact: int
    """Those of them with exactly these."""
    scored: tuple[Scored, ...]

    @cached_property
    def accuracy(self) -> dict[Subset, float]:
        """By subset."""
        return {row.subset: row.accuracy for row in self.scored}


@dataclass(frozen=True)
class Rung:
    """A subset with all that a choice depends on."""

    subset: Subset
    accuracy: float
    share: float
    """Of the work of all that is available."""
    alone_s: float


@dataclass(frozen=True)
class Ladder:
    """The subsets of a situation, the best first: the most accurate, of equals the one with the least work."""

    rungs: tuple[Rung, ...]

    def best(self, budget: Budget) -> Rung:
        """The best that keeps the budget; if none does, the one that comes nearest to it."""
        share, alone_s = _bounds(budget)
        for rung in self.rungs:
            if rung.share <= share and rung.alone_s <= alone_s:
                return rung
        return min(self.rungs, key=lambda rung: max(rung.share / share, rung.alone_s / alone_s))

    def is_equal(self, subset: Subset, best: Rung, budget: Budget) -> bool:
        """Is a subset as good as the best one, and within the budget too?"""
        if subset == best.subset:
            return True
        share, alone_s = _bounds(budget)
        return any(
            rung.subset == subset and rung.accuracy >= best.accuracy and rung.share <= share and rung.alone_s <= alone_s
            for rung in self.rungs
        )


def _bounds(budget: Budget) -> tuple[float, float]:
    """Share and seconds that a subset may cost at most."""
    share = MOST if budget.share is None else max(budget.share, SLACK) * (1 + SLACK)
    return share, MOST if budget.latency_s is None else budget.latency_s * (1 + SLACK)


def ladder(situation: Situation, costs: Costs) -> Ladder:
    """The subsets of a situation in order of preference."""
    available = situation.available
    order = sorted(
        situation.scored,
        key=lambda row: (-row.accuracy, costs.batched.of(row.subset), costs.alone.of(row.subset), named(row.subset)),
    )
    return Ladder(
        tuple(
            Rung(row.subset, row.accuracy, costs.share(row.subset, available), costs.alone.of(row.subset))
            for row in order
        )
    )


@dataclass(frozen=True, kw_only=True)
class Table:
    """Everything measured of one model."""

    modalities: tuple[str, ...]
    """Those whose cost is known, sorted."""
    costs: Mapping[str, Costs]
    """By task."""
    situations: tuple[Situation, ...]

    @cached_property
    def by_situation(self) -> dict[tuple[str, Subset], Situation]:
        """By task and available modalities."""
        return {(row.task, row.available): row for row in self.situations}

    @cached_property
    def ladders(self) -> dict[tuple[str, Subset], Ladder]:
        """By task and available modalities."""
        return {key: ladder(row, self.costs[row.task]) for key, row in self.by_situation.items()}

    @cached_property
    def typical(self) -> Costs | None:
        """The costs of a task that nobody has measured: the mean of those that were; None if none was."""
        if not self.costs:
            return None
        known = list(self.costs.values())
        return Costs(
            alone=self._mean([costs.alone for costs in known]), batched=self._mean([costs.batched for costs in known])
        )

    def costs_of(self, task: str) -> Costs | None:
        """The task's costs, or the typical ones."""
        return self.costs.get(task) or self.typical

    def _mean(self, parts: list[Parts]) -> Parts:
        return Parts(
            fixed_s=sum(part.fixed_s for part in parts) / len(parts),
            each_s={name: sum(part.each_s[name] for part in parts) / len(parts) for name in self.modalities},
        )

    def to_json(self) -> dict[str, Any]:
        """As JSON types; `table_from` reads it back equal."""
        return {
            "modalities": list(self.modalities),
            "costs": {
                task: {name: _parts_json(parts) for name, parts in vars(costs).items() if parts is not None}
                for task, costs in self.costs.items()
            },
            "situations": [_situation_json(row) for row in self.situations],
        }


def table_from(raw: Mapping[str, Any]) -> Table:
    """The inverse of `Table.to_json`. Raises `KeyError` or `TypeError` for anything else."""
    return Table(
        modalities=tuple(raw["modalities"]),
        costs={
            task: Costs(
                alone=Parts(**costs["alone"]),
                batched=Parts(**costs["batched"]),
                again_alone=_parts_from(costs.get("again_alone")),
                again_batched=_parts_from(costs.get("again_batched")),
            )
            for task, costs in raw["costs"].items()
        },
        situations=tuple(
            Situation(
                task=row["task"],
                available=frozenset(row["available"]),
                num_rows=row["num_rows"],
                num_exact=row["num_exact"],
                scored=tuple(
                    Scored(subset=frozenset(one["subset"]), accuracy=one["accuracy"], error=one["error"])
                    for one in row["scored"]
                ),
            )
            for row in raw["situations"]
        ),
    )


def _parts_json(parts: Parts) -> dict[str, Any]:
    return {"fixed_s": parts.fixed_s, "each_s": dict(parts.each_s)}


def _parts_from(raw: Mapping[str, Any] | None) -> Parts | None:
    return None if raw is None else Parts(**raw)


def _situation_json(row: Situation) -> dict[str, Any]:
    return {
        "task": row.task,
        "available": sorted(row.available),
        "num_rows": row.num_rows,
        "num_exact": row.num_exact,
        "scored": [{"subset": sorted(one.subset), "accuracy": one.accuracy, "error": one.error} for one in row.scored],
    }
