"""A version's own selector: the tree proposes, the measured table checks. A few microseconds a choice, no torch.

What holds for every choice, whatever the tree says:
- it is a subset of what is available, and empty only if nothing is;
- it keeps the budget, by the measured costs, whenever any subset does, and else is the one that comes nearest to it;
- in a measured situation it is as accurate, by the measured accuracies, as anything that keeps the budget; so a larger
  budget never gives a lower expected accuracy than a smaller one that could be kept.

So where a situation was measured, the tree is free only among equals, and is the readable form of the table; where it
was too rare to be measured, the tree decides, within the budget.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import combinations
from typing import Any

from omni_model.msn.chains import Chain, chain_from, kept
from omni_model.msn.chains import to_json as chain_json
from omni_model.msn.choice import Budget, Choice, Stage
from omni_model.msn.rules import STATIC_RULES
from omni_model.msn.table import SLACK, Costs, Subset, Table, named, table_from
from omni_model.msn.tree import Node, evaluate, features_of, fit_tree, lessons_of, node_from, num_leaves, rules, to_json

SCHEMA_VERSION = 2
"""Of selectors with chains; those without are written as version 1, as before there were any."""


@dataclass(frozen=True, kw_only=True)
class MeasuredSelector:
    """The tree of one model and what was measured of it."""

    table: Table
    tree: Node
    chains: tuple[Chain, ...] = ()

    def choose(self, task: str, available: frozenset[str], budget: Budget) -> Choice:
        """The best subset that keeps to the budget, the nearest one if none does; and the stages that lead to it."""
        choice = self._chosen(task, available, budget)
        early = self._early(task, choice.subset, available, budget) if self.chains else ()
        return replace(choice, early=early) if early else choice

    def _early(self, task: str, subset: Subset, available: Subset, budget: Budget) -> tuple[Stage, ...]:
        """The chain of a subset, as far as walking it to its end keeps the budget."""
        chain, costs = self._chain_of.get((task, subset)), self.table.costs.get(task)
        if chain is None or costs is None:
            return ()
        if budget.share is None and budget.latency_s is None:
            return chain.early
        return kept(chain.early, subset, available.intersection(self.table.modalities), costs, budget)

    @cached_property
    def _chain_of(self) -> dict[tuple[str, Subset], Chain]:
        return {(chain.task, chain.subset): chain for chain in self.chains}

    def _chosen(self, task: str, available: frozenset[str], budget: Budget) -> Choice:
        if not available or (budget.share is None and budget.latency_s is None):
            return Choice(subset=available, why="")
        known = available.intersection(self.table.modalities)
        costs = self.table.costs_of(task)
        if not known or costs is None:
            return STATIC_RULES.choose(task, available, budget)
        subset = self._within(task, known, budget, costs)
        return Choice(
            subset=subset, why="" if subset == available else self._reason(task, known, subset, budget, costs)
        )

    def _within(self, task: str, known: Subset, budget: Budget, costs: Costs) -> Subset:
        """The tree's answer if it stands up to what was measured, else the table's."""
        proposed = evaluate(self.tree, features_of(task, known, budget))
        ladder = self.table.ladders.get((task, known))
        if ladder is not None:
            best = ladder.best(budget)
            return proposed if ladder.is_equal(proposed, best, budget) else best.subset
        if proposed and proposed <= known and costs.keeps(proposed, known, budget):
            return proposed
        return self._unmeasured(task, known, budget, costs)

    @staticmethod
    def _unmeasured(task: str, known: Subset, budget: Budget, costs: Costs) -> Subset:
        """Costs are known and accuracies are not: the static rules if they keep the budget, else what comes nearest.

        Of several subsets that keep it, the one that looks at most.
        """
        ruled = STATIC_RULES.choose(task, known, budget).subset
        if costs.keeps(ruled, known, budget):
            return ruled
        excess = {subset: costs.excess(subset, known, budget) for subset in subsets_of(known)}
        fitting = [subset for subset, value in excess.items() if value <= 1 + SLACK]
        if fitting:
            return max(fitting, key=lambda subset: (len(subset), costs.batched.of(subset), named(subset)))
        return min(excess, key=lambda subset: (excess[subset], named(subset)))

    def _reason(self, task: str, known: Subset, subset: Subset, budget: Budget, costs: Costs) -> str:
        """Why the others are left out."""
        if costs.keeps(known, known, budget):
            situation = self.table.by_situation.get((task, known))
            measured = "" if situation is None else f" ({situation.accuracy[subset]:.0%} right when measured)"
            return f"{named(subset)} does as well without it{measured}"
        bounds = []
        if budget.share is not None:
            bounds.append(f"{budget.share:.0%} of the work")
        if budget.latency_s is not None:
            bounds.append(f"{1e3 * budget.latency_s:.3g} ms")
        allowed = " and ".join(bounds)
        if costs.keeps(subset, known, budget):
            return f"the budget of {allowed} allows {named(subset)}"
        return f"the budget of {allowed} allows nothing, and {named(subset)} comes nearest"

    @property
    def agreement(self) -> float:
        """Share of the lessons, budgets around every cost of every situation, in which the tree's own answer stands."""
        told = lessons_of(self.table)
        return sum(evaluate(self.tree, features) == wanted for features, wanted in told) / len(told) if told else 1.0

    def rules(self) -> str:
        """The tree as text to read."""
        return "\n".join(rules(self.tree))

    def to_json(self) -> str:
        """The artefact's bytes as text; `selector_from` reads them back equal."""
        content: dict[str, Any] = {
            "schema_version": SCHEMA_VERSION if self.chains else 1,
            "table": self.table.to_json(),
            "tree": to_json(self.tree),
        }
        if self.chains:
            content["chains"] = [chain_json(chain) for chain in self.chains]
        return json.dumps(content, indent=1, sort_keys=True)

    @property
    def num_leaves(self) -> int:
        """Answers of the tree."""
        return num_leaves(self.tree)


def fit_selector(table: Table, *, max_leaves: int) -> MeasuredSelector:
    """A selector from what was measured. Raises `ValueError` if no situation was."""
    return MeasuredSelector(table=table, tree=fit_tree(table, max_leaves=max_leaves))


def selector_from(text: str | bytes) -> MeasuredSelector:
    """The inverse of `MeasuredSelector.to_json`. Raises `ValueError` for anything else."""
    try:
        raw = json.loads(text)
        version = raw["schema_version"]
        if version not in (1, SCHEMA_VERSION):
            raise ValueError(f"its schema_version is {version!r}, not 1 or {SCHEMA_VERSION}")
        return MeasuredSelector(
            table=table_from(raw["table"]),
            tree=node_from(raw["tree"]),
            chains=tuple(chain_from(chain) for chain in raw.get("chains", ())),
        )
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ValueError(f"This is no modality selector: {error}. Fit one with `omniloop msn fit`.") from error


def subsets_of(available: Iterable[str]) -> list[Subset]:
    """Every subset but the empty one, small ones first.

    >>> [sorted(subset) for subset in subsets_of({"b", "a"})]
    [['a'], ['b'], ['a', 'b']]
    """
    names = sorted(available)
    return [frozenset(some) for size in range(1, len(names) + 1) for some in combinations(names, size)]
