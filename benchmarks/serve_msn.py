"""What choosing modalities brings: speed against accuracy, over always looking at everything.

The headline is the chain's (`benchmarks.msn_chains`); beside it stands what the tree alone does. The selector is
fitted on the validation split and judged on the test split. A speed-up is the time that all test rows take from bytes
to probabilities when everything is looked at, over the time they take by the choices, in one run, each pair
alternating; the choices' own time counts.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec

import numpy as np
import torch
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from benchmarks.harness import Figure, figure, figure_of, quick
from benchmarks.msn_chains import ALLOWED, HEADLINE, Walk, chain_figures, walk_all
from benchmarks.msn_worlds import World, digits, questions
from omni_model.calibrate import calibrate
from omni_model.config import ModelConfig, TrainConfig
from omni_model.distil import visible
from omni_model.features import Batcher, encode_samples
from omni_model.model import OmniModel
from omni_model.msn.choice import Budget
from omni_model.msn.measuring import Flags, Timed, answer, encoded, measure, right_by_subset
from omni_model.msn.selector import MeasuredSelector, fit_selector, subsets_of
from omni_model.msn.table import Costs, Subset, Table
from omni_model.protocol import LoopModel
from omni_model.submodel import submodel
from omni_model.train import fit

BATCH_ROWS = 32
SHOWN = (0.25, 0.5, 0.75)
"""Budgets that are reported one by one: shares of the full work."""
WORK, TIME = "of the work", "of the time"
SWEPT = tuple((unit, percent / 100) for unit in (WORK, TIME) for percent in range(5, 100, 5))
"""Budgets among which the headlines are found: shares of the full work, or a latency as a share of the full one."""
LIMITS = {"": 4.1, "_at_1_point": 1.0}
"""Points of accuracy that a headline may lose: the article's, and ours."""
NOTES = (
    "msn_*: models of the default size trained on the training split of tri-digits (six languages, modalities missing "
    "at random), selectors fitted on its validation split, figures on its test split, one thread, batches of 32, no "
    "cache; models calibrated on the validation split as the loop does. msn_speedup is the CPU speed-up over always "
    "using everything of chains fitted with OMNI_MSN__MAX_LOSS=0.01, fixed beforehand, through the engine's code from "
    "bytes to answers; msn_accuracy_loss is what they lose. msn_chain_*_0_5, _1, _2, _4 are allowed losses of 0.5 to "
    "4 points. msn_*_at_4_points is that of these four settings with the largest speed-up whose mean loss on the test "
    "split is at most 4.1 points (the article: 3.2 times at 4.1 %), so picked on the test split.",
    "msn_same_work_*_loss is what the tree, one set for everything, and random sets lose at the mean work of the "
    "headline, each mixed in the way that is best on the test split. msn_tree_speedup is the largest speed-up of the "
    "tree alone among budgets of 5 to 95 % of the full work or latency whose mean loss on the test split is at most "
    "4.1 points, _at_1_point at most 1 point.",
    "msn_tree_*_25, _50, _75 are budgets of the work. msn_tree_random_loss_* is the loss of a random choice among the "
    "subsets within the same budget, msn_tree_single_loss_* that of the one set of modalities that did best within it "
    "on the validation split, whatever a request brings, so that one which brings less may exceed the budget; "
    "msn_tree_alone_speedup_* is for one request at a time.",
    "msn_edge_*: the same on the light model without sound that `omniloop edge export` makes of each, against it "
    "looking at everything that it takes; rows that it can see nothing of are left out.",
    "msn_vqa_*: easy-VQA with the question as text and the kind of question as the task; 2,000 training rows.",
)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """A way of choosing, against always looking at everything, on the same rows in one run."""

    loss: float
    """Points of accuracy."""
    cpu: float
    """Speed-up by CPU time."""
    wall: float
    """Speed-up by wall time."""


@dataclass(frozen=True, kw_only=True)
class Judged:
    """One seed: what each budget brings, and what other ways of choosing would."""

    by_budget: Mapping[tuple[str, float], Outcome]
    random_loss: Mapping[float, float]
    single: Mapping[float, Outcome]
    alone: Mapping[float, Outcome]
    """One request at a time."""
    chains: Mapping[float, Walk]
    """By allowed loss."""


def figures(short: bool) -> dict[str, Figure]:
    """All figures: tri-digits over seeds, easy-VQA where its package is installed."""
    torch.set_num_threads(1)
    with threadpool_limits(1):
        seeds = range(1 if short else 3)
        made = over_seeds(digits(short), "msn", seeds, short)
        if short:
            return made
        if find_spec("easy_vqa") is None:
            return made | nothing_known("msn_vqa")
        return made | over_seeds(questions(short), "msn_vqa", seeds, short)


def over_seeds(world: World, prefix: str, seeds: Sequence[int], short: bool) -> dict[str, Figure]:
    """A world's figures: a model and a selector for each seed; where there is sound, also of a light model without."""
    judged, light = [], []
    for seed in seeds:
        model = trained(world, seed)
        judged.append(judge(model, world, short))
        if "audio" in world.modalities and not short:
            light.append(judge(*at_the_edge(model, world), short))
    made = summed_up(judged, prefix, seeds)
    return made | (summed_up(light, f"{prefix}_edge", seeds) if light else {})


