"""What a model answers, as numpy arrays. No gradient, no change to the model.

Shapes: N rows, A answers of all tasks, D width, S passes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from omni_model.epochs import epoch_rng
from omni_model.features import Batcher, FeatureSet, encode_samples
from omni_model.protocol import LoopModel, Output
from omni_model.sample import Sample

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Predictions:
    """One row a sample, in the order given."""

    ids: npt.NDArray[np.object_]
    tasks: npt.NDArray[np.object_]
    domains: npt.NDArray[np.object_]
    modalities: list[frozenset[str]]
    """Those that the model was shown."""
    answers: tuple[str, ...]
    """The answers that columns and indices mean: those of all tasks."""
    probs: Floats
    """[N, A], calibrated; 0 outside the row's task, rows sum to 1."""
    raw_answer: Ints
    """[N], the best answer of all tasks' together: outside the row's task, the instruction was not followed."""
    answer: Ints
    """[N], the best answer of the row's task."""
    target: Ints
    """[N], -1 where unknown."""
    confidence: Floats
    """[N], probability of `answer`."""
    embeddings: dict[str, Floats]
    """[N, D] by modality, each from that modality alone; NaN rows where it is absent."""
    fused: Floats
    """[N, D]"""
    latency_s: Floats
    """[N], each row's share of its batch's time, encoding included if samples were given."""
    mc_probs: Floats | None
    """[S, N, A] of passes with dropout, or None if none were asked for."""

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def accuracy(self) -> float:
        """Share of right answers among the rows whose target is known; NaN if none is."""
        known = self.target >= 0
        return float((self.answer == self.target)[known].mean()) if known.any() else float("nan")


def predict(
    model: LoopModel,
    samples: Sequence[Sample] | FeatureSet,
    *,
    subset: frozenset[str] | None = None,
    batch_rows: int = 64,
    mc_passes: int = 0,
    seed: int = 0,
    clock: Callable[[], float] = time.perf_counter,
) -> Predictions:
    """Answer samples or encoded rows. With `subset`, only those modalities are shown to the model.

    A row left without any modality gets the model's answer to the instruction alone. `mc_passes` further passes with
    dropout are a function of `seed`. No rows give empty arrays.
    """
    was_training = model.training
    model.eval()
    try:
        parts = [
            _predict_batch(model, part, subset, mc_passes, seed + start, clock)
            for start, part in _chunks(samples, batch_rows)
        ]
    finally:
        model.train(was_training)
    return _join(parts) if parts else _nothing(model, mc_passes)


def _chunks(
    samples: Sequence[Sample] | FeatureSet, batch_rows: int
) -> Iterator[tuple[int, Sequence[Sample] | FeatureSet]]:
    for start in range(0, len(samples), batch_rows):
        stop = min(start + batch_rows, len(samples))
        if isinstance(samples, FeatureSet):
            yield start, samples.select(range(start, stop))
        else:
            yield start, samples[start:stop]


@torch.no_grad()
def _predict_batch(
    model: LoopModel,
    samples: Sequence[Sample] | FeatureSet,
    subset: frozenset[str] | None,
    mc_passes: int,
    seed: int,
    clock: Callable[[], float],
) -> Predictions:
    began = clock()
    rows = samples if isinstance(samples, FeatureSet) else encode_samples(model, samples, batch_rows=len(samples))
    rows = rows if subset is None else rows.only(subset)
    batcher = Batcher(model, rows)
    batch = batcher(torch.arange(len(rows)))
    output: Output = model(batch)
    allowed_BA = model.answer_masks().to(batch.task.device)[batch.task]
    temperature = model.temperature_of(batch)
    probs_BA = answer_probabilities(output.logits, allowed_BA, temperature)
    latency_s = (clock() - began) / len(rows)
    mc_probs = None
    if mc_passes:
        with epoch_rng(seed, -1, model.device), dropout_on(model):
            passes = [model(batch).logits for _ in range(mc_passes)]
        mc_probs = torch.stack([answer_probabilities(logits, allowed_BA, temperature) for logits in passes]).numpy()
    there = rows.modalities
    return Predictions(
        ids=np.array(rows.ids, dtype=object),
        tasks=np.array(rows.tasks, dtype=object),
        domains=np.array(rows.domains, dtype=object),
        modalities=there,
        answers=model.answers,
        probs=probs_BA.numpy(),
        raw_answer=output.logits.argmax(dim=1).cpu().numpy(),
        answer=probs_BA.argmax(dim=1).numpy(),
        target=batcher.target_N.numpy(),
        confidence=probs_BA.amax(dim=1).numpy(),
        embeddings={
            name: _only_where(value, [name in row for row in there]) for name, value in output.embeddings.items()
        },
        fused=output.fused.float().cpu().numpy(),
        latency_s=np.full(len(rows), latency_s, dtype=np.float32),
        mc_probs=mc_probs,
    )


