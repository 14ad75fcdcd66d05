"""The micro-profiler against the fixed choice and against hindsight, within equal budgets of CPU seconds.

A model trained on the first domain of tri-digits is tuned once, with replay: on the second, which is a small round, or
on all five that are left, which is a large one. The budgets are multiples of what an epoch of all interaction layers
takes, measured on the same machine just before. The fixed choice moves all of them for as many epochs as the budget
holds; hindsight is the best of the choices by test accuracy, its trials free of cost.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
import torch

from benchmarks.harness import Figure, figure_of
from benchmarks.science_cache import OutOfTime, RunCache
from benchmarks.science_elastic import QUICK as QUICK_ELASTIC
from benchmarks.science_elastic import Setup as Elastic
from benchmarks.science_elastic import base_of
from benchmarks.science_stats import difference, spread
from benchmarks.science_streams import Step, Store
from omni_model.config import ElasticConfig
from omni_model.elastic import tune
from omni_model.evaluate import predict
from omni_model.features import FeatureSet
from omni_model.micro_profile import micro_profile
from omni_model.model import OmniModel
from omni_model.profile_config import ProfileConfig

Say = Callable[[str], None]
Sets = tuple[FeatureSet, FeatureSet, FeatureSet]


@dataclass(frozen=True, kw_only=True)
class Setup:
    """Sizes of a run."""

    elastic: Elastic = field(default_factory=Elastic)
    tune: ElasticConfig = field(
        default_factory=lambda: ElasticConfig(
            epochs=16, batch_rows=64, learning_rate=0.002, replay_share=0.5, own_share=0.0
        )
    )
    seeds: tuple[int, ...] = tuple(range(5))
    budgets: tuple[int, ...] = (2, 4, 8, 16)
    """In epochs of all interaction layers."""
    rounds: Mapping[str, int] = field(default_factory=lambda: {"one domain": 1, "five domains": 5})
    """How many domains are new, by name."""


QUICK = Setup(
    elastic=QUICK_ELASTIC,
    tune=replace(Setup().tune, epochs=2),
    seeds=(0,),
    budgets=(2,),
    rounds={"one domain": 1},
)


def measure(quick: bool, say: Say) -> dict[str, Any]:
    """Figures, tables and notes."""
    setup = QUICK if quick else Setup()
    torch.set_num_threads(1)
    settings = {key: value for key, value in asdict(setup).items() if key not in ("seeds", "rounds")}
    cache = RunCache("profiler-quick" if quick else "profiler", settings)
    figures: dict[str, Figure] = {}
    tables = []
    for name, num in setup.rounds.items():
        runs: list[dict[str, Any]] = []
        for seed in setup.seeds:
            try:
                runs.append(cache.get(f"{name} seed {seed}", partial(run, seed, num, setup)))
            except OutOfTime as reason:
                say(f"profiler {reason}")
                break
            for budget in runs[-1]["budgets"]:
                say(f"profiler {name}, seed {seed}: {told(budget)}")
        if runs:
            figures |= figures_of(name, runs, setup.seeds[: len(runs)])
            tables.append(table_of(name, runs))
    return {"figures": figures, "tables": tables, "notes": list(NOTES) if tables else []}


NOTES = (
    "Profiler: test accuracy over the first domain and the new ones after one tuning; budgets and seconds are CPU "
    "seconds of one thread, the trials paid from the budget. Hindsight takes the best of the three choices by the "
    "test rows themselves and pays for no trial, so it is a bound and no contender.",
)


def told(budget: Mapping[str, Any]) -> str:
    """A line for who waits."""
    chosen = budget["profiled"]
    return (
        f"{budget['epochs']} epochs: fixed {budget['fixed']['accuracy']:.3f}, profiled {chosen['accuracy']:.3f} "
        f"({'+'.join(chosen['moving'])} x {chosen['epochs']}), hindsight {budget['hindsight']['accuracy']:.3f}"
    )


def run(seed: int, num_new: int, setup: Setup) -> dict[str, Any]:
    """All budgets on one seed, with so many new domains."""
    model, steps, store = base_of("domain", seed, setup.elastic)
    steps = steps[: 1 + num_new]
    sets = sets_of(model, steps, store)
    tests = [row for step in steps for row in step.test]
    short = replace(setup.tune, epochs=min(4, setup.tune.epochs))
    alone = tuned(seed, setup, sets, short, tests, store)
    epoch_s = alone["seconds"] / alone["epochs"]
    found = []
    for budget in setup.budgets:
        seconds = budget * epoch_s
        choices = [by_depth(seed, setup, sets, moving, seconds, tests, store) for moving in model.depths]
        found.append(
            {
                "epochs": budget,
                "seconds": seconds,
                "fixed": choices[-1],
                "profiled": profiled(seed, setup, sets, seconds, tests, store),
                "hindsight": max(choices, key=lambda made: float(made["accuracy"])),
            }
        )
    return {"epoch_s": epoch_s, "budgets": found}


def sets_of(model: OmniModel, steps: Sequence[Step], store: Store) -> Sets:
    """New rows of all domains but the first, replayed rows of the first, validation rows of all, encoded once."""
    encoded = store.encoded(model)
    new = [row for step in steps[1:] for row in step.train]
    return encoded.of(new), encoded.of(steps[0].train), encoded.of([row for step in steps for row in step.val])


def tuned(
    seed: int, setup: Setup, sets: Sets, config: ElasticConfig, tests: Sequence[Any], store: Store
) -> dict[str, Any]:
    """One tuning of the seed's base model."""
    model, _, _ = base_of("domain", seed, setup.elastic)
    began = time.process_time()
    report = tune(model, *sets, config, seed=seed)
    seconds = time.process_time() - began
    accuracy = predict(model, store.encoded(model).of(tests), batch_rows=256).accuracy
    moving = config.only or model.interaction
    return {"accuracy": accuracy, "seconds": seconds, "epochs": report.epochs, "moving": list(moving)}


