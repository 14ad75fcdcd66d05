"""The six-domain tri-digits stream, and each way of living with it, from one base model per seed.

Every contender has the same architecture, the same augmentation, the same validation samples of the domains met so far,
and meets the domains in the same order. Test samples are only ever predicted.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch

from omni_model.acquisition import from_predictions, select
from omni_model.acquisition.config import SelectionConfig
from omni_model.config import ElasticConfig, ModelConfig, TrainConfig
from omni_model.data import tri_digits
from omni_model.data.splits import split_of
from omni_model.elastic import tune
from omni_model.evaluate import predict
from omni_model.features import FeatureSet, concatenate, encode_samples, prepare_samples
from omni_model.model import OmniModel
from omni_model.protocol import LoopModel
from omni_model.sample import Sample
from omni_model.train import fit

DOMAINS = tri_digits.DOMAINS
SPLITS = ("train", "val", "test")


@dataclass(frozen=True, kw_only=True)
class Stream:
    """The data of one seed by domain and split."""

    parts: dict[str, dict[str, list[Sample]]]

    @classmethod
    def create(cls, seed: int) -> Stream:
        """Tri-digits rendered with this seed; the splits are the same for every seed."""
        parts: dict[str, dict[str, list[Sample]]] = {d: {split: [] for split in SPLITS} for d in DOMAINS}
        for sample in tri_digits.load(seed=seed):
            parts[sample.domain][split_of(sample.item)].append(sample)
        return cls(parts=parts)

    def of(self, split: str, domains: Sequence[str]) -> list[Sample]:
        """The samples of a split in some domains."""
        return [sample for domain in domains for sample in self.parts[domain][split]]


@dataclass
class Outcome:
    """What became of one contender."""

    matrix: list[list[float]] = field(default_factory=list)
    """Test accuracy by step and domain."""
    seconds: float = 0.0
    """Of training, after the base model."""
    compute: int = 0
    """Samples seen times trained parameters, after the base model."""
    num_labels: int = 0
    """Training labels used after the first domain."""

    @property
    def accuracy(self) -> float:
        """Mean over domains after the last step."""
        return float(np.mean(self.matrix[-1]))


@dataclass(frozen=True, kw_only=True)
class Setup:
    """The configurations of a run."""

    model: ModelConfig = field(default_factory=ModelConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    elastic: ElasticConfig = field(default_factory=ElasticConfig)
    epochs_alone: int = 16
    """Epochs of the contenders that learn from labelled rows alone, which have fewer rows an epoch."""


def base_model(stream: Stream, setup: Setup, seed: int) -> OmniModel:
    """Trained on the first domain alone."""
    torch.manual_seed(seed)
    model = OmniModel(setup.model, [tri_digits.TASK])
    fit(model, stream.of("train", DOMAINS[:1]), stream.of("val", DOMAINS[:1]), setup.train, seed=seed)
    return model


def test_row(model: LoopModel, stream: Stream) -> list[float]:
    """Test accuracy on each domain."""
    return [predict(model, stream.parts[domain]["test"]).accuracy for domain in DOMAINS]


def static(base: OmniModel, stream: Stream) -> Outcome:
    """The base model, left alone."""
    return Outcome(matrix=[test_row(base, stream)])


def joint(stream: Stream, setup: Setup, seed: int) -> Outcome:
    """One training from scratch on every label of every domain."""
    torch.manual_seed(seed)
    model = OmniModel(setup.model, [tri_digits.TASK])
    train, val = stream.of("train", DOMAINS), stream.of("val", DOMAINS)
    report = fit(model, train, val, setup.train, seed=seed)
    labels = len(train) - len(stream.of("train", DOMAINS[:1]))
    return Outcome(matrix=[test_row(model, stream)], seconds=report.seconds, compute=report.compute, num_labels=labels)


def naive(base: OmniModel, stream: Stream, setup: Setup, seed: int) -> Outcome:
    """Full fine-tuning on all labels of each domain as it comes, without replay."""
    model = copy.deepcopy(base)
    config = replace(setup.elastic, mode="full", replay_share=0.0, own_share=0.0, epochs=setup.epochs_alone)
    outcome = Outcome(matrix=[test_row(model, stream)])
    for step, domain in enumerate(DOMAINS[1:], start=1):
        new = prepare_samples(model, stream.parts[domain]["train"])
        val = prepare_samples(model, stream.of("val", DOMAINS[: step + 1]))
        report = tune(model, new, new.select([]), val, config, seed=seed * 100 + step)
        add(outcome, model, stream, report.seconds, report.compute, len(new))
    return outcome


def ours(
    base: OmniModel,
    stream: Stream,
    setup: Setup,
    seed: int,
    *,
    share: float,
    acquisition: str,
    with_unlabelled: bool = True,
) -> Outcome:
    """Selection of ``share`` of each domain's labels, then elastic tuning: replay of what was labelled before and,
    unless switched off, the rest of what has arrived under the model's own confident answers.
    """
    model = copy.deepcopy(base)
    config = (
        setup.elastic
        if with_unlabelled
        else replace(setup.elastic, own_share=0.0, replay_share=0.5, epochs=setup.epochs_alone)
    )
    outcome = Outcome(matrix=[test_row(model, stream)])
    memory = encode_samples(model, stream.of("train", DOMAINS[:1]))
    unlabelled = memory.select([])
    for step, domain in enumerate(DOMAINS[1:], start=1):
        pool = encode_samples(model, stream.parts[domain]["train"])
        new = pick(model, pool, share, acquisition, seed * 100 + step)
        unlabelled = concatenate([unlabelled, without_answers(pool, new.ids)])
        val = encode_samples(model, stream.of("val", DOMAINS[: step + 1]))
        rows = concatenate([new, unlabelled]) if with_unlabelled else new
        report = tune(model, rows, memory, val, config, seed=seed * 100 + step)
        add(outcome, model, stream, report.seconds, report.compute, len(new))
        memory = concatenate([memory, new])
    return outcome


def without_answers(pool: FeatureSet, labelled: Sequence[str]) -> FeatureSet:
    """The rows of the pool that got no label, with their answers taken away."""
    known = set(labelled)
    rest = pool.select([row for row, id_ in enumerate(pool.ids) if id_ not in known])
    return replace(rest, answers=(None,) * len(rest))


def pick(model: LoopModel, pool: FeatureSet, share: float, acquisition: str, seed: int) -> FeatureSet:
    """The rows that get a label: all, or the share that the acquisition function picks (10 % of it at random)."""
    if share >= 1.0:
        return pool
    config = SelectionConfig(acquisition=acquisition, budget=round(share * len(pool)), seed=seed)
    chosen = select([from_predictions(predict(model, pool))], config)
    place = {id_: row for row, id_ in enumerate(pool.ids)}
    return pool.select([place[row.id] for row in chosen.rows])


def add(outcome: Outcome, model: LoopModel, stream: Stream, seconds: float, compute: int, num_labels: int) -> None:
    """Book one step."""
    outcome.matrix.append(test_row(model, stream))
    outcome.seconds += seconds
    outcome.compute += compute
    outcome.num_labels += num_labels


Contender = Callable[[OmniModel, Stream, Setup, int], Outcome]


def contenders(shares: Sequence[float] = (1.0, 0.3, 0.1)) -> dict[str, Contender]:
    """Every way of living with the stream, by the name of its figure."""
    table: dict[str, Contender] = {
        "static": lambda base, stream, setup, seed: static(base, stream),
        "naive": naive,
        "joint": lambda base, stream, setup, seed: joint(stream, setup, seed),
    }
    for share in shares:
        for name, acquisition in (("ours", "margin"), ("random", "random")):
            if share < 1.0 or name == "ours":
                table[f"{name}_{round(share * 100)}"] = _ours(share, acquisition)
    table["ours_30_labels_alone"] = _ours(0.3, "margin", with_unlabelled=False)
    return table


def _ours(share: float, acquisition: str, *, with_unlabelled: bool = True) -> Contender:
    def run(base: OmniModel, stream: Stream, setup: Setup, seed: int) -> Outcome:
        return ours(base, stream, setup, seed, share=share, acquisition=acquisition, with_unlabelled=with_unlabelled)

    return run
