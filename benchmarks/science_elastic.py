"""Elastic tuning against the ways of going on that people would take instead, on two streams of tri-digits.

Every contender of a seed starts from the same base model of the first step, and meets the same rows in the same order.
Accuracy is that on the test rows of every step after the last one; each contender's grid has the same number of cells,
tried on the first steps of a seed of its own and judged on validation rows.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
import torch

from benchmarks.harness import Figure, figure_of
from benchmarks.science_cache import OutOfTime, RunCache
from benchmarks.science_stats import difference, spread
from benchmarks.science_streams import KINDS, Kind, Step, Store, stream
from benchmarks.science_tuners import Choice, DerPlusPlus, Elastic, Ewc, Lora, Lwf, Probe, Replay, Tuner
from monitoring.measures.continual import continual_scores
from omni_model.config import ElasticConfig, ModelConfig, TrainConfig
from omni_model.evaluate import predict
from omni_model.model import OmniModel
from omni_model.sample import Sample
from omni_model.train import fit

TUNING_SEED = 100
CONTENDERS: Mapping[str, type[Tuner]] = {
    "full": Tuner,
    "probe": Probe,
    "lora": Lora,
    "ewc": Ewc,
    "lwf": Lwf,
    "replay": Replay,
    "der++": DerPlusPlus,
    "elastic": Elastic,
}
CELLS: Mapping[str, tuple[tuple[float, ...], ...]] = {
    "full": ((1e-4, 0), (2.5e-4, 0), (5e-4, 0), (1e-3, 0), (2e-3, 0), (4e-3, 0)),
    "probe": ((1e-2, 0.25), (3e-2, 0.25), (1e-1, 0.25), (3e-2, 0.5), (1e-1, 0.5), (1e-1, 0.75)),
    "lora": ((4e-3, 8), (1e-2, 8), (2e-2, 8), (1e-2, 16), (1e-2, 16, 0.75), (2e-2, 8, 0.75)),
    "ewc": ((5e-4, 1000), (1e-3, 30), (1e-3, 1000), (1e-3, 30_000), (1e-3, 300_000), (2e-3, 1000)),
    "lwf": ((5e-4, 0.3), (1e-3, 0.1), (1e-3, 0.3), (1e-3, 1), (1e-3, 3), (2e-3, 1)),
    "replay": ((1e-3, 0.25), (1e-3, 0.5), (2e-3, 0.25), (2e-3, 0.5), (2e-3, 0.75), (4e-3, 0.5)),
    "der++": ((1e-3, 0.1), (2e-3, 0.1), (2e-3, 0.5), (4e-3, 0.1), (2e-3, 0.1, 0.75), (4e-3, 0.1, 0.75)),
    "elastic": ((1e-3, 0.5), (2e-3, 0.25), (2e-3, 0.5), (4e-3, 0.5), (4e-3, 0.75), (8e-3, 0.5)),
}
"""Six cells a contender: learning rate; the share of replay, the rank, or the weight of the further loss; with the
latter two also the share of replay if it is not the usual one. Every contender that replays may replay three quarters.
"""
GRIDS = {name: tuple(Choice(*cell) for cell in cells) for name, cells in CELLS.items()}
Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Setup:
    """Sizes of a run. Half the default width, so that fifteen runs of nine contenders take half an hour on one core."""

    seeds: Mapping[Kind, tuple[int, ...]] = field(
        default_factory=lambda: {"domain": tuple(range(10)), "class": tuple(range(5))}
    )
    model: ModelConfig = field(default_factory=lambda: ModelConfig(width=48, heads=2, ffn_width=96))
    base: TrainConfig = field(default_factory=lambda: TrainConfig(epochs=30, patience=0))
    joint: TrainConfig = field(default_factory=lambda: TrainConfig(epochs=20, patience=0, batch_rows=64))
    tune: ElasticConfig = field(default_factory=lambda: ElasticConfig(epochs=6, batch_rows=64))
    contenders: tuple[str, ...] = tuple(CONTENDERS)
    kinds: tuple[Kind, ...] = KINDS
    num_steps: int | None = None
    tuning_steps: int = 3
    rows: int | None = None
    """Training rows of a step at most."""


QUICK = Setup(
    seeds={"domain": (0,), "class": (0,)},
    model=ModelConfig(width=16, heads=2, ffn_width=16, segments=2),
    base=TrainConfig(epochs=2),
    joint=TrainConfig(epochs=1),
    tune=ElasticConfig(epochs=1, batch_rows=64),
    contenders=("full", "lora", "der++", "elastic"),
    num_steps=2,
    tuning_steps=2,
    rows=40,
)


def measure(quick: bool, say: Say) -> dict[str, Any]:
    """Figures, tables and notes."""
    setup = QUICK if quick else Setup()
    torch.set_num_threads(1)
    settings = {key: value for key, value in asdict(setup).items() if key != "seeds"}
    cache = RunCache("elastic-quick" if quick else "elastic", settings | {"form": 1})
    figures: dict[str, Figure] = {}
    tables, notes = [], list(NOTES)
    for kind in setup.kinds:
        chosen = {name: tuned(kind, name, setup, cache, say) for name in setup.contenders}
        runs = {name: [] for name in (*setup.contenders, "joint")}  # type: dict[str, list[dict[str, Any]]]
        for seed in setup.seeds[kind]:
            for name in runs:
                try:
                    choice = chosen.get(name)
                    key = f"{kind} {name} {'' if choice is None else told_of(choice)} {seed}"
                    made = cache.get(key, partial(run, kind, name, choice, seed, setup))
                except OutOfTime as reason:
                    say(f"elastic {reason}")
                    break
                runs[name].append(made)
                say(f"elastic {kind} {name} seed {seed}: {made['accuracy']:.3f}, {made['cpu_s']:.0f} s")
        num = min(len(several) for several in runs.values())
        if not num:
            continue
        runs = {name: several[:num] for name, several in runs.items()}
        figures |= figures_of(kind, runs, setup.seeds[kind][:num])
        tables.append(table_of(kind, runs))
        cells = "; ".join(
            f"{name} {'/'.join(f'{value:g}' for value in told_of(choice).values())}" for name, choice in chosen.items()
        )
        notes.append(f"{kind}-incremental, chosen learning rate/strength/share of replay: {cells}.")
    return {"figures": figures, "tables": tables, "notes": notes}


NOTES = (
    "Test accuracy over all steps after the last one, the answer sought among all those known; forgetting, backward "
    "and forward transfer (over guessing) as in GEM and Chaudhry et al.; seconds of CPU on one thread after the base "
    "model.",
    "Probe, LoRA, replay, DER++ and elastic replay earlier rows, all of which are kept; full, EWC and LwF have none. "
    "Joint is trained from scratch on every row of the stream at once, with 20 epochs to the tunings' 6 a step.",
)


Base = tuple[OmniModel, list[Step], Store]


def base_model(kind: Kind, seed: int, setup: Setup) -> Base:
    """The model of the first step, the stream, and its rows as prepared."""
    steps = [replace_rows(step, setup.rows) for step in stream(kind, seed, setup.num_steps)]
    torch.manual_seed(seed)
    model = OmniModel(setup.model, [steps[0].task])
    fit(model, steps[0].train, steps[0].val, setup.base, seed=seed)
    rows = [row for step in steps for part in (step.train, step.val, step.test) for row in part]
    return model, steps, Store(model, rows)


def replace_rows(step: Step, rows: int | None) -> Step:
    """The step with at most so many training rows."""
    return replace(step, train=step.train[:rows])


_BASES: dict[tuple[Kind, int, str], Base] = {}


def base_of(kind: Kind, seed: int, setup: Setup) -> Base:
    """A copy of the seed's base model, trained once in a process; only the last one is kept."""
    key = (kind, seed, repr(setup))
    if key not in _BASES:
        _BASES.clear()
        _BASES[key] = base_model(kind, seed, setup)
    model, steps, store = _BASES[key]
    return copy.deepcopy(model), steps, store