def by_depth(
    seed: int,
    setup: Setup,
    sets: Sets,
    moving: tuple[str, ...],
    seconds: float,
    tests: Sequence[Any],
    store: Store,
) -> dict[str, Any]:
    """One choice for as many epochs as the budget holds, by the seconds of two epochs of its own before."""
    short = replace(setup.tune, only=moving, epochs=2)
    epoch_s = tuned(seed, setup, sets, short, tests, store)["seconds"] / 2
    epochs = max(1, min(setup.tune.epochs, int(np.floor(seconds / epoch_s + 0.1))))
    return tuned(seed, setup, sets, replace(short, epochs=epochs), tests, store)


def profiled(seed: int, setup: Setup, sets: Sets, seconds: float, tests: Sequence[Any], store: Store) -> dict[str, Any]:
    """As the micro-profiler chooses, its trials within the budget."""
    model, _, _ = base_of("domain", seed, setup.elastic)
    config = replace(setup.tune, profile=ProfileConfig(budget_seconds=seconds))
    profile = micro_profile(model, *sets, config, seed=seed, clock=time.process_time)
    made = tuned(seed, setup, sets, profile.apply(config), tests, store)
    return made | {
        "trials_s": profile.seconds,
        "trials": len(profile.trials),
        "budget_share": (profile.seconds + made["seconds"]) / seconds,
        "predicted": profile.predicted,
    }


def figures_of(name: str, runs: Sequence[Mapping[str, Any]], seeds: Sequence[int]) -> dict[str, Figure]:
    """A value a seed: the mean over the budgets."""
    of = name.replace(" ", "_")

    def mean(get: Callable[[Mapping[str, Any]], float]) -> list[float]:
        return [float(np.mean([get(budget) for budget in run["budgets"]])) for run in runs]

    gap = mean(lambda budget: 100 * (budget["profiled"]["accuracy"] - budget["fixed"]["accuracy"]))
    bound = mean(lambda budget: 100 * (budget["hindsight"]["accuracy"] - budget["fixed"]["accuracy"]))
    share = mean(lambda budget: budget["profiled"]["budget_share"])
    trials = mean(lambda budget: budget["profiled"]["trials_s"] / budget["seconds"])
    return {
        f"profiled_minus_fixed_points_{of}": figure_of(gap, "points", seeds=seeds),
        f"hindsight_minus_fixed_points_{of}": figure_of(bound, "points", seeds=seeds),
        f"profiled_seconds_share_of_budget_{of}": figure_of(share, "share", seeds=seeds),
        f"profiler_overhead_share_{of}": figure_of(trials, "share", seeds=seeds),
    }


def table_of(name: str, runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """A row a budget."""
    rows = []
    for place, first in enumerate(runs[0]["budgets"]):
        entries = [run["budgets"][place] for run in runs]
        got = {name: [entry[name]["accuracy"] for entry in entries] for name in ("fixed", "profiled", "hindsight")}
        picked = [f"{entry['profiled']['moving'][0]} x {entry['profiled']['epochs']}" for entry in entries]
        rows.append(
            [
                first["epochs"],
                f"{np.mean([entry['seconds'] for entry in entries]):.1f}",
                *(spread(values) for values in got.values()),
                difference(got["profiled"], got["fixed"]),
                f"{100 * np.mean([entry['profiled']['budget_share'] for entry in entries]):.0f} %",
                "; ".join(sorted(set(picked))),
            ]
        )
    head = [
        "budget, epochs of all",
        "CPU s",
        "fixed",
        "profiled",
        "hindsight",
        "profiled minus fixed, points",
        "of the budget",
        "chosen: from which layer up x epochs",
    ]
    return {"title": f"Micro-profiler, {name} of tri-digits new, {len(runs)} seeds", "head": head, "rows": rows}
