"""Base training: everything moves."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from omni_model.calibrate import calibrate
from omni_model.config import TrainConfig
from omni_model.epochs import EpochStats, FitReport, discard, run_epochs, shuffled
from omni_model.features import Batcher, prepare_samples
from omni_model.protocol import LoopModel
from omni_model.sample import Sample

__all__ = ["EpochStats", "FitReport", "discard", "fit"]


def fit(
    model: LoopModel,
    train: Sequence[Sample],
    val: Sequence[Sample],
    config: TrainConfig = TrainConfig(),  # noqa: B008
    *,
    seed: int,
    on_epoch: Callable[[EpochStats], None] = discard,
    checkpoint_dir: Path | None = None,
) -> FitReport:
    """Train every parameter on labelled samples and fit the temperature on `val`; changes `model`.

    Without validation samples the last weights are kept and the temperature stays. With `checkpoint_dir`, a training
    that was killed goes on where it was, bit for bit. Raises `ValueError` if no training sample has an answer.
    """
    rows = prepare_samples(model, train)
    rows = rows.select(rows.labelled)
    if not len(rows):
        raise ValueError(f"None of {len(train)} training samples has an answer. Label some first.")
    held_out = prepare_samples(model, val)
    held_out = held_out.select(held_out.labelled)
    moving = [name for name, _ in model.named_children()]
    val_batches = Batcher(model, held_out) if len(held_out) else None
    report = run_epochs(
        model,
        Batcher(model, rows),
        lambda _, rng: shuffled(len(rows), config.batch_rows, rng),
        val_batches,
        config,
        moving=moving,
        seed=seed,
        on_epoch=on_epoch,
        checkpoint_dir=checkpoint_dir,
    )
    if val_batches is not None:
        calibrate(model, val_batches, by_subset=config.calibrate_subsets)
    return report
