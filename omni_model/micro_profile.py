"""Micro-profiling: how much of the interaction layers to move, and for how many epochs, within a time budget.

After Bhardwaj et al., "Ekya: Continuous Learning of Video Analytics Models on Edge Compute Servers", NSDI 2022: each
choice is trained on a small share of the rows for a few epochs, its accuracy and seconds are extrapolated, and the
choice with the best predicted accuracy that fits in the budget is taken. The trials are paid from the same budget.
"""

from __future__ import annotations

import contextlib
import copy
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy.optimize import least_squares

from omni_model.config import ElasticConfig
from omni_model.elastic import tune
from omni_model.epochs import EpochStats
from omni_model.evaluate import predict
from omni_model.features import FeatureSet
from omni_model.protocol import LoopModel

Clock = Callable[[], float]


@dataclass(frozen=True, kw_only=True)
class Trial:
    """What a short training of one choice showed, and what it promises."""

    moving: tuple[str, ...]
    """Module paths that moved, all of them interaction layers."""
    accuracies: tuple[float, ...]
    """Validation accuracy before the trial and after each of its epochs."""
    trial_seconds: float
    epoch_seconds: float
    """Of an epoch over all rows, predicted."""
    epochs: int
    """That fit in what the trials leave of the budget; 0 if none does."""
    predicted: float
    """Validation accuracy after them."""


@dataclass(frozen=True, kw_only=True)
class Profile:
    """What the micro-profiler chose, and from what."""

    moving: tuple[str, ...]
    epochs: int
    predicted: float
    """Validation accuracy."""
    seconds: float
    """That the trials took."""
    budget_seconds: float
    fits: bool
    """Whether the choice is expected to end within the budget. If nothing is, one epoch of the cheapest is taken."""
    trials: tuple[Trial, ...]

    def apply(self, config: ElasticConfig) -> ElasticConfig:
        """The tuning as chosen."""
        return replace(config, only=self.moving, epochs=self.epochs)


def micro_profile(
    model: LoopModel,
    new: FeatureSet,
    replay: FeatureSet,
    val: FeatureSet,
    config: ElasticConfig,
    *,
    seed: int,
    clock: Clock = time.perf_counter,
) -> Profile:
    """Try the model's `depths` on a share of the rows; choose one, and its epochs, for `profile.budget_seconds`.

    The sets are those that `tune` takes; the model is left as it is. All interaction layers are tried first, another
    choice only while the trials stay within `profile.time_share` of the budget, and the epoch that passes it ends a
    trial. `config.epochs` is the most that is chosen. The same again for a seed if the clock shows the same. Raises
    `ValueError` without a budget, without validation rows that have an answer, or if `mode`, `also` or `only` are set.
    """
    budget = config.profile.budget_seconds
    if budget is None:
        raise ValueError("There is no budget to choose for. Set profile.budget_seconds.")
    if config.mode != "interaction" or config.also or config.only:
        raise ValueError("A budget chooses among the interaction layers: leave mode, also and only as they are.")
    val = val.select(val.labelled)
    if not len(val):
        raise ValueError("A choice needs validation rows with an answer. Label some, or unset profile.budget_seconds.")
    began = clock()
    shares = [_share_of(rows, config.profile.rows_share, seed) for rows in (new, replay, val)]
    before = predict(model, shares[2]).accuracy
    ends = began + config.profile.time_share * budget
    tried: list[_Tried] = []
    for moving in reversed(model.depths or (model.interaction,)):
        if tried and clock() + tried[-1].seconds > ends:
            break
        tried.append(_try(model, moving, shares, before, config, seed, clock, ends))
    seconds = clock() - began
    growth = _batches_ratio(new, shares[0], config)
    trials = tuple(_promise(one, growth, budget - seconds, config) for one in tried)
    return _chosen(trials, seconds, budget)


class _Enough(Exception):
    """The trials have had their share of the budget."""


@dataclass(frozen=True, kw_only=True)
class _Tried:
    moving: tuple[str, ...]
    accuracies: tuple[float, ...]
    seconds: float


