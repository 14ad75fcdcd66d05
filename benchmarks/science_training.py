"""Training of contenders on rows that are prepared once for all of them, and what is asked of each afterwards."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from benchmarks.science_worlds import World, spoilt
from monitoring.measures.alignment import alignment
from omni_model.config import ModelConfig, TrainConfig
from omni_model.epochs import FitReport, run_epochs, shuffled
from omni_model.evaluate import Predictions, predict
from omni_model.features import Batcher, FeatureSet, encode_features, prepare_samples
from omni_model.model import OmniModel


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """The rows of a world after the model's fixed transform, which is the same for every contender."""

    train: FeatureSet
    val: FeatureSet
    test: FeatureSet
    spoilt: dict[str, FeatureSet]
    """The test rows with one modality corrupted."""


def prepare(world: World, model: ModelConfig, corruption: dict[str, float]) -> Prepared:
    """Everything that is fed to the contenders of a seed."""
    maker = fresh(world, model, 0)
    return Prepared(
        train=prepare_samples(maker, world.train),
        val=prepare_samples(maker, world.val),
        test=prepare_samples(maker, world.test),
        spoilt={
            name: prepare_samples(maker, [spoilt(row, name, strength) for row in world.test])
            for name, strength in corruption.items()
        },
    )


def fresh(world: World, config: ModelConfig, seed: int) -> OmniModel:
    """A model with the world's modalities and task, initialised by the seed."""
    torch.manual_seed(seed)
    return OmniModel(replace(config, modalities=world.modalities), [world.task])


def train(model: OmniModel, rows: Prepared, config: TrainConfig, seed: int) -> tuple[FitReport, float]:
    """Train everything; the report and the seconds of CPU. The temperature stays 1."""
    began = time.process_time()
    report = run_epochs(
        model,
        Batcher(model, rows.train),
        lambda _, rng: shuffled(len(rows.train), config.batch_rows, rng),
        Batcher(model, rows.val),
        config,
        moving=[name for name, _ in model.named_children()],
        seed=seed,
    )
    return report, time.process_time() - began


def answers(model: OmniModel, rows: FeatureSet, subset: frozenset[str] | None = None) -> Predictions:
    """The model's answers to prepared rows."""
    return predict(model, encode_features(model, rows, batch_rows=256), subset=subset, batch_rows=256)


def val_accuracy(report: FitReport) -> float:
    """Accuracy of the weights that were kept, on the validation split."""
    return report.history[report.best_epoch - 1]["val_accuracy"]


def accuracy(said: Predictions, rows: Sequence[bool] | None = None) -> float:
    """Share of right answers among some rows."""
    right = said.answer == said.target
    return float(right.mean() if rows is None else right[np.asarray(rows, dtype=bool)].mean())


def robustness(model: OmniModel, rows: Prepared, names: Sequence[str]) -> dict[str, float]:
    """Accuracy on the test rows as they are, with each modality left out, and with each corrupted; alignment error."""
    encoded = encode_features(model, rows.test, batch_rows=256)
    whole = predict(model, encoded, batch_rows=256)
    made = {"accuracy": accuracy(whole)}
    for name in names:
        others = frozenset(names) - {name}
        made[f"without {name}"] = accuracy(predict(model, encoded, subset=others, batch_rows=256))
        if name in rows.spoilt:
            made[f"corrupted {name}"] = accuracy(answers(model, rows.spoilt[name]))
    told = alignment(whole.embeddings, whole.target)
    made["alignment error"] = float("nan") if told.error is None else told.error
    return made
