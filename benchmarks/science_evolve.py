"""A searched architecture against the hand-made one, each trained from scratch with the same samples and settings.

A search of the product (Optuna, weights shared with a trained model, no slower than that model) proposes an
architecture for each seed, looking at training and validation rows alone. Then the proposal and the hand-made default
are trained anew, as long as each other, and tested on all six domains. The default is also given the search's compute.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
import optuna
import torch

from benchmarks.harness import Figure, figure_of
from benchmarks.science_cache import OutOfTime, RunCache
from benchmarks.science_stats import difference, spread
from flows.steps.evolving import new_study
from omni_model.config import ElasticConfig, ModelConfig, TrainConfig
from omni_model.data import tri_digits
from omni_model.data.splits import split_of
from omni_model.evaluate import predict
from omni_model.evolve import TooSlow, changes, latency_share, propose, worth
from omni_model.evolve_config import EvolveConfig
from omni_model.features import encode_samples
from omni_model.model import OmniModel
from omni_model.sample import Sample
from omni_model.train import fit

CONTENDERS = ("default", "evolved", "default, the search's compute too")
Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Setup:
    """Sizes of a run. Half the default width, to fit the machine."""

    seeds: tuple[int, ...] = tuple(range(10))
    model: ModelConfig = field(default_factory=lambda: ModelConfig(width=48, heads=2, ffn_width=96))
    parent: TrainConfig = field(default_factory=lambda: TrainConfig(epochs=5, patience=0, batch_rows=64))
    """Of the model that a search goes out from."""
    final: TrainConfig = field(default_factory=lambda: TrainConfig(epochs=10, patience=0, batch_rows=64))
    evolve: EvolveConfig = field(
        default_factory=lambda: EvolveConfig(trials=12, epochs=2, latency_rows=2, latency_repeats=3)
    )
    tune: ElasticConfig = field(default_factory=lambda: ElasticConfig(batch_rows=64))
    every: int = 3
    """A search learns from every n-th training row."""
    rows: int | None = None
    """Rows of a split at most."""


QUICK = Setup(
    seeds=(0,),
    model=ModelConfig(width=16, heads=2, ffn_width=16, segments=2),
    parent=TrainConfig(epochs=1),
    final=TrainConfig(epochs=1),
    evolve=EvolveConfig(trials=4, epochs=1, latency_rows=1, latency_repeats=1, latency_share=3.0),
    rows=60,
)


def measure(quick: bool, say: Say) -> dict[str, Any]:
    """Figures, a table and notes."""
    setup = QUICK if quick else Setup()
    torch.set_num_threads(1)
    settings = {key: value for key, value in asdict(setup).items() if key != "seeds"}
    cache = RunCache("evolve-quick" if quick else "evolve", settings | {"form": 1})
    found: list[dict[str, Any]] = []
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in CONTENDERS}
    for group in (CONTENDERS[:2], CONTENDERS[2:]):
        for seed in setup.seeds:
            try:
                proposal = cache.get(f"search {seed}", partial(search, seed, setup))
                made = {name: cache.get(f"{name} {seed}", partial(run, name, proposal, seed, setup)) for name in group}
            except OutOfTime as reason:
                say(f"evolve {reason}")
                break
            for name in group:
                runs[name].append(made[name])
                say(f"evolve {name} seed {seed}: {made[name]['accuracy']:.3f}, {made[name]['cpu_s']:.0f} s")
            if group == CONTENDERS[:2]:
                found.append(proposal)
                say(f"evolve seed {seed} proposed {told(proposal)} in {proposal['cpu_s']:.0f} s")
    if not found:
        return {"figures": {}, "tables": [], "notes": ["Evolved architectures: not measured yet."]}
    seeds = setup.seeds[: len(found)]
    figures: dict[str, Figure] = {
        "evolved_minus_default_points": figure_of(gaps_of(runs, "default"), "points", seeds=seeds),
        "evolved_latency_ratio_to_default": figure_of([row["latency_share"] for row in found], "ratio", seeds=seeds),
        "evolve_search_cpu_s": figure_of([row["cpu_s"] for row in found], "s", seeds=seeds),
    }
    if longer := gaps_of(runs, CONTENDERS[2]):
        key = "evolved_minus_default_with_the_searchs_compute_points"
        figures[key] = figure_of(longer, "points", seeds=seeds[: len(longer)])
    proposals = "; ".join(f"seed {seed}: {told(row)}" for seed, row in zip(seeds, found, strict=True))
    return {"figures": figures, "tables": [table_of(runs, found)], "notes": [*NOTES, f"Proposed: {proposals}."]}


NOTES = (
    "Test accuracy, mean of six domains, trained from scratch on every training row; a search sees every third "
    "training row and the validation rows. A proposal may take no longer than the default to answer one sample.",
    "The last contender is the default, trained for as many more epochs as the search took CPU time.",
)


def gaps_of(runs: Mapping[str, list[dict[str, Any]]], other: str) -> list[float]:
    """Points by which the evolved one is above another, by seed, for the seeds that both have."""
    pairs = zip(runs["evolved"], runs[other], strict=False)
    return [100 * (ours["accuracy"] - theirs["accuracy"]) for ours, theirs in pairs]


def told(row: Mapping[str, Any]) -> str:
    """A proposal in words."""
    return ", ".join(f"{name} {value}" for name, value in row["changes"].items()) or "the default itself"


def rows_of(seed: int, split: str, setup: Setup) -> list[Sample]:
    """The rows of a split; of fewer, some of every domain."""
    rows = [row for row in tri_digits.load(seed=seed) if split_of(row.item) == split]
    return rows if setup.rows is None else rows[:: math.ceil(len(rows) / setup.rows)]


def search(seed: int, setup: Setup) -> dict[str, Any]:
    """One search: the config that is proposed, what it changes, and what it cost."""
    train, val = rows_of(seed, "train", setup), rows_of(seed, "val", setup)
    torch.manual_seed(seed)
    parent = OmniModel(setup.model, [tri_digits.TASK])
    began = time.process_time()
    fit(parent, train[:: setup.every], val, setup.parent, seed=seed)
    rows = encode_samples(parent, train[:: setup.every], batch_rows=256)
    held_out = encode_samples(parent, val, batch_rows=256)
    timed = sorted(val, key=lambda row: -len(row.inputs))[: setup.evolve.latency_rows]
    judged = partial(
        worth, parent, train=rows, val=held_out, timed=timed, evolve=setup.evolve, elastic=setup.tune, seed=seed
    )
    best, config, num_slow = judged(config=setup.model), setup.model, 0
    study = new_study(setup.model, setup.evolve.trials, seed)
    for _ in range(1, setup.evolve.trials):
        trial = study.ask()
        proposed = propose(lambda name, choices: trial.suggest_categorical(name, list(choices)), setup.model)  # noqa: B023
        try:
            made = judged(config=proposed)
        except TooSlow:
            study.tell(trial, state=optuna.trial.TrialState.PRUNED)
            num_slow += 1
            continue
        study.tell(trial, made.loss)
        if made.loss < best.loss:
            best, config = made, proposed
    return {
        "config": asdict(config),
        "changes": json.loads(json.dumps(changes(setup.model, config))),
        "latency_share": best.latency_share if config != setup.model else 1.0,
        "loss": best.loss,
        "num_slow": num_slow,
        "cpu_s": time.process_time() - began,
    }


def run(name: str, found: Mapping[str, Any], seed: int, setup: Setup) -> dict[str, Any]:
    """Train one contender from scratch and test it."""
    config, training = setup.model, setup.final
    if name == "evolved":
        described = dict(found["config"])
        described |= {key: tuple(described[key]) for key in ("modalities", "ignores")}
        config = ModelConfig(**described)
    train, val = rows_of(seed, "train", setup), rows_of(seed, "val", setup)
    if name == CONTENDERS[2]:
        began = time.process_time()
        fit(fresh(config, seed), train[:200], [], replace(training, epochs=1), seed=seed)
        epoch_s = (time.process_time() - began) * len(train) / len(train[:200])
        training = replace(training, epochs=training.epochs + round(found["cpu_s"] / epoch_s))
    model = fresh(config, seed)
    began = time.process_time()
    report = fit(model, train, val, training, seed=seed)
    cpu_s = time.process_time() - began
    said = predict(model, rows_of(seed, "test", setup), batch_rows=256)
    right = said.answer == said.target
    timed = sorted(val, key=lambda row: -len(row.inputs))[: setup.evolve.latency_rows]
    return {
        "accuracy": float(np.mean([right[said.domains == domain].mean() for domain in set(said.domains.tolist())])),
        "cpu_s": cpu_s,
        "epochs": training.epochs,
        "parameters": report.trained_parameters,
        "latency": latency_share(model, fresh(setup.model, seed), timed, setup.evolve),
    }


def fresh(config: ModelConfig, seed: int) -> OmniModel:
    """An untrained model."""
    torch.manual_seed(seed)
    return OmniModel(config, [tri_digits.TASK])


def table_of(runs: Mapping[str, list[dict[str, Any]]], found: list[dict[str, Any]]) -> dict[str, Any]:
    """Contenders against the default."""
    search_s = float(np.mean([row["cpu_s"] for row in found]))
    rows = []
    for name, several in ((name, several) for name, several in runs.items() if several):
        got = [run["accuracy"] for run in several]
        base = [run["accuracy"] for run in runs["default"][: len(got)]]
        rows.append(
            [
                name,
                str(len(got)),
                spread(got),
                "–" if name == "default" else difference(got, base),
                f"{np.mean([run['parameters'] for run in several]):,.0f}",
                f"{np.mean([run['latency'] for run in several]):.2f}",
                f"{np.mean([run['cpu_s'] for run in several]):.0f}",
                f"{search_s:.0f}" if name == "evolved" else "0",
            ]
        )
    head = ["contender", "seeds", "accuracy", "minus default, points", "parameters", "time of one", "CPU s", "search s"]
    return {"title": "Evolved architecture on tri-digits", "head": head, "rows": rows}
