"""What chains bring: the engine's own code from bytes to answers, with a chain and without, on the test split.

The losses allowed are fixed beforehand; thresholds and orders are fitted on the validation split. Speed-ups are of CPU
time of decoding, encoding and fusing, both ways alternating, without a cache.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.harness import Figure, figure, figure_of
from benchmarks.msn_worlds import World
from omni_model.msn.chains import walked
from omni_model.msn.choice import Budget
from omni_model.msn.config import MsnConfig
from omni_model.msn.measuring import Flags, encoded
from omni_model.msn.measuring_chains import chained
from omni_model.msn.selector import MeasuredSelector, subsets_of
from omni_model.msn.table import Costs, Subset
from omni_model.protocol import LoopModel
from omni_model.sample import Sample
from omni_model.serve.answering import Answering
from omni_model.serve.cache import FeatureCache
from omni_model.serve.devices import Devices
from omni_model.serve.exchange import Answer, Request
from omni_model.serve.placement import placed
from omni_model.serve.preparing import prepare
from omni_model.serve.versions import Versions

ALLOWED = (0.005, 0.01, 0.02, 0.04)
"""Losses allowed, as shares of the answers."""
HEADLINE = 0.01
CLAIMED_LOSS = 4.1
"""Points: the article's."""
BATCH_ROWS = 32
ALONE_ROWS = 100
BUDGETS = tuple(percent / 100 for percent in range(5, 101, 5))
Point = tuple[float, float]
"""Mean work, as a share of that of everything; points of accuracy lost."""


@dataclass(frozen=True, kw_only=True)
class Walk:
    """One seed's chains at one allowed loss."""

    cpu: float
    """Speed-up in batches."""
    alone: float
    """Speed-up one request at a time."""
    loss: float
    """Points of accuracy lost."""
    work: float
    """Mean work by measured costs, as a share of that of everything."""
    over_budget: int
    """Choices at budgets of 5 to 100 % whose chain, walked to its end, costs more than the budget."""
    same_work: Mapping[str, float]
    """Points that other ways of choosing lose at the same mean work."""


class Path:
    """The engine's code from bytes to answers, on one thread, without its queue and without a cache."""

    def __init__(self, model: LoopModel) -> None:
        devices = Devices(placed({}, 0))
        self._versions = Versions(devices.placement)
        self._versions.put_in_service(1, 1, lambda: model, (), None)
        self._cache = FeatureCache(0, secret=bytes(32))
        self._answering = Answering(
            self._versions, self._cache, devices, time.monotonic, lambda row, told: None, lambda: None
        )

    def __call__(
        self, requests: Sequence[Request], selector: MeasuredSelector | None, batch: int
    ) -> tuple[float, list[Answer]]:
        """CPU seconds, and the answers."""
        self._versions.set_selector(1, selector)
        version = self._versions.now.in_service
        assert version is not None
        answers: list[Answer] = []
        began = time.process_time()
        for start in range(0, len(requests), batch):
            rows = [prepare(version, request, self._cache) for request in requests[start : start + batch]]
            answers += self._answering(rows)
        return time.process_time() - began, answers


