"""Attention across modalities: DCMA against joint attention, late fusion, gated cross-attention and mixtures of
per-modality weights, at equal parameters; which of its parts matter; and what a longer sequence costs.

Every contender has the product's encoders, layers within modalities, pooling and head. What differs is the layers
across modalities, and the width of the feed-forward networks, chosen so that the numbers of parameters agree.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
import torch

from benchmarks.harness import Figure
from benchmarks.science_cache import OutOfTime, RunCache
from benchmarks.science_dcma_tables import OURS, figures_of, tables_of
from benchmarks.science_lengths import lengths_table
from benchmarks.science_training import Prepared, fresh, prepare, robustness, train, val_accuracy
from benchmarks.science_worlds import World, digits, questions, stamps
from omni_model.config import ModelConfig, TrainConfig

Say = Callable[[str], None]
CONTENDERS: Mapping[str, Mapping[str, Any]] = {
    "dcma": {},
    "joint": {"attention": "joint", "scale": "head"},
    "late fusion": {"attention": "late", "scale": "head"},
    "gated": {"attention": "gated", "scale": "head"},
    "multiway": {"attention": "multiway", "strength": "none", "scale": "head"},
    "mixture": {"strength": "none", "scale": "head"},
    "article": {"attention": "seed"},
}
"""By name, what differs from the product's default. `multiway` shares attention and has a feed-forward network per
modality (BEiT-3); `mixture` has every weight per modality (mixture-of-transformers)."""
ABLATIONS: Mapping[str, Mapping[str, Any]] = {
    "joint, same width": {"attention": "joint", "scale": "head"},
    "dcma, shared projections": {"attention": "multiway"},
    "dcma, static strength": {"strength": "static"},
    "dcma, no strength": {"strength": "none"},
    "dcma, head scale": {"scale": "head"},
}
"""Compared at equal width, with DCMA's learning rate: what a part costs is part of the question."""
RATES = (2e-3, 4e-3, 8e-3, 1.6e-2)
"""The whole tuning budget of a contender: four learning rates, judged on the validation split."""


@dataclass(frozen=True, kw_only=True)
class Setup:
    """Sizes of a run."""

    seeds: Mapping[str, tuple[int, ...]] = field(
        default_factory=lambda: {
            "tri-digits": tuple(range(10)),
            "easy-VQA": tuple(range(5)),
            "Tux Paint": tuple(range(5)),
        }
    )
    model: ModelConfig = field(default_factory=lambda: ModelConfig(width=24, heads=2, ffn_width=48))
    train: TrainConfig = field(default_factory=lambda: TrainConfig(epochs=12, batch_rows=64, patience=0))
    epochs: Mapping[str, int] = field(default_factory=lambda: {"easy-VQA": 6, "Tux Paint": 4})
    """Where they differ from `train`."""
    rates: tuple[float, ...] = RATES
    lower: Mapping[str, tuple[float, ...]] = field(default_factory=lambda: {"easy-VQA": (1e-3, 2e-3, 4e-3)})
    """Where many more rows ask for other rates."""
    tuning_seeds: tuple[int, ...] = (100, 101)
    contenders: tuple[str, ...] = tuple(CONTENDERS)
    fewer: tuple[str, ...] = ("dcma", "joint", "late fusion", "gated", "mixture")
    """The contenders away from tri-digits."""
    ablations: tuple[str, ...] = tuple(ABLATIONS)
    lengths: tuple[int, ...] = (64, 256, 1024)
    rows: int | None = None


QUICK = Setup(
    seeds={"tri-digits": (0, 1)},
    model=ModelConfig(width=16, heads=2, ffn_width=16, segments=2),
    train=TrainConfig(epochs=1, batch_rows=64, patience=0),
    rates=(4e-3,),
    contenders=("dcma", "joint", "late fusion", "gated"),
    ablations=("dcma, static strength",),
    lengths=(32, 64),
    rows=100,
)
WORLDS: Mapping[str, Callable[[int, int | None], World]] = {
    "tri-digits": digits,
    "easy-VQA": partial(questions, train=12_000),
    "Tux Paint": stamps,
}
CORRUPTION = {"image": 0.5, "audio": 1.0, "text": 0.6}


def measure(quick: bool, say: Say) -> dict[str, Any]:
    """Figures, tables and notes."""
    setup = QUICK if quick else Setup()
    torch.set_num_threads(1)
    figures: dict[str, Figure] = {}
    tables, notes = [], list(NOTES)
    for name in setup.seeds:
        try:
            runs, rates = measure_world(name, setup, "dcma-quick" if quick else "dcma", say)
        except OutOfTime:
            notes.append(f"{name}: attention was not measured, for want of time.")
            continue
        figures |= figures_of(name, runs, setup.seeds[name])
        tables += tables_of(name, runs)
        notes.append(f"{name}, chosen learning rates: " + ", ".join(f"{key} {rate:g}" for key, rate in rates.items()))
    table, more = lengths_table(setup.model, setup.lengths, say)
    return {"figures": figures | more, "tables": [*tables, table], "notes": notes}


