"""Elastic fine-tuning (S9): the lower layers frozen, the interaction layers updated, earlier rows replayed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from omni_model.calibrate import calibrate
from omni_model.config import ElasticConfig
from omni_model.epochs import EpochStats, FitReport, Plan, discard, run_epochs, shuffled
from omni_model.features import Batcher, FeatureSet, concatenate
from omni_model.freeze import combine, fingerprints, frozen_names, is_under, only_moving
from omni_model.protocol import LoopModel


def moving_paths(model: LoopModel, config: ElasticConfig) -> tuple[str, ...]:
    """The module paths that this tuning may move. Raises `ValueError` if `only` leaves the interaction layers."""
    if config.only:
        outside = [path for path in config.only if not is_under(path, model.interaction)]
        if outside:
            raise ValueError(
                f"{', '.join(outside)} is no interaction layer. Name paths below {', '.join(model.interaction)}."
            )
        return config.only
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
    own = concatenate([rows.select(rows.unlabelled if config.own_share else []) for rows in (new, replay)])
    new, replay, val = (rows.select(rows.labelled) for rows in (new, replay, val))
    if not len(new):
        raise ValueError("No new row has an answer. Label some of the selected samples first.")
    moving = moving_paths(model, config)
    _check_stage(model, moving, new, replay, val)
    train = Batcher(model, concatenate([new, replay, own]))
    val_batches = Batcher(model, val) if len(val) else None
    with only_moving(model, moving) as before:
        report = run_epochs(
            model,
            train,
            _plan(model, train, (len(new), len(replay), len(own)), config),
            val_batches,
            config,
            moving=moving,
            seed=seed,
            on_epoch=on_epoch,
            checkpoint_dir=checkpoint_dir,
        )
        after = fingerprints(model, frozen_names(model, moving))
    if val_batches is not None:
        calibrate(model, val_batches, by_subset=config.calibrate_subsets)
    return replace(report, frozen_digest_before=combine(before), frozen_digest_after=combine(after))


def _plan(model: LoopModel, train: Batcher, sizes: tuple[int, int, int], config: ElasticConfig) -> Plan:
    """Batches of new rows, replayed rows and rows under the model's own answers; `train` holds them in this order."""
    new, replay, own = torch.split(torch.arange(sum(sizes)), list(sizes))

    def plan(epoch: int, rng: torch.Generator) -> list[Tensor]:
        trusted = own[:0]
        if len(own) and epoch > config.own_from * config.epochs:
            trusted = own[answer_confidently(model, train, own, config.own_confidence)]
        return mixed([new, replay, trusted], [config.replay_share, config.own_share], config.batch_rows, rng)

    return plan


@torch.no_grad()
def answer_confidently(model: LoopModel, train: Batcher, rows: Tensor, confidence: float) -> Tensor:
    """Set the targets of the given rows to the model's own answers; returns which of them are confident enough."""
    allowed_KA = model.answer_masks()
    sure = []
    for indices in torch.split(rows, 256):
        batch = train(indices)
        logits = (model(batch).logits / model.temperature_of(batch)).cpu()
        probs = logits.masked_fill(~allowed_KA[train.task_N[indices]], -torch.inf).softmax(dim=1)
        best, train.target_N[indices] = probs.max(dim=1)
        sure.append(best >= confidence)
    return torch.nonzero(torch.cat(sure))[:, 0]


def mixed(pools: Sequence[Tensor], shares: Sequence[float], batch_rows: int, rng: torch.Generator) -> list[Tensor]:
    """One epoch's batches: every row of the first pool once, and from the others their shares of each batch.

    The rows of a pool come in random order, none twice in an epoch unless it has too few. An empty pool's share stays
    empty: its batches are smaller.
    """
    first = 1.0 - sum(shares)
    drawn = [[pools[0][batch] for batch in shuffled(len(pools[0]), max(1, round(batch_rows * first)), rng)]]
    for pool, share in zip(pools[1:], shares, strict=True):
        wanted = [round(len(batch) * share / first) if len(pool) else 0 for batch in drawn[0]]
        passes = -(-sum(wanted) // max(1, len(pool)))
        order = [torch.randperm(len(pool), generator=rng) for _ in range(passes)]
        places = torch.cat([*order, torch.zeros(0, dtype=torch.int64)])[: sum(wanted)]
        drawn.append(list(torch.split(pool[places], wanted)))
    return [torch.cat(parts) for parts in zip(*drawn, strict=True)]


def _check_stage(model: LoopModel, moving: tuple[str, ...], *sets: FeatureSet) -> None:
    encoders_move = any(
        is_under(name, moving) and not is_under(name, model.interaction) for name, _ in model.named_parameters()
    )
    if encoders_move and any(rows.stage == "tokens" and len(rows) for rows in sets):
        raise ValueError(
            "Parts of the encoders are to move, but the features were encoded already. "
            "Use prepare_samples in place of encode_samples."
        )
