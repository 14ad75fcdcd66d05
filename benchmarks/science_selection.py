"""Which samples to label: every acquisition function against random at equal label budgets, over twenty paired seeds.

A model that knows the first domain meets an unlabelled pool of the five others. Labels are bought in rounds; after
each the model is tuned on all that was bought, with replay of the first domain, and tested on all six. What is trained
is one hidden layer over the frozen, cached features of the product's encoders; selection, tuning and prediction are
the product's own.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
import torch

from benchmarks.harness import Figure, figure, figure_of
from benchmarks.science_cache import OutOfTime, RunCache
from benchmarks.science_peers import measure_peers
from benchmarks.science_readout import Readout
from benchmarks.science_stats import area_under, difference, labels_to, spread
from monitoring.measures.calibration import ece
from omni_model.acquisition import SelectionConfig, select
from omni_model.acquisition.predicted import predicted_batches
from omni_model.calibrate import calibrate
from omni_model.config import ElasticConfig, ModelConfig, TrainConfig
from omni_model.data import tri_digits
from omni_model.data.splits import split_of
from omni_model.elastic import tune
from omni_model.evaluate import predict
from omni_model.features import Batcher, FeatureSet, encode_samples
from omni_model.model import OmniModel
from omni_model.train import fit

BASELINE = "random"
DEFAULT = "margin"
ALL_LABELS = "all labels"
SEEDS_OF_ALL = 5
ORDER = ((ALL_LABELS, "random", "margin"), ("entropy", "badge", "bald"))
"""Measured over all seeds one group after the other, the rest last."""
GOAL = 0.95
Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Arm:
    """A contender."""

    acquisition: str
    control_share: float = 0.1
    calibrated: str = "no"
    """`no`, `one` temperature, or one by `subset` of the modalities, before each selection."""


ARMS: Mapping[str, Arm] = {
    "random": Arm(acquisition="random"),
    "least_confidence": Arm(acquisition="least_confidence"),
    "margin": Arm(acquisition="margin"),
    "entropy": Arm(acquisition="entropy"),
    "bald": Arm(acquisition="bald"),
    "disagreement": Arm(acquisition="disagreement"),
    "badge": Arm(acquisition="badge"),
    "core_set": Arm(acquisition="core_set"),
    "margin, no control arm": Arm(acquisition="margin", control_share=0.0),
    "margin, one temperature": Arm(acquisition="margin", calibrated="one"),
    "margin, by subset": Arm(acquisition="margin", calibrated="subset"),
    "entropy, by subset": Arm(acquisition="entropy", calibrated="subset"),
}


@dataclass(frozen=True, kw_only=True)
class Setup:
    """Sizes of a run."""

    seeds: tuple[int, ...] = tuple(range(20))
    model: ModelConfig = field(default_factory=lambda: ModelConfig(width=48, heads=2, ffn_width=96))
    encoders: TrainConfig = field(default_factory=lambda: TrainConfig(epochs=30, patience=0))
    """Of the model whose encoders are taken, once for all seeds, on the first domain."""
    first: TrainConfig = field(default_factory=lambda: TrainConfig(epochs=40, patience=0, batch_rows=32))
    tune: ElasticConfig = field(
        default_factory=lambda: ElasticConfig(epochs=12, batch_rows=64, replay_share=0.25, own_share=0.0)
    )
    budgets: tuple[int, ...] = (40, 80, 140, 220, 340)
    """Labels bought so far, round by round."""
    arms: tuple[str, ...] = tuple(ARMS)
    rows: int | None = None
    """Rows of a split at most."""


QUICK = Setup(
    seeds=(0, 1),
    model=ModelConfig(width=16, heads=2, ffn_width=16, segments=2),
    encoders=TrainConfig(epochs=1),
    first=TrainConfig(epochs=3, patience=0),
    tune=ElasticConfig(epochs=2, own_share=0.0),
    budgets=(20, 40),
    arms=("random", "margin", "badge", "margin, by subset"),
    rows=120,
)


def most(name: str, setup: Setup) -> int:
    """Seeds of an arm: all; of the accuracy with every label, which varies little, a few."""
    return min(len(setup.seeds), SEEDS_OF_ALL) if name == ALL_LABELS else len(setup.seeds)


def measure(quick: bool, say: Say) -> dict[str, Any]:
    """Figures, tables and notes."""
    setup = QUICK if quick else Setup()
    torch.set_num_threads(1)
    settings = {key: value for key, value in asdict(setup).items() if key not in ("seeds", "arms")}
    cache = RunCache("selection-quick" if quick else "selection", settings | {"form": 1})
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in (ALL_LABELS, *setup.arms)}
    world = World(setup)
    last = tuple(name for name in runs if not any(name in group for group in ORDER))
    for group in (*ORDER, last):
        for seed in setup.seeds:
            for name in (each for each in group if each in runs and len(runs[each]) < most(each, setup)):
                try:
                    runs[name].append(cache.get(f"{name} {seed}", partial(world.run, name, seed)))
                except OutOfTime as reason:
                    say(f"selection {reason}")
                    break
                say(f"selection seed {seed} {name}: {runs[name][-1]['area']:.3f}")
    peers = {"figures": {}, "tables": [], "notes": []} if quick else measure_peers(quick, say)
    return {
        "figures": figures_of(runs, setup) | peers["figures"],
        "tables": [table_of(runs, setup), *peers["tables"]],
        "notes": [*NOTES, *peers["notes"]],
    }


NOTES = (
    "Area: mean test accuracy over the label budgets (the same for every arm), of all six domains. Labels: where the "
    "mean curve of the arm first reaches 95 % of the accuracy with every label, between two budgets in proportion.",
    "Every arm but one has the product's control arm: a tenth of its labels are drawn at random.",
    "Trained: one hidden layer on pooled tokens of frozen encoders. So the table ranks functions; it does not tell how "
    "many labels the product's own model needs.",
)


class World:
    """The data and encoders of one seed at a time."""

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        self._base: OmniModel | None = None
        self._seed: int | None = None
        self.parts: dict[str, FeatureSet] = {}

    def run(self, name: str, seed: int) -> dict[str, Any]:
        """One arm from its first label to its last."""
        if self._seed != seed:
            self._open(seed)
        model = copy.deepcopy(self.started)
        if name == ALL_LABELS:
            return self._with_everything(model, seed)
        arm, accuracies = ARMS[name], [self._accuracy(model)]
        bought: list[int] = []
        for number, budget in enumerate(self.setup.budgets):
            bought += self._pick(model, arm, bought, budget - len(bought), 1000 * seed + number)
            model = copy.deepcopy(self.started)
            self._tune(model, self.parts["pool"].select(bought), 1000 * seed + number)
            accuracies.append(self._accuracy(model))
        budgets = [0, *self.setup.budgets]
        return {"accuracies": accuracies, "area": area_under(budgets, accuracies)}

    def _open(self, seed: int) -> None:
        """Render, encode, and train the start of all arms."""
        setup = self.setup
        if self._base is None:
            torch.manual_seed(0)
            self._base = OmniModel(setup.model, [tri_digits.TASK])
            first = [row for row in tri_digits.load(tri_digits.DOMAINS[:1], seed=1000)]
            train = [row for row in first if split_of(row.item) == "train"]
            fit(self._base, train[: setup.rows], [], setup.encoders, seed=0)
        torch.manual_seed(seed)
        self.started = Readout(self._base, [tri_digits.TASK])
        rows = tri_digits.load(seed=seed)
        wanted = {
            "first": [row for row in rows if split_of(row.item) == "train" and row.domain == tri_digits.DOMAINS[0]],
            "pool": [row for row in rows if split_of(row.item) == "train" and row.domain != tri_digits.DOMAINS[0]],
            "val": [row for row in rows if split_of(row.item) == "val"],
            "test": [row for row in rows if split_of(row.item) == "test"],
        }
        self.parts = {
            name: encode_samples(self.started, part[:: 1 + len(part) // (setup.rows or len(part) + 1)], batch_rows=256)
            for name, part in wanted.items()
        }
        nothing = self.parts["first"].select([])
        config = replace(setup.tune, **_shared(setup.first), replay_share=0.0)
        tune(self.started, self.parts["first"], nothing, nothing, config, seed=seed)
        self._seed = seed

    def _pick(self, model: Readout, arm: Arm, bought: list[int], num: int, seed: int) -> list[int]:
        """Row numbers of the pool that get a label."""
        if arm.calibrated != "no":
            calibrate(model, Batcher(model, self.parts["val"]), by_subset=arm.calibrated == "subset")
        known = set(bought)
        left = [row for row in range(len(self.parts["pool"])) if row not in known]
        rows = self.parts["pool"].select(left)
        config = SelectionConfig(acquisition=arm.acquisition, budget=num, control_share=arm.control_share, seed=seed)
        labelled = None
        if arm.acquisition == "core_set":
            have = [self.parts["first"], *([self.parts["pool"].select(bought)] if bought else [])]
            labelled = np.concatenate([predict(model, part, batch_rows=512).fused for part in have])
        chosen = select(
            predicted_batches(model, rows, arm.acquisition, batch_rows=512, seed=seed), config, labelled_fused=labelled
        )
        place = {id_: row for row, id_ in zip(left, rows.ids, strict=True)}
        return [place[row.id] for row in chosen.rows]

    def _tune(self, model: Readout, new: FeatureSet, seed: int) -> None:
        tune(model, new, self.parts["first"], new.select([]), self.setup.tune, seed=seed)
        model.temperature, model.temperatures = 1.0, {}

    def _accuracy(self, model: Readout) -> float:
        """Mean over the six domains' test rows."""
        said = predict(model, self.parts["test"], batch_rows=512)
        right = said.answer == said.target
        return float(np.mean([right[said.domains == domain].mean() for domain in sorted(set(said.domains.tolist()))]))

    def _with_everything(self, model: Readout, seed: int) -> dict[str, Any]:
        """The accuracy with every label, and how far confidences are off, with one temperature and with many."""
        self._tune(model, self.parts["pool"], 1000 * seed + 999)
        accuracy = self._accuracy(model)
        off = {}
        for name, by_subset in (("none", None), ("one", False), ("subset", True)):
            if by_subset is not None:
                calibrate(model, Batcher(model, self.parts["val"]), by_subset=by_subset)
            off[name] = float(np.mean([self._ece(model, {kept}) for kept in ("audio", "image", "text")]))
            off[f"{name}, all"] = self._ece(model, {"audio", "image", "text"})
        return {"accuracy": accuracy, "area": accuracy, "ece": off}

    def _ece(self, model: Readout, kept: set[str]) -> float:
        there = [row for row, names in enumerate(self.parts["test"].modalities) if kept <= names]
        said = predict(model, self.parts["test"].select(there).only(kept), batch_rows=512)
        return ece(said.confidence, said.answer == said.target)