def trained(world: World, seed: int) -> OmniModel:
    """A model of the default size, trained on the training split and calibrated on the validation split."""
    print(f"  {', '.join(world.modalities)}, seed {seed}", flush=True)
    torch.manual_seed(seed)
    model = OmniModel(ModelConfig(modalities=world.modalities), world.tasks)
    fit(model, world.train, [], TrainConfig(epochs=world.epochs), seed=seed)
    calibrate(model, Batcher(model, encode_samples(model, world.val)))
    return model


def at_the_edge(model: OmniModel, world: World) -> tuple[OmniModel, World]:
    """The light model that an export to an edge without a microphone holds, and the rows that it can see."""
    light = submodel(model, [name for name in world.modalities if name != "audio"])
    assert isinstance(light, OmniModel)
    val, test = visible(light, world.val), visible(light, world.test)
    return light, replace(world, modalities=light.config.modalities, train=[], val=val, test=test)


def judge(model: OmniModel, world: World, short: bool) -> Judged:
    """Fit on the validation split, judge on the test split."""
    table = measure(model, world.val)
    selector = fit_selector(table, max_leaves=256)
    rows = [Timed(sample=sample, content=encoded(sample)) for sample in world.test]
    right = right_by_subset(model, world.test, world.modalities)
    judge_ = Judge(model, rows, right, repeats=1 if short else 2)
    slowest_s = max(costs.alone.of(table.modalities) for costs in table.costs.values())
    swept = {
        (unit, part): by_tree(selector, Budget(share=part) if unit == WORK else Budget(latency_s=part * slowest_s))
        for unit, part in SWEPT
    }
    right_val = right_by_subset(model, world.val, world.modalities)
    single = {share: single_best(table, right_val, world, share) for share in SHOWN}
    few = Judge(model, rows[:: max(1, len(rows) // 60)], _thinned(right, len(rows)), repeats=1 if short else 3, batch=1)
    return Judged(
        by_budget={bound: judge_.of(choose) for bound, choose in swept.items()},
        random_loss={share: judge_.random_loss(table.costs, share) for share in SHOWN},
        single={share: judge_.of(choose) for share, choose in single.items()},
        alone={share: few.of(swept[WORK, share]) for share in SHOWN},
        chains=walk_all(model, world, selector, right, (HEADLINE,) if short else ALLOWED, repeats=1 if short else 3),
    )


def _thinned(right: Mapping[Subset, Flags], num_rows: int) -> dict[Subset, Flags]:
    return {subset: flags[:: max(1, num_rows // 60)] for subset, flags in right.items()}


Choose = Callable[[Timed], Subset]


def by_tree(selector: MeasuredSelector, budget: Budget) -> Choose:
    """The selector's choice within a budget."""
    return lambda row: selector.choose(row.sample.task, frozenset(row.content), budget).subset


def single_best(table: Table, right: Mapping[Subset, Flags], world: World, share: float) -> Choose:
    """One set of modalities for everything: the one that did best on the validation split within the budget.

    A row with nothing of it is answered from its cheapest modality. The budget is that of a row with everything: one
    that brings less may exceed it.
    """
    costs = next(iter(table.costs.values()))
    everything = frozenset(world.modalities)

    def cheapest(available: Subset) -> Subset:
        return frozenset({min(available, key=lambda name: costs.batched.each_s[name])})

    def score(subset: Subset) -> float:
        seen = [subset & sample.modalities or cheapest(sample.modalities) for sample in world.val]
        return float(np.mean([right[part][place] for place, part in enumerate(seen)]))

    fitting = [subset for subset in subsets_of(everything) if costs.keeps(subset, everything, Budget(share=share))]
    best = max(fitting or [cheapest(everything)], key=score)
    return lambda row: best & frozenset(row.content) or cheapest(frozenset(row.content))


class Judge:
    """Times ways of choosing on the same rows; each distinct way is timed once."""

    def __init__(
        self,
        model: LoopModel,
        rows: Sequence[Timed],
        right: Mapping[Subset, Flags],
        *,
        repeats: int,
        batch: int = BATCH_ROWS,
    ) -> None:
        self._model, self._rows, self._right = model, rows, right
        self._repeats, self._batch = repeats, batch
        self._known: dict[tuple[Subset, ...], Outcome] = {}
        self._all = self._accuracy([frozenset(row.content) for row in rows])

    def of(self, choose: Choose) -> Outcome:
        """Loss and speed-up of a way of choosing."""
        chosen = tuple(choose(row) for row in self._rows)
        if chosen not in self._known:
            cpu, wall = self._speedup(choose)
            loss = 100 * (self._all - self._accuracy(chosen))
            self._known[chosen] = Outcome(loss=loss, cpu=cpu, wall=wall)
        return self._known[chosen]

    def random_loss(self, costs: Mapping[str, Costs], share: float) -> float:
        """Expected loss of a random subset among those within the budget, or the cheapest where none is."""
        expected = []
        for place, row in enumerate(self._rows):
            available, cost, budget = frozenset(row.content), costs[row.sample.task], Budget(share=share)
            possible = subsets_of(available)
            fitting = [subset for subset in possible if cost.keeps(subset, available, budget)]
            if not fitting:
                fitting = [min(possible, key=cost.batched.of)]
            expected.append(np.mean([self._right[subset][place] for subset in fitting]))
        return 100 * (self._all - float(np.mean(expected)))

    def _accuracy(self, chosen: Sequence[Subset]) -> float:
        return float(np.mean([self._right[subset][place] for place, subset in enumerate(chosen)]))

    def _speedup(self, choose: Choose) -> tuple[float, float]:
        """Medians of CPU and of wall time of everything over those of the choices, alternating."""
        cpu, wall = [], []
        for repeat in range(self._repeats):
            ways: list[Choose] = [lambda row: frozenset(row.content), choose]
            times = {place: self._seconds(ways[place]) for place in ((0, 1) if repeat % 2 == 0 else (1, 0))}
            cpu.append(times[0][0] / times[1][0])
            wall.append(times[0][1] / times[1][1])
        return statistics.median(cpu), statistics.median(wall)

    def _seconds(self, choose: Choose) -> tuple[float, float]:
        cpu, wall = time.process_time(), time.perf_counter()
        for start in range(0, len(self._rows), self._batch):
            part = self._rows[start : start + self._batch]
            answer(self._model, [row.only(choose(row)) for row in part])
        return time.process_time() - cpu, time.perf_counter() - wall


def summed_up(judged: Sequence[Judged], prefix: str, seeds: Sequence[int]) -> dict[str, Figure]:
    """Means and spreads over the seeds."""
    made = chain_figures([one.chains for one in judged], prefix, seeds)
    for suffix, limit in LIMITS.items():
        made |= headline(judged, f"{prefix}_tree", suffix, limit, seeds)
    for share in SHOWN:
        name = f"{prefix}_tree_%s_{round(100 * share)}"
        of_tree = [one.by_budget[WORK, share] for one in judged]
        made[name % "speedup"] = figure_of([one.cpu for one in of_tree], "ratio", seeds=seeds)
        made[name % "wall_speedup"] = figure_of([one.wall for one in of_tree], "ratio", seeds=seeds)
        made[name % "alone_speedup"] = figure_of([one.alone[share].cpu for one in judged], "ratio", seeds=seeds)
        made[name % "loss"] = figure_of([one.loss for one in of_tree], "points", seeds=seeds)
        made[name % "random_loss"] = figure_of([one.random_loss[share] for one in judged], "points", seeds=seeds)
        made[name % "single_loss"] = figure_of([one.single[share].loss for one in judged], "points", seeds=seeds)
        made[name % "single_speedup"] = figure_of([one.single[share].cpu for one in judged], "ratio", seeds=seeds)
    return made


def headline(
    judged: Sequence[Judged], prefix: str, suffix: str, limit: float, seeds: Sequence[int]
) -> dict[str, Figure]:
    """The largest mean speed-up whose mean loss is within the limit, its loss, and its budget."""

    def mean(bound: tuple[str, float], of: str) -> float:
        return statistics.fmean(getattr(one.by_budget[bound], of) for one in judged)

    allowed = [bound for bound in SWEPT if mean(bound, "loss") <= limit]
    if not allowed:  # nothing can be left out
        return {
            f"{prefix}_speedup{suffix}": figure(1.0, "ratio", n=len(judged)),
            f"{prefix}_accuracy_loss{suffix}": figure(0.0, "points", n=len(judged)),
            f"{prefix}_budget{suffix}": figure(1.0, WORK, n=len(judged)),
        }
    best = max(allowed, key=lambda bound: mean(bound, "cpu"))
    found = [one.by_budget[best] for one in judged]
    return {
        f"{prefix}_speedup{suffix}": figure_of([one.cpu for one in found], "ratio", seeds=seeds),
        f"{prefix}_accuracy_loss{suffix}": figure_of([one.loss for one in found], "points", seeds=seeds),
        f"{prefix}_budget{suffix}": figure(best[1], best[0], n=len(judged)),
    }


def nothing_known(prefix: str) -> dict[str, Figure]:
    """What is not measured: in the short form, and without the package of the extra `benchmarks`."""
    return {f"{prefix}_speedup": figure(None, "ratio"), f"{prefix}_accuracy_loss": figure(None, "points")}


def main() -> None:
    """Print the figures; `bench_serve` writes them."""
    for name, entry in figures(quick()).items():
        spread = "" if entry["spread"] is None else f" ± {entry['spread']:.3f}"
        value = "none" if entry["value"] is None else f"{entry['value']:8.3f}"
        print(f"{name:28} {value}{spread} {entry['unit']}")


if __name__ == "__main__":
    main()
