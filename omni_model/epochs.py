"""The training loop that `fit` and `tune` share: AdamW, warm-up and cosine, a running mean of the weights, early stop.

Deterministic for a seed on one machine, and bit-identical when killed and resumed.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from omni_model.augment import augment
from omni_model.config import TrainConfig
from omni_model.dwa import DwaState
from omni_model.features import Batcher
from omni_model.freeze import digest, is_under, tensors, train_mode
from omni_model.protocol import Batch, LoopModel, Output
from omni_model.resume import read_state, write_state
from omni_model.steps import backward

Plan = Callable[[int, torch.Generator], list[Tensor]]
"""Draws the batches of an epoch, counted from 1: row indices, batch by batch. Called under the averaged weights."""

Penalty = Callable[[Output, Batch, Tensor], Tensor]
"""A further term of the loss, from what the model says of a batch, the batch, and its row indices."""


def no_penalty(output: Output, batch: Batch, indices: Tensor) -> Tensor:
    """The loss stays as it is."""
    return output.logits.new_zeros(())


@dataclass(frozen=True, kw_only=True)
class EpochStats:
    """What is known after an epoch. `val_loss` and `val_accuracy` are NaN without validation rows."""

    epoch: int
    """Counted from 1."""
    epochs: int
    """Epochs at most."""
    train_loss: float
    val_loss: float
    val_accuracy: float
    learning_rate: float
    seconds: float
    """Since the start, time before a kill included."""


@dataclass(frozen=True, kw_only=True)
class FitReport:
    """What a training did and what it cost."""

    epochs: int
    """Epochs run, those before a kill included."""
    best_epoch: int
    best_val: float
    """Lowest validation loss, that of the weights kept; NaN without validation rows."""
    history: list[dict[str, float]]
    seconds: float
    samples_seen: int
    """Rows times epochs, replayed rows included."""
    trained_parameters: int
    num_bad_weights: int
    """Steps at which DWA kept its last weights because a gradient norm was not finite."""
    rate_factor: float = 1.0
    """Mean weight of the losses, by which dynamic weights change the learning rate; 1 if they are fixed."""
    frozen_digest_before: str = ""
    frozen_digest_after: str = ""

    @property
    def compute(self) -> int:
        """Samples seen times trained parameters: proportional to the training's FLOPs."""
        return self.samples_seen * self.trained_parameters


def discard(stats: EpochStats) -> None:
    """The callback of those who do not watch."""


@dataclass
class _State:
    """What changes during a training, besides the model's own weights."""

    optimizer: torch.optim.AdamW
    dwa: DwaState
    average: dict[str, Tensor]
    best: dict[str, Tensor]
    epoch: int = 0
    step: int = 0
    samples_seen: int = 0
    best_epoch: int = 0
    best_val: float = math.inf
    seconds: float = 0.0
    history: list[dict[str, float]] = field(default_factory=list)


def run_epochs(
    model: LoopModel,
    train: Batcher,
    plan: Plan,
    val: Batcher | None,
    config: TrainConfig,
    *,
    moving: Sequence[str],
    seed: int,
    on_epoch: Callable[[EpochStats], None] = discard,
    checkpoint_dir: Path | None = None,
    penalty: Penalty = no_penalty,
    clock: Callable[[], float] = time.perf_counter,
) -> FitReport:
    """Train the tensors under `moving`; the model ends with the best averaged weights and in evaluation mode."""
    learned = {name: p for name, p in model.named_parameters() if is_under(name, moving)}
    kept = {name: tensor for name, tensor in tensors(model).items() if is_under(name, moving)}
    run = _run_digest(model, train, val, config, moving, seed)
    state = _start(learned, kept, config)
    if checkpoint_dir is not None:
        _resume(checkpoint_dir, run, state, learned, kept)
    shared = [p for name, p in learned.items() if is_under(name, model.shared or model.interaction)]
    began = clock() - state.seconds
    while state.epoch < config.epochs and not _is_stale(state, config):
        state.epoch += 1
        train_loss, learning_rate = _one_epoch(
            model, train, plan, config, moving, shared, learned, kept, state, seed, penalty
        )
        val_loss, val_accuracy = _validate(model, kept, state, val)
        if val is None or val_loss < state.best_val:
            state.best = {name: tensor.clone() for name, tensor in state.average.items()}
            state.best_epoch, state.best_val = state.epoch, val_loss
        state.seconds = clock() - began
        stats = EpochStats(
            epoch=state.epoch,
            epochs=config.epochs,
            train_loss=train_loss,
            val_loss=val_loss,
            val_accuracy=val_accuracy,
            learning_rate=learning_rate,
            seconds=state.seconds,
        )
        state.history.append(asdict(stats))
        if checkpoint_dir is not None and state.epoch % config.checkpoint_every == 0:
            _write(checkpoint_dir, run, state, learned, kept)
        on_epoch(stats)
    _copy(state.best, kept)
    model.eval()
    return FitReport(
        epochs=state.epoch,
        best_epoch=state.best_epoch,
        best_val=state.best_val,
        history=state.history,
        seconds=clock() - began,
        samples_seen=state.samples_seen,
        trained_parameters=sum(p.numel() for p in learned.values()),
        num_bad_weights=state.dwa.num_bad,
        rate_factor=state.dwa.rate_factor,
    )