def tuned(kind: Kind, name: str, setup: Setup, cache: RunCache, say: Say) -> Choice:
    """The cell of the contender's grid with the best validation accuracy over the first steps."""
    scores = []
    for choice in GRIDS[name]:
        key = f"{kind} {name} tuning {told_of(choice)}"
        scores.append(cache.get(key, partial(validated, kind, name, choice, setup)))
    best = GRIDS[name][int(np.argmax(scores))]
    say(f"elastic {kind} {name} tuned: {best} of {[round(score, 3) for score in scores]}")
    return best


def told_of(choice: Choice) -> dict[str, float]:
    """What a choice sets."""
    return {key: value for key, value in asdict(choice).items() if value is not None}


def validated(kind: Kind, name: str, choice: Choice, setup: Setup) -> float:
    """Mean validation accuracy over the first steps once they are through."""
    model, steps, store = base_of(kind, TUNING_SEED, setup)
    tuner = CONTENDERS[name](model, setup.tune, choice, steps[0].train, store)
    for number, step in enumerate(steps[1 : setup.tuning_steps], start=1):
        tuner.grow(step.task)
        tuner.learn(step.train, [row for past in steps[: number + 1] for row in past.val], TUNING_SEED + number)
    return float(np.mean(accuracies(tuner, [step.val for step in steps[: setup.tuning_steps]])))


