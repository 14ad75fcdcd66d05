"""Elastic fine-tuning (S9): the lower layers frozen, the interaction layers updated, earlier rows replayed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from omni_model.calibrate import calibrate
from omni_model.config import ElasticConfig
from omni_model.epochs import EpochStats, FitReport, discard, run_epochs, shuffled
from omni_model.features import Batcher, FeatureSet, concatenate
from omni_model.freeze import combine, fingerprints, frozen_names, is_under, only_moving
from omni_model.protocol import LoopModel


def moving_paths(model: LoopModel, config: ElasticConfig) -> tuple[str, ...]:
    """The module paths that this tuning may move."""
    everything = tuple(name for name, _ in model.named_children())
    by_mode = {
        "interaction": model.interaction,
        "sandwich": (*model.interaction, *model.sandwich),
        "full": everything,
    }
    return (*by_mode[config.mode], *config.also)


def tune(
    model: LoopModel,
    new: FeatureSet,
    replay: FeatureSet,
    val: FeatureSet,
    config: ElasticConfig = ElasticConfig(),  # noqa: B008
    *,
    seed: int,
    on_epoch: Callable[[EpochStats], None] = discard,
    checkpoint_dir: Path | None = None,
) -> FitReport:
    """Tune `model` on the labelled rows of `new`, mixed with rows of `replay`; fit the temperature on `val`.

    Rows may have any mix of modalities. `replay` and `val` may be empty. If the settings let a part of the encoders
    move, the sets must be prepared ones (`prepare_samples`), else either kind will do. With `checkpoint_dir`, a tuning
    that was killed goes on where it was, bit for bit. Raises `FrozenLayersMoved` if any frozen tensor changed.
    """
    new, replay, val = (rows.select(rows.labelled) for rows in (new, replay, val))
    if not len(new):
        raise ValueError("No new row has an answer. Label some of the selected samples first.")
    moving = moving_paths(model, config)
    _check_stage(model, moving, new, replay, val)
    rows = concatenate([new, replay]) if len(replay) else new
    val_batches = Batcher(model, val) if len(val) else None
    with only_moving(model, moving) as before:
        report = run_epochs(
            model,
            Batcher(model, rows),
            lambda rng: mixed(len(new), len(replay), config, rng),
            val_batches,
            config,
            moving=moving,
            seed=seed,
            on_epoch=on_epoch,
            checkpoint_dir=checkpoint_dir,
        )
        after = fingerprints(model, frozen_names(model, moving))
    if val_batches is not None:
        calibrate(model, val_batches)
    return replace(report, frozen_digest_before=combine(before), frozen_digest_after=combine(after))


def mixed(num_new: int, num_replay: int, config: ElasticConfig, rng: torch.Generator) -> list[Tensor]:
    """One epoch's batches: every new row once, and replayed rows for `replay_share` of each batch.

    Replayed rows are indexed after the new ones. They come in random order, none twice in an epoch unless too few.
    """
    if not num_replay or config.replay_share == 0.0:
        return shuffled(num_new, config.batch_rows, rng)
    new_rows = max(1, round(config.batch_rows * (1 - config.replay_share)))
    batches = shuffled(num_new, new_rows, rng)
    wanted = [round(len(batch) * config.replay_share / (1 - config.replay_share)) for batch in batches]
    passes = -(-sum(wanted) // num_replay)
    order = [torch.randperm(num_replay, generator=rng) for _ in range(passes)]
    drawn = torch.cat([*order, torch.zeros(0, dtype=torch.int64)])[: sum(wanted)] + num_new
    return [torch.cat(pair) for pair in zip(batches, torch.split(drawn, wanted), strict=True)]


def _check_stage(model: LoopModel, moving: tuple[str, ...], *sets: FeatureSet) -> None:
    encoders_move = any(
        is_under(name, moving) and not is_under(name, model.interaction) for name, _ in model.named_parameters()
    )
    if encoders_move and any(rows.stage == "tokens" and len(rows) for rows in sets):
        raise ValueError(
            "Parts of the encoders are to move, but the features were encoded already. "
            "Use prepare_samples in place of encode_samples."
        )
