"""Modality balance: the article's weights from gradient norms, sound variants of them, published methods, and controls.

A dynamic method is called better only if it beats both controls, each with its interval above zero: uniform weights at
the learning rate that the dynamic weights amount to, and fixed weights tuned with as many trials.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from sklearn.linear_model import RidgeClassifier

from benchmarks.harness import Figure
from benchmarks.science_balance_tables import ALONE, ARTICLE, MATCHED, SOUND, STATIC, UNIFORM, figures_of, table_of
from benchmarks.science_cache import OutOfTime, RunCache
from benchmarks.science_overhead import overhead
from benchmarks.science_training import Prepared, fresh, prepare, train, val_accuracy
from benchmarks.science_worlds import World, biased_digits, questions, stamps
from monitoring.measures.balance import modality_balance
from omni_model.balance_config import BalanceConfig
from omni_model.config import DwaConfig, ModelConfig, TrainConfig
from omni_model.evaluate import Predictions, predict
from omni_model.features import FeatureSet, encode_features
from omni_model.model import OmniModel

Say = Callable[[str], None]
RATES = (4e-3, 8e-3, 1.6e-2)
METHODS: Mapping[str, tuple[Mapping[str, Any], ...]] = {
    UNIFORM: tuple({"learning_rate": rate} for rate in RATES),
    STATIC: tuple({"unimodal_weight": weight} for weight in (0.25, 0.5, 2.0)),
    ARTICLE: tuple({"loss": "dwa", "dwa": DwaConfig(k=k)} for k in (1.0, 4.0, 16.0)),
    SOUND: tuple(
        {"loss": "dwa", "dwa": DwaConfig(k=k, deviation="signed_lag", relative=True, ema=0.9, normalise=True)}
        for k in (1.0, 2.0, 4.0)
    ),
    "GradNorm": tuple({"balance": BalanceConfig(method="gradnorm", alpha=alpha)} for alpha in (0.5, 1.5, 3.0)),
    "OGM-GE": tuple({"balance": BalanceConfig(method="ogm_ge", alpha=alpha)} for alpha in (0.1, 0.3, 1.0)),
    "MMPareto": tuple({"balance": BalanceConfig(method="pareto", rescale=scale)} for scale in (1.0, 1.5, 2.0)),
    "unimodal first": tuple({"balance": BalanceConfig(alone_share=share)} for share in (0.2, 0.4, 0.6)),
}
"""By method its three trials on the validation split: what differs from uniform weights. Learning rate: uniform's."""


@dataclass(frozen=True, kw_only=True)
class Setup:
    """Sizes of a run."""

    seeds: Mapping[str, tuple[int, ...]] = field(
        default_factory=lambda: {
            "biased tri-digits": tuple(range(10)),
            "easy-VQA": tuple(range(5)),
            "Tux Paint": tuple(range(5)),
        }
    )
    model: ModelConfig = field(default_factory=lambda: ModelConfig(width=24, heads=2, ffn_width=48))
    train: TrainConfig = field(
        default_factory=lambda: TrainConfig(epochs=10, batch_rows=32, patience=0, unimodal_weight=1.0)
    )
    methods: tuple[str, ...] = tuple(METHODS)
    fewer: tuple[str, ...] = (UNIFORM, STATIC, ARTICLE, SOUND, "MMPareto")
    """The methods away from tri-digits."""
    trials: int = 3
    """Settings of each method that are tried."""
    tuning_seed: int = 100
    overhead_steps: int = 12
    rows: int | None = 550
    """Rows of a split at most: half of tri-digits' training split."""
    larger: Mapping[str, int] = field(default_factory=lambda: {"easy-VQA": 6})
    """Where no rows are left out, because fewer teach nothing across modalities, and for how many epochs."""


QUICK = Setup(
    seeds={"biased tri-digits": (0, 1)},
    model=ModelConfig(width=16, heads=2, ffn_width=16, segments=2),
    train=TrainConfig(epochs=2, batch_rows=64, patience=0, unimodal_weight=1.0),
    methods=(UNIFORM, STATIC, ARTICLE, "GradNorm", "OGM-GE"),
    trials=1,
    overhead_steps=2,
    rows=60,
)
WORLDS: Mapping[str, Callable[[int, int | None], World]] = {
    "biased tri-digits": biased_digits,
    "easy-VQA": partial(questions, train=8000),
    "Tux Paint": stamps,
}


def measure(quick: bool, say: Say) -> dict[str, Any]:
    """Figures, tables and notes."""
    setup = QUICK if quick else Setup()
    torch.set_num_threads(1)
    figures: dict[str, Figure] = {}
    tables, notes = [], list(NOTES)
    for name in setup.seeds:
        try:
            runs, chosen = measure_world(name, setup, "balance-quick" if quick else "balance", say)
        except OutOfTime:
            notes.append(f"{name}: the balance of modalities was not measured, for want of time.")
            continue
        figures |= figures_of(name, runs, setup.seeds[name])
        tables.append(table_of(name, runs))
        notes.append(f"{name}, chosen of three: " + "; ".join(f"{key} {told(trial)}" for key, trial in chosen.items()))
    figures |= overhead(setup.overhead_steps)
    return {"figures": figures, "tables": tables, "notes": notes}


NOTES = (
    "Cross-modal accuracy: right answers, sought among all, on test rows with two modalities or more. Weaker modality: "
    "that with the lowest accuracy alone under uniform weights; its probe is a linear readout of its own embedding.",
    "Balance: entropy of the modalities' Shapley shares, 1 is even; high balance is no success by itself.",
    "Better: the interval of the difference lies above zero against uniform weights at the matched learning rate and "
    "against tuned fixed weights.",
)