def _one_epoch(
    model: LoopModel,
    train: Batcher,
    plan: Plan,
    config: TrainConfig,
    moving: Sequence[str],
    shared: Sequence[nn.Parameter],
    learned: dict[str, nn.Parameter],
    kept: dict[str, Tensor],
    state: _State,
    seed: int,
    penalty: Penalty,
) -> tuple[float, float]:
    """One pass; mean loss and last learning rate."""
    losses, learning_rate = [], 0.0
    with epoch_rng(seed, state.epoch, model.device) as rng:
        with _averaged(model, state.average, kept):
            batches = plan(state.epoch, rng)
        train_mode(model, moving)
        for indices in batches:
            learning_rate = _schedule(state.step, len(batches) * config.epochs, config)
            for group in state.optimizer.param_groups:
                group["lr"] = learning_rate
            batch = augment(train(indices), config, rng)
            state.optimizer.zero_grad(set_to_none=True)
            output = model(batch)
            extra = penalty(output, batch, indices)
            loss = backward(model, output, batch, config, state.dwa, shared, learned, rng, extra, epoch=state.epoch)
            nn.utils.clip_grad_norm_(learned.values(), config.gradient_clip)
            state.optimizer.step()
            state.step += 1
            state.samples_seen += len(indices)
            _average(model, state, config)
            losses.append(loss.detach())
    return float(torch.stack(losses).mean()), learning_rate


@contextmanager
def epoch_rng(seed: int, epoch: int, device: torch.device) -> Iterator[torch.Generator]:
    """A generator for (seed, epoch), with dropout's global generator seeded alike and put back afterwards."""
    mixed = int.from_bytes(hashlib.blake2b(f"{seed} {epoch}".encode(), digest_size=7).digest(), "big")
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(mixed)
        yield torch.Generator().manual_seed(mixed)


def shuffled(num_rows: int, batch_rows: int, rng: torch.Generator) -> list[Tensor]:
    """All rows once in random order, in batches of nearly equal size of at most `batch_rows`."""
    if not num_rows:
        return []
    order = torch.randperm(num_rows, generator=rng)
    return list(torch.tensor_split(order, math.ceil(num_rows / batch_rows)))


def _schedule(step: int, num_steps: int, config: TrainConfig) -> float:
    warmup = max(1, round(num_steps * config.warmup_share))
    if step < warmup:
        return config.learning_rate * (step + 1) / warmup
    progress = (step - warmup) / max(1, num_steps - warmup)
    return config.learning_rate * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(1.0, progress))))


def _average(model: LoopModel, state: _State, config: TrainConfig) -> None:
    decay = min(config.average, (1 + state.step) / (10 + state.step))
    have = tensors(model)
    for name, average in state.average.items():
        if average.is_floating_point():
            average.lerp_(have[name].detach(), 1 - decay)
        else:
            average.copy_(have[name])