def _shared(config: TrainConfig) -> dict[str, Any]:
    """The fields of base training, for a tuning that is one."""
    return {key: value for key, value in asdict(config).items() if key in ("epochs", "batch_rows", "patience")}


Runs = Mapping[str, list[dict[str, Any]]]


def figures_of(runs: Runs, setup: Setup) -> dict[str, Figure]:
    """The headline, and the area of each arm over that of random."""
    num = min(len(runs[DEFAULT]), len(runs[BASELINE]))
    made = {"labels_to_95_ratio_to_random": figure(None, "ratio")}
    whole = ratio_of(runs, range(num), setup)
    if whole is not None:
        rng = np.random.default_rng(0)
        drawn = [ratio_of(runs, rng.integers(0, num, num), setup) for _ in range(1000)]
        known = [ratio for ratio in drawn if ratio is not None]
        seeds = setup.seeds[:num]
        made["labels_to_95_ratio_to_random"] = figure(whole, "ratio", spread=float(np.std(known)), seeds=seeds)
    for name in (each for each in setup.arms if runs[each] and each != BASELINE):
        gaps = [100 * (a["area"] - b["area"]) for a, b in zip(runs[name], runs[BASELINE], strict=False)]
        key = name.replace(", ", "_").replace(" ", "_")
        made[f"selection_{key}_area_minus_random_points"] = figure_of(gaps, "points", seeds=setup.seeds[: len(gaps)])
    for kind in ("none", "one", "subset"):
        values = [run["ece"][kind] for run in runs[ALL_LABELS]]
        key = f"selection_ece_of_single_modalities_{kind}_temperature"
        made[key] = figure_of(values, "ECE", seeds=setup.seeds[: len(values)])
    return made