def run(kind: Kind, name: str, choice: Choice | None, seed: int, setup: Setup) -> dict[str, Any]:
    """One contender on one stream."""
    if choice is None:
        return joint(kind, seed, setup)
    model, steps, store = base_of(kind, seed, setup)
    began = time.process_time()
    tuner = CONTENDERS[name](model, setup.tune, choice, steps[0].train, store)
    cpu_s = time.process_time() - began
    tests = [step.test for step in steps]
    rows = [accuracies(tuner, tests)]
    for number, step in enumerate(steps[1:], start=1):
        began = time.process_time()
        tuner.grow(step.task)
        tuner.learn(step.train, [row for past in steps[: number + 1] for row in past.val], 100 * seed + number)
        cpu_s += time.process_time() - began
        rows.append(accuracies(tuner, tests))
    scores = continual_scores(rows, untrained_D=[1 / len(tuner.model.answers)] * len(steps))
    return {
        "accuracy": scores.average_accuracy,
        "forgetting": scores.forgetting,
        "backward_transfer": scores.backward_transfer,
        "forward_transfer": scores.forward_transfer if kind == "domain" else None,
        "cpu_s": cpu_s,
        "bytes": 4 * tuner.moved,
        "samples_seen": tuner.samples_seen,
        "matrix": rows,
    }


def joint(kind: Kind, seed: int, setup: Setup) -> dict[str, Any]:
    """From scratch on all rows at once."""
    steps = [replace_rows(step, setup.rows) for step in stream(kind, seed, setup.num_steps)]
    torch.manual_seed(seed)
    model = OmniModel(setup.model, [steps[-1].task])
    train, val = [row for step in steps for row in step.train], [row for step in steps for row in step.val]
    began = time.process_time()
    report = fit(model, train, val, setup.joint, seed=seed)
    cpu_s = time.process_time() - began
    return {
        "accuracy": float(np.mean([predict(model, step.test).accuracy for step in steps])),
        "cpu_s": cpu_s,
        "bytes": 4 * report.trained_parameters,
        "samples_seen": report.samples_seen,
    }


def accuracies(tuner: Tuner, parts: Sequence[Sequence[Sample]]) -> list[float]:
    """Accuracy on each part; a row whose answer is not known yet counts as wrong."""
    known = set(tuner.model.answers)
    rows = []
    for part in parts:
        asked = [row for row in part if row.answer in known]
        right = round(predict(tuner.model, tuner.features(asked), batch_rows=256).accuracy * len(asked)) if asked else 0
        rows.append(right / len(part))
    return rows


def figures_of(kind: Kind, runs: Mapping[str, list[dict[str, Any]]], seeds: Sequence[int]) -> dict[str, Figure]:
    """The figures of a stream; those of the domain stream carry the plain names."""
    suffix = "" if kind == "domain" else f"_{kind}"
    made = {
        f"elastic_{name.replace('+', 'p')}_accuracy{suffix}": figure_of(
            [run["accuracy"] for run in several], "accuracy", seeds=seeds
        )
        for name, several in runs.items()
    }
    pairs = list(zip(runs["elastic"], runs["joint"], strict=True))
    gaps = [100 * (ours["accuracy"] - theirs["accuracy"]) for ours, theirs in pairs]
    made[f"elastic_minus_joint_points{suffix}"] = figure_of(gaps, "points", seeds=seeds)
    made[f"elastic_forgetting{suffix}"] = figure_of(
        [run["forgetting"] for run in runs["elastic"]], "accuracy", seeds=seeds
    )
    ratios = [ours["bytes"] / theirs["bytes"] for ours, theirs in pairs]
    made[f"bytes_per_version_ratio{suffix}"] = figure_of(ratios, "ratio", seeds=seeds)
    made[f"elastic_seconds_ratio_to_joint{suffix}"] = figure_of(
        [ours["cpu_s"] / theirs["cpu_s"] for ours, theirs in pairs], "ratio", seeds=seeds
    )
    return made


def table_of(kind: Kind, runs: Mapping[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """The table of a stream, best first."""
    ours = [run["accuracy"] for run in runs["elastic"]]
    rows = []
    for name, several in sorted(runs.items(), key=lambda entry: -np.mean([run["accuracy"] for run in entry[1]])):
        got = [run["accuracy"] for run in several]
        rows.append(
            [
                name,
                spread(got),
                "–" if name == "elastic" else difference(ours, got),
                *(told(several, key) for key in ("forgetting", "backward_transfer", "forward_transfer")),
                f"{np.mean([run['cpu_s'] for run in several]):.0f}",
                f"{np.mean([run['bytes'] for run in several]) / 1e6:.2f}",
            ]
        )
    head = ["contender", "accuracy", "elastic minus it, points", "forgetting", "BWT", "FWT", "CPU s", "MB a version"]
    return {"title": f"{kind}-incremental tri-digits, {len(ours)} seeds", "head": head, "rows": rows}


def told(several: Sequence[Mapping[str, Any]], key: str) -> str:
    """A column, a dash where it means nothing."""
    values = [run[key] for run in several if run.get(key) is not None]
    return f"{np.mean(values):+.3f}" if values else "–"