def answer_probabilities(logits_BA: Tensor, allowed_BA: Tensor, temperature: float | Tensor) -> Tensor:
    """Softmax over the task's own answers, float32 on the CPU. The temperature is one number, or [B, 1]."""
    return (logits_BA.float() / temperature).masked_fill(~allowed_BA, -torch.inf).softmax(dim=1).cpu()


@contextmanager
def dropout_on(model: nn.Module) -> Iterator[None]:
    """Dropout as in training, and nothing else of training."""
    layers = [module for module in model.modules() if isinstance(module, nn.Dropout)]
    for layer in layers:
        layer.train()
    try:
        yield
    finally:
        for layer in layers:
            layer.eval()


def _only_where(value_BD: Tensor, there: list[bool]) -> Floats:
    array: Floats = value_BD.float().cpu().numpy().copy()
    array[~np.array(there, dtype=bool)] = np.nan
    return array


def _join(parts: Sequence[Predictions]) -> Predictions:
    """Batches one after the other; a modality that a batch lacks is NaN there."""
    width = parts[0].fused.shape[1]
    names = dict.fromkeys(name for part in parts for name in part.embeddings)
    mc_probs = [part.mc_probs for part in parts if part.mc_probs is not None]

    def embedding(part: Predictions, name: str) -> Floats:
        return part.embeddings.get(name, np.full((len(part), width), np.nan, dtype=np.float32))

    return Predictions(
        ids=np.concatenate([part.ids for part in parts]),
        tasks=np.concatenate([part.tasks for part in parts]),
        domains=np.concatenate([part.domains for part in parts]),
        modalities=[there for part in parts for there in part.modalities],
        answers=parts[0].answers,
        probs=np.concatenate([part.probs for part in parts]),
        raw_answer=np.concatenate([part.raw_answer for part in parts]),
        answer=np.concatenate([part.answer for part in parts]),
        target=np.concatenate([part.target for part in parts]),
        confidence=np.concatenate([part.confidence for part in parts]),
        embeddings={name: np.concatenate([embedding(part, name) for part in parts]) for name in names},
        fused=np.concatenate([part.fused for part in parts]),
        latency_s=np.concatenate([part.latency_s for part in parts]),
        mc_probs=np.concatenate(mc_probs, axis=1) if mc_probs else None,
    )


def _nothing(model: LoopModel, mc_passes: int) -> Predictions:
    num_answers = len(model.answers)
    names, places = np.zeros(0, dtype=object), np.zeros(0, dtype=np.int64)
    numbers = np.zeros(0, dtype=np.float32)
    return Predictions(
        ids=names,
        tasks=names,
        domains=names,
        modalities=[],
        answers=model.answers,
        probs=np.zeros((0, num_answers), dtype=np.float32),
        raw_answer=places,
        answer=places,
        target=places,
        confidence=numbers,
        embeddings={},
        fused=np.zeros((0, 0), dtype=np.float32),
        latency_s=numbers,
        mc_probs=np.zeros((mc_passes, 0, num_answers), dtype=np.float32) if mc_passes else None,
    )