@torch.no_grad()
def _validate(model: LoopModel, kept: dict[str, Tensor], state: _State, val: Batcher | None) -> tuple[float, float]:
    """Loss and accuracy of the averaged weights on the validation rows that have a target."""
    if val is None:
        return math.nan, math.nan
    total, right, count = 0.0, 0, 0
    with _averaged(model, state.average, kept):
        for batch in val.all(256):
            logits, target = model(batch).logits, batch.target
            total += float(cross_entropy(logits[target >= 0], target[target >= 0], reduction="sum"))
            right += int((logits.argmax(dim=1) == target)[target >= 0].sum())
            count += int((target >= 0).sum())
    return total / count, right / count


@contextmanager
def _averaged(model: LoopModel, average: dict[str, Tensor], kept: dict[str, Tensor]) -> Iterator[None]:
    """The averaged weights in place of the latest, in evaluation mode."""
    latest = {name: tensor.detach().clone() for name, tensor in kept.items()}
    _copy(average, kept)
    model.eval()
    try:
        yield
    finally:
        _copy(latest, kept)


@torch.no_grad()
def _copy(source: dict[str, Tensor], into: dict[str, Tensor]) -> None:
    for name, tensor in source.items():
        into[name].copy_(tensor)


def _is_stale(state: _State, config: TrainConfig) -> bool:
    return config.patience > 0 and state.best_epoch > 0 and state.epoch - state.best_epoch >= config.patience


def _start(learned: dict[str, nn.Parameter], kept: dict[str, Tensor], config: TrainConfig) -> _State:
    groups = [
        {"params": [p for p in learned.values() if p.ndim >= 2], "weight_decay": config.weight_decay},
        {"params": [p for p in learned.values() if p.ndim < 2], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=config.learning_rate, betas=(0.9, 0.98))
    now = {name: tensor.detach().clone() for name, tensor in kept.items()}
    return _State(optimizer=optimizer, dwa=DwaState(config.dwa), average=now, best=dict(now))


def _run_digest(
    model: LoopModel, train: Batcher, val: Batcher | None, config: TrainConfig, moving: Sequence[str], seed: int
) -> str:
    """What a training is: where it starts, on what, how. A resumed one must agree in all of it."""
    parts: list[Any] = [digest(model, tensors(model)), sorted(moving), asdict(config), seed]
    for batcher in (train, val):
        rows = batcher.features if batcher is not None else None
        parts.append([list(rows.ids), list(rows.answers)] if rows is not None else None)
    return hashlib.blake2b(repr(parts).encode(), digest_size=16).hexdigest()


def _write(folder: Path, run: str, state: _State, learned: dict[str, nn.Parameter], kept: dict[str, Tensor]) -> None:
    whole = {f"model/{name}": tensor for name, tensor in kept.items()}
    whole |= {f"average/{name}": tensor for name, tensor in state.average.items()}
    whole |= {f"best/{name}": tensor for name, tensor in state.best.items()}
    for name, parameter in learned.items():
        for key, value in state.optimizer.state[parameter].items():
            whole[f"optimizer/{key}/{name}"] = value
    facts = {key: getattr(state, key) for key in _FACTS} | {"run": run, "dwa": state.dwa.as_dict()}
    write_state(folder, whole, facts)


_FACTS = ("epoch", "step", "samples_seen", "best_epoch", "best_val", "seconds", "history")


def _resume(folder: Path, run: str, state: _State, learned: dict[str, nn.Parameter], kept: dict[str, Tensor]) -> None:
    found = read_state(folder, run=run)
    if found is None:
        return
    stored, facts = found
    _copy({name: stored[f"model/{name}"] for name in kept}, kept)
    state.average = {name: stored[f"average/{name}"].to(kept[name].device) for name in kept}
    state.best = {name: stored[f"best/{name}"].to(kept[name].device) for name in kept}
    for name, parameter in learned.items():
        prefix, suffix = "optimizer/", f"/{name}"
        state.optimizer.state[parameter] = {
            key[len(prefix) : -len(suffix)]: value if value.ndim == 0 else value.to(parameter.device)
            for key, value in stored.items()
            if key.startswith(prefix) and key.endswith(suffix) and "/" not in key[len(prefix) : -len(suffix)]
        }
    for key in _FACTS:
        setattr(state, key, facts[key])
    for key, value in facts["dwa"].items():
        setattr(state.dwa, key, value)