NOTES = (
    "Equal parameters: the width of the feed-forward networks is set so that each contender has as many parameters as "
    "DCMA; the table says how many. Parts left out and `joint, same width` keep DCMA's width of the networks instead.",
    f"Equal tuning: each contender's learning rate is the best of {', '.join(map(str, RATES))} (easy-VQA: 0.001, "
    "0.002, 0.004) on the validation split of seeds that are not among those reported; parts left out take DCMA's. The "
    "test split was predicted once a run.",
    "Corrupted: noise of half the range on pictures, four times a sound's own strength, 60 % wrong letters.",
    "Alignment error: 1 - mean recall at 1 between modalities' embeddings, samples of one answer as positives.",
)


def measure_world(name: str, setup: Setup, part: str, say: Say) -> tuple[dict[str, list[Any]], dict[str, float]]:
    """Every contender on every seed of one data set."""
    config = replace(setup.train, epochs=setup.epochs.get(name, setup.train.epochs))
    settings = {"model": asdict(setup.model), "train": asdict(config), "rows": setup.rows, "world": name, "form": 2}
    cache = RunCache(part, settings)
    bench = Bench(name, setup, config)
    contenders, parts = (setup.contenders, setup.ablations) if name == "tri-digits" else (setup.fewer, ())
    rates = {arm: bench.tuned(arm, cache, say) for arm in contenders}
    runs: dict[str, list[Any]] = {arm: [] for arm in (*contenders, *parts)}
    ended: set[str] = set()
    for number, seed in enumerate(setup.seeds[name]):
        for arm in [arm for arm in runs if arm not in ended]:
            rate = rates.get(arm, rates[OURS])
            try:
                runs[arm].append(cache.get(f"{arm} {rate} {seed}", bench.runner(arm, rate, seed)))
            except OutOfTime:
                ended.add(arm)
        made = {arm: several[number]["accuracy"] for arm, several in runs.items() if len(several) > number}
        say(f"dcma {name} seed {seed}: " + ", ".join(f"{arm} {value:.3f}" for arm, value in made.items()))
    return {arm: several for arm, several in runs.items() if several}, rates


class Bench:
    """One data set, the rows of one seed at a time."""

    def __init__(self, name: str, setup: Setup, config: TrainConfig) -> None:
        self.name, self.setup, self.config = name, setup, config
        self._seed: int | None = None

    def tuned(self, arm: str, cache: RunCache, say: Say) -> float:
        """The learning rate with the best mean validation accuracy over the tuning seeds."""
        scores = []
        rates = self.setup.lower.get(self.name, self.setup.rates)
        for rate in rates:
            several = [
                cache.get(f"tuning {arm} {rate} {seed}", self.validator(arm, rate, seed))
                for seed in self.setup.tuning_seeds
            ]
            scores.append(float(np.mean(several)))
        say(f"dcma {self.name} {arm} tuned: {[round(score, 3) for score in scores]}")
        return rates[int(np.argmax(scores))]

    def validator(self, arm: str, rate: float, seed: int) -> Callable[[], float]:
        """Validation accuracy of one training."""
        return lambda: val_accuracy(self._trained(arm, rate, seed)[1])

    def runner(self, arm: str, rate: float, seed: int) -> Callable[[], dict[str, float]]:
        """All that is measured on the test split after one training."""

        def run() -> dict[str, float]:
            model, report, cpu_s = self._trained(arm, rate, seed)
            made = robustness(model, self.rows, self.world.modalities)
            return made | {"val": val_accuracy(report), "cpu_s": cpu_s, "parameters": report.trained_parameters}

        return run

    def _trained(self, arm: str, rate: float, seed: int) -> Any:
        if self._seed != seed:
            self.world = WORLDS[self.name](seed, self.setup.rows)
            kept = {name: value for name, value in CORRUPTION.items() if name in self.world.modalities}
            self.rows: Prepared = prepare(self.world, self.setup.model, kept)
            self._seed = seed
        model = fresh(self.world, config_of(arm, self.setup.model, self.world), seed)
        report, cpu_s = train(model, self.rows, replace(self.config, learning_rate=rate), seed)
        return model, report, cpu_s


def config_of(arm: str, base: ModelConfig, world: World) -> ModelConfig:
    """The contender's shape; that of a contender of its own has as many parameters as DCMA."""
    if arm in ABLATIONS:
        return replace(base, **ABLATIONS[arm])
    config = replace(base, **CONTENDERS[arm])
    goal = num_parameters(base, world)
    low, high = 8, 64 * base.ffn_width
    while low < high:
        middle = (low + high) // 2
        low, high = (
            (middle + 1, high) if num_parameters(replace(config, ffn_width=middle), world) < goal else (low, middle)
        )
    return replace(config, ffn_width=low)


def num_parameters(config: ModelConfig, world: World) -> int:
    """Learnable numbers of a model of this shape."""
    return sum(parameter.numel() for parameter in fresh(world, config, 0).parameters())