def ratio_of(runs: Runs, rows: Iterable[int], setup: Setup) -> float | None:
    """Labels that the default needs over those that random needs, on some seeds; None where one never gets there."""
    places = list(rows)
    ours, theirs = (curve_labels(runs, name, places, setup) for name in (DEFAULT, BASELINE))
    return ours / theirs if ours and theirs else None


def curve_labels(runs: Runs, name: str, rows: Iterable[int], setup: Setup) -> float | None:
    """Labels at which the mean curve over some seeds reaches the goal."""
    curve = np.mean([runs[name][row]["accuracies"] for row in rows], axis=0)
    whole = float(np.mean([run["accuracy"] for run in runs[ALL_LABELS]]))
    return labels_to([0, *setup.budgets], curve.tolist(), GOAL * whole)


def table_of(runs: Runs, setup: Setup) -> dict[str, Any]:
    """Arms, best first by what they are above random on their seeds."""
    arms = [name for name in runs if name != ALL_LABELS and runs[name]]
    gaps = {name: [a["area"] - b["area"] for a, b in zip(runs[name], runs[BASELINE], strict=False)] for name in arms}
    rows = []
    for name in sorted(arms, key=lambda arm: -np.mean(gaps[arm])):
        num = len(gaps[name])
        areas, base = [run["area"] for run in runs[name][:num]], [run["area"] for run in runs[BASELINE][:num]]
        reached, by_random = (curve_labels(runs, arm, range(num), setup) for arm in (name, BASELINE))
        rows.append(
            [
                name,
                str(num),
                spread(areas),
                "–" if name == BASELINE else difference(areas, base, decimals=2),
                "not reached" if reached is None else f"{reached:.0f}",
                "–" if not reached or not by_random else f"{reached / by_random:.2f}",
                f"{np.mean([run['accuracies'][-1] for run in runs[name]]):.3f}",
            ]
        )
    whole = spread([run["accuracy"] for run in runs[ALL_LABELS]])
    head = ["arm", "seeds", "area", "minus random, points", "labels to 95 %", "ratio to random", "last accuracy"]
    return {"title": f"Selection on tri-digits; with every label {whole}", "head": head, "rows": rows}