def measure_world(name: str, setup: Setup, part: str, say: Say) -> tuple[dict[str, list[Any]], dict[str, Any]]:
    """Every method on every seed of one data set."""
    if name in setup.larger:
        setup = replace(setup, rows=None, train=replace(setup.train, epochs=setup.larger[name]))
    settings = {"model": asdict(setup.model), "train": asdict(setup.train), "rows": setup.rows, "world": name}
    cache = RunCache(part, settings | {"form": 1})
    bench = Bench(name, setup)
    methods = setup.methods if name == "biased tri-digits" else setup.fewer
    chosen: dict[str, Any] = {}
    for method in methods:
        start = chosen.get(UNIFORM, {})
        trials = [start | trial for trial in METHODS[method][: setup.trials]]
        scores = [cache.get(f"tuning {told(trial)}", bench.validator(trial)) for trial in trials]
        chosen[method] = trials[int(np.argmax(scores))]
        say(f"balance {name} {method} tuned: {[round(score, 3) for score in scores]}")
    chosen[ALONE] = chosen[UNIFORM] | {"unimodal_weight": 0.0}
    runs: dict[str, list[Any]] = {method: [] for method in (*chosen, MATCHED)}
    ended: set[str] = set()
    for number, seed in enumerate(setup.seeds[name]):
        for method in [method for method in (*chosen, MATCHED) if method not in ended]:
            try:
                trial = chosen.get(method) or matched(chosen[UNIFORM], runs[ARTICLE][number]["rate_factor"])
                key = f"{method} {trial['learning_rate'] if method == MATCHED else told(trial)} {seed}"
                runs[method].append(cache.get(key, bench.runner(trial, seed)))
            except (OutOfTime, IndexError):
                ended.add(method)
        made = {key: several[number]["cross"] for key, several in runs.items() if len(several) > number}
        say(f"balance {name} seed {seed}: " + ", ".join(f"{key} {value:.3f}" for key, value in made.items()))
    return {method: several for method, several in runs.items() if several}, chosen


def matched(uniform: Mapping[str, Any], factor: float) -> dict[str, Any]:
    """Uniform weights at the learning rate that dynamic weights amounted to."""
    return {**uniform, "learning_rate": uniform["learning_rate"] * factor}


def told(trial: Mapping[str, Any]) -> str:
    """What a trial sets, without defaults."""
    parts = []
    for key, value in trial.items():
        if isinstance(value, DwaConfig | BalanceConfig):
            plain = asdict(type(value)())
            parts += [f"{name}={each}" for name, each in asdict(value).items() if each != plain[name] or name == "k"]
        else:
            parts.append(f"{key}={value:g}" if isinstance(value, float) else f"{key}={value}")
    return " ".join(parts)


class Bench:
    """One data set, the rows of one seed at a time."""

    def __init__(self, name: str, setup: Setup) -> None:
        self.name, self.setup = name, setup
        self._seed: int | None = None

    def validator(self, trial: Mapping[str, Any]) -> Callable[[], float]:
        """Validation accuracy of a trial."""
        return lambda: val_accuracy(self._trained(trial, self.setup.tuning_seed)[1])

    def runner(self, trial: Mapping[str, Any], seed: int) -> Callable[[], dict[str, Any]]:
        """All that is measured on the test split after one training."""

        def run() -> dict[str, Any]:
            model, report, cpu_s = self._trained(trial, seed)
            made = judged(model, self.rows, self.world.modalities)
            return made | {"val": val_accuracy(report), "cpu_s": cpu_s, "rate_factor": report.rate_factor}

        return run

    def _trained(self, trial: Mapping[str, Any], seed: int) -> Any:
        if self._seed != seed:
            self.world = WORLDS[self.name](seed, self.setup.rows)
            self.rows: Prepared = prepare(self.world, self.setup.model, {})
            self._seed = seed
        model = fresh(self.world, self.setup.model, seed)
        report, cpu_s = train(model, self.rows, replace(self.setup.train, **trial), seed)
        return model, report, cpu_s


def judged(model: OmniModel, rows: Prepared, names: Sequence[str]) -> dict[str, Any]:
    """Accuracies, balance, and a probe of each modality's own embedding."""
    test = encode_features(model, rows.test, batch_rows=256)
    whole = predict(model, test, batch_rows=256)
    right = whole.raw_answer == whole.target
    several = np.array([len(there) > 1 for there in whole.modalities])
    shares = modality_balance(lambda subset: predict(model, test, subset=subset, batch_rows=256).accuracy, names)
    seen = predict(model, encode_features(model, rows.train, batch_rows=256), batch_rows=256)
    return {
        "accuracy": float(right.mean()),
        "cross": float(right[several].mean()),
        "balance": shares.balance,
        "shapley": shares.shapley,
        "alone": {name: alone(model, test, name) for name in names},
        "probe": {name: probe(seen, whole, name) for name in names},
    }


def alone(model: OmniModel, rows: FeatureSet, name: str) -> float:
    """Accuracy from one modality, over the rows that have it."""
    there = [row for row, names in enumerate(rows.modalities) if name in names]
    return predict(model, rows.select(there).only({name}), batch_rows=256).accuracy


def probe(seen: Predictions, asked: Predictions, name: str) -> float:
    """Test accuracy of a linear readout (ridge) of a modality's own embedding, over the rows that have it."""
    parts = []
    for said in (seen, asked):
        there = np.isfinite(said.embeddings[name]).all(axis=1)
        parts.append((said.embeddings[name][there], said.target[there]))
    centre, scale = parts[0][0].mean(axis=0), parts[0][0].std(axis=0) + 1e-6
    reader = RidgeClassifier().fit((parts[0][0] - centre) / scale, parts[0][1])
    return float(reader.score((parts[1][0] - centre) / scale, parts[1][1]))