def _share_of(rows: FeatureSet, share: float, seed: int) -> FeatureSet:
    """A random share of the labelled and of the unlabelled rows each, at least 64 of either if there are so many."""
    rng = torch.Generator().manual_seed(seed)
    parts = []
    for part in (rows.labelled, rows.unlabelled):
        wanted = min(len(part), max(64, math.ceil(share * len(part))))
        parts.append(part[torch.randperm(len(part), generator=rng)[:wanted]])
    return rows.select(torch.cat(parts))


def _try(
    model: LoopModel,
    moving: tuple[str, ...],
    shares: Sequence[FeatureSet],
    before: float,
    config: ElasticConfig,
    seed: int,
    clock: Clock,
    ends: float,
) -> _Tried:
    """A short training of a copy, which ends with the epoch in which the clock passes `ends`."""
    seen = [before]

    def on_epoch(stats: EpochStats) -> None:
        seen.append(stats.val_accuracy)
        if clock() > ends:
            raise _Enough

    began = clock()
    short = replace(config, only=moving, epochs=config.profile.epochs, patience=0)
    new, replay, val = shares
    with contextlib.suppress(_Enough):
        tune(copy.deepcopy(model), new, replay, val, short, seed=seed, on_epoch=on_epoch)
    return _Tried(moving=moving, accuracies=tuple(seen), seconds=clock() - began)


def _batches_ratio(new: FeatureSet, share: FeatureSet, config: ElasticConfig) -> float:
    """Batches of an epoch over all rows, in batches of one over the share."""
    rows = max(1, round(config.batch_rows * (1.0 - config.replay_share - config.own_share)))
    whole, part = (math.ceil(len(features.labelled) / rows) for features in (new, share))
    return whole / part


def _promise(tried: _Tried, growth: float, seconds_left: float, config: ElasticConfig) -> Trial:
    epoch_seconds = growth * tried.seconds / (len(tried.accuracies) - 1)
    epochs = min(config.epochs, max(0, math.floor(seconds_left / epoch_seconds)))
    return Trial(
        moving=tried.moving,
        accuracies=tried.accuracies,
        trial_seconds=tried.seconds,
        epoch_seconds=epoch_seconds,
        epochs=epochs,
        predicted=extrapolate(tried.accuracies, growth * epochs),
    )


def _chosen(trials: tuple[Trial, ...], seconds: float, budget: float) -> Profile:
    """The best promise that fits; among equal ones the first tried, which moves most."""
    fitting = [trial for trial in trials if trial.epochs]
    best = max(fitting, key=lambda trial: trial.predicted) if fitting else min(trials, key=lambda t: t.epoch_seconds)
    return Profile(
        moving=best.moving,
        epochs=max(1, best.epochs),
        predicted=best.predicted,
        seconds=seconds,
        budget_seconds=budget,
        fits=bool(fitting),
        trials=trials,
    )


def extrapolate(accuracies: Sequence[float], epochs: float) -> float:
    """Accuracy after so many epochs, from that before training and after each of the first ones.

    The error is taken as 1 / (a k + b) + c after k epochs, with a, b, c not negative (Peng et al., "Optimus", EuroSys
    2018, as in Ekya), fitted by least squares. An error that does not fall is taken to stay at its mean.

    >>> round(extrapolate([0.5, 0.6, 0.65, 0.68], 6), 3)
    0.725
    >>> extrapolate([0.5, 0.25, 0.75], 6)
    0.5
    """
    errors = 1.0 - np.asarray(accuracies, dtype=np.float64)
    at = np.arange(len(errors), dtype=np.float64)
    if errors[1:].mean() >= errors[0]:
        return float(1.0 - errors.mean())

    def residuals(curve: np.ndarray) -> np.ndarray:
        return np.asarray(1.0 / (curve[0] * at + curve[1]) + curve[2] - errors)

    start = (1.0 / errors[0], 1.0 / errors[0], 0.0)
    slope, offset, rest = least_squares(residuals, start, bounds=((0.0, 1.0, 0.0), (np.inf, np.inf, 1.0))).x
    return float(np.clip(1.0 - 1.0 / (slope * epochs + offset) - rest, 0.0, 1.0))