def walk_all(
    model: LoopModel,
    world: World,
    selector: MeasuredSelector,
    right: Mapping[Subset, Flags],
    losses: Sequence[float],
    *,
    repeats: int,
) -> dict[float, Walk]:
    """Chains at each allowed loss, judged on the test split."""
    path = Path(model)
    requests = [as_request(sample) for sample in world.test]
    found = {}
    for allowed in losses:
        fitted = chained(model, world.val, selector, MsnConfig(max_loss=allowed))
        few = requests[:: max(1, len(requests) // ALONE_ROWS)]
        cpu, whole, early = alternating(path, requests, fitted, BATCH_ROWS, repeats)
        alone, _, _ = alternating(path, few, fitted, 1, repeats)
        work = mean_work(world.test, early, fitted)
        found[allowed] = Walk(
            cpu=cpu,
            alone=alone,
            loss=100 * (share_right(world.test, whole) - share_right(world.test, early)),
            work=work,
            over_budget=num_over_budget(world.test, fitted),
            same_work=at_same_work(world.test, selector, right, work),
        )
    return found


def as_request(sample: Sample) -> Request:
    """A sample as it would be sent."""
    return Request(id=sample.id, task=sample.task, instruction=sample.instruction, content=encoded(sample))


def alternating(
    path: Path, requests: Sequence[Request], fitted: MeasuredSelector, batch: int, repeats: int
) -> tuple[float, list[Answer], list[Answer]]:
    """Median speed-up of the chains over everything, and the answers of both."""
    ratios = []
    path(requests[:BATCH_ROWS], fitted, batch)
    for repeat in range(repeats):
        ways = (None, fitted) if repeat % 2 == 0 else (fitted, None)
        done = {way is None: path(requests, way, batch) for way in ways}
        ratios.append(done[True][0] / done[False][0])
    return statistics.median(ratios), done[True][1], done[False][1]


def share_right(samples: Sequence[Sample], answers: Sequence[Answer]) -> float:
    """Share of right answers."""
    return statistics.fmean(told.answer == sample.answer for sample, told in zip(samples, answers, strict=True))


def mean_work(samples: Sequence[Sample], answers: Sequence[Answer], fitted: MeasuredSelector) -> float:
    """Work of the answers by measured costs, every stage walked included, as a share of that of everything."""
    spent_s = whole_s = 0.0
    for sample, told in zip(samples, answers, strict=True):
        costs, used = fitted.table.costs[sample.task], frozenset(told.used)
        early = fitted.choose(sample.task, sample.modalities, Budget()).early
        spent_s += walked([stage for stage in early if stage.subset < used], used, costs)[0]
        whole_s += costs.batched.of(sample.modalities)
    return spent_s / whole_s


def num_over_budget(samples: Sequence[Sample], fitted: MeasuredSelector) -> int:
    """Choices with a chain, over budgets and situations, whose whole walk costs more than the budget."""
    num = 0
    for task, available in dict.fromkeys((sample.task, sample.modalities) for sample in samples):
        costs = fitted.table.costs[task]
        for share in BUDGETS:
            choice = fitted.choose(task, available, Budget(share=share))
            if choice.early:
                whole_s, _ = walked(choice.early, choice.subset, costs)
                num += whole_s > share * costs.batched.of(available) * (1 + 1e-6)
    return num


# Other ways of choosing at the same mean work


def at_same_work(
    samples: Sequence[Sample], selector: MeasuredSelector, right: Mapping[Subset, Flags], work: float
) -> dict[str, float]:
    """Loss of the tree, of one set for everything, and of random sets, each mixed so that the mean work is the same.

    The mix is the best in hindsight, on the test split itself, so these losses flatter the others.
    """
    costs = [selector.table.costs[sample.task] for sample in samples]
    cheapest = [
        min(sample.modalities, key=cost.batched.each_s.__getitem__) for sample, cost in zip(samples, costs, strict=True)
    ]
    everything = [sample.modalities for sample in samples]
    whole_s = sum(cost.batched.of(part) for cost, part in zip(costs, everything, strict=True))
    of_all = statistics.fmean(right[part][place] for place, part in enumerate(everything))

    def point(chosen: Sequence[Sequence[Subset]]) -> Point:
        """Of rows that choose among some sets at random."""
        spent_s = sum(
            statistics.fmean(cost.batched.of(part) for part in parts) for cost, parts in zip(costs, chosen, strict=True)
        )
        hit = statistics.fmean(
            statistics.fmean(float(right[part][place]) for part in parts) for place, parts in enumerate(chosen)
        )
        return spent_s / whole_s, 100 * (of_all - hit)

    lightest = [frozenset({name}) for name in cheapest]
    ends = [(1.0, 0.0)]
    tree = [
        point([[selector.choose(sample.task, sample.modalities, Budget(share=share)).subset] for sample in samples])
        for share in (0.0, *BUDGETS)
    ]
    single = [
        point([[subset & sample.modalities or light] for sample, light in zip(samples, lightest, strict=True)])
        for subset in subsets_of(selector.table.modalities)
    ]
    random = [
        point(
            [within(sample, cost, share, light) for sample, cost, light in zip(samples, costs, lightest, strict=True)]
        )
        for share in (0.0, *BUDGETS)
    ]
    return {
        "tree": best_mix(tree + ends, work),
        "single": best_mix(single + ends, work),
        "random": best_mix(random + ends, work),
    }


def within(sample: Sample, costs: Costs, share: float, lightest: Subset) -> list[Subset]:
    """Subsets within a budget, or the lightest."""
    available, budget = sample.modalities, Budget(share=share)
    return [part for part in subsets_of(available) if costs.keeps(part, available, budget)] or [lightest]


def best_mix(points: Sequence[Point], work: float) -> float:
    """The least loss of two points mixed to a mean work; of the point with the least work if all have more.

    >>> round(best_mix([(0.2, 10.0), (0.6, 1.0), (1.0, 0.0)], 0.4), 6)
    5.5
    """
    at = [loss for cost, loss in points if cost <= work]
    for low, low_loss in points:
        for high, high_loss in points:
            if low < work < high:
                at.append(low_loss + (high_loss - low_loss) * (work - low) / (high - low))
    return float(np.min(at)) if at else min(points)[1]


# Figures


def chain_figures(judged: Sequence[Mapping[float, Walk]], prefix: str, seeds: Sequence[int]) -> dict[str, Figure]:
    """The headline, each allowed loss, and the largest speed-up within the article's loss."""

    def of(allowed: float, what: str, unit: str) -> Figure:
        return figure_of([float(getattr(one[allowed], what)) for one in judged], unit, seeds=seeds)

    made = {
        f"{prefix}_speedup": of(HEADLINE, "cpu", "ratio"),
        f"{prefix}_accuracy_loss": of(HEADLINE, "loss", "points"),
        f"{prefix}_alone_speedup": of(HEADLINE, "alone", "ratio"),
        f"{prefix}_over_budget": of(HEADLINE, "over_budget", "choices"),
    }
    for way in ("tree", "single", "random"):
        made[f"{prefix}_same_work_{way}_loss"] = figure_of(
            [one[HEADLINE].same_work[way] for one in judged], "points", seeds=seeds
        )
    for allowed in judged[0]:
        name = f"{prefix}_chain_%s_{100 * allowed:g}".replace(".", "_")
        made[name % "speedup"] = of(allowed, "cpu", "ratio")
        made[name % "alone_speedup"] = of(allowed, "alone", "ratio")
        made[name % "loss"] = of(allowed, "loss", "points")
        made[name % "work"] = of(allowed, "work", "of the work")
    return made | within_claim(judged, prefix, seeds)


def within_claim(judged: Sequence[Mapping[float, Walk]], prefix: str, seeds: Sequence[int]) -> dict[str, Figure]:
    """The setting with the largest mean speed-up whose mean loss on the test split is within the article's."""

    def mean(allowed: float, what: str) -> float:
        return statistics.fmean(getattr(one[allowed], what) for one in judged)

    fitting = [allowed for allowed in judged[0] if mean(allowed, "loss") <= CLAIMED_LOSS]
    names = [f"{prefix}_{what}_at_4_points" for what in ("speedup", "accuracy_loss", "max_loss")]
    if not fitting:
        return dict(zip(names, (figure(None, "ratio"), figure(None, "points"), figure(None, "share")), strict=True))
    best = max(fitting, key=lambda allowed: mean(allowed, "cpu"))
    return {
        names[0]: figure_of([one[best].cpu for one in judged], "ratio", seeds=seeds),
        names[1]: figure_of([one[best].loss for one in judged], "points", seeds=seeds),
        names[2]: figure(best, "share", n=len(judged)),
    }
