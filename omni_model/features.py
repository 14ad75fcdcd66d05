"""Feature sets: what the frozen part of a model makes of samples, computed once and indexed many times.

A block (a modality, or the instruction) is packed: the tokens of all rows one after the other, and where each row's
begin. Nothing is padded until a batch is asked for, and rows may share tokens, as those with equal instructions do.

Shapes: N rows, T tokens of all rows together, B batch, L tokens of the longest row of a batch.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from omni_model.freeze import digest, frozen_names
from omni_model.protocol import INSTRUCTION, Batch, LoopModel
from omni_model.sample import Sample

Stage = Literal["prepared", "tokens"]


@dataclass(frozen=True, kw_only=True)
class Packed:
    """One block of all rows without padding."""

    flat: Tensor
    """[T, ...]"""
    starts: Tensor
    """int64 [N], where each row begins in `flat`."""
    lengths: Tensor
    """int64 [N], how many steps each row has; 0 where the block is absent."""

    def select(self, indices: Tensor) -> Packed:
        """The given rows, in that order; their tokens are shared, not copied."""
        return Packed(flat=self.flat, starts=self.starts[indices], lengths=self.lengths[indices])

    def pad(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        """The given rows as [B, L, ...] and a bool mask [B, L]; L is at least 1. What is masked is arbitrary."""
        starts_B, lengths_B = self.starts[indices], self.lengths[indices]
        steps_L = torch.arange(_longest(lengths_B))
        mask_BL = steps_L < lengths_B[:, None]
        places_BL = torch.where(mask_BL, starts_B[:, None] + steps_L, 0)
        if self.flat.shape[0] == 0:
            return self.flat.new_zeros(*places_BL.shape, *self.flat.shape[1:]), mask_BL
        return self.flat[places_BL], mask_BL


def _longest(lengths_B: Tensor) -> int:
    return max(1, int(lengths_B.max())) if lengths_B.numel() else 1


@dataclass(frozen=True, kw_only=True)
class FeatureSet:
    """Rows ready for a model's `forward` (stage `tokens`) or for its `encode` (stage `prepared`)."""

    stage: Stage
    encoder: str
    """Digest of the frozen part that made the tokens; features of another one are refused."""
    blocks: Mapping[str, Packed]
    """By modality and `INSTRUCTION`."""
    ids: tuple[str, ...]
    domains: tuple[str, ...]
    tasks: tuple[str, ...]
    """Name of each row's task."""
    answers: tuple[str | None, ...]
    """Each row's answer, None where nobody has labelled it."""

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def modalities(self) -> list[frozenset[str]]:
        """The modalities present in each row."""
        there = {name: (block.lengths > 0).tolist() for name, block in self.blocks.items() if name != INSTRUCTION}
        return [frozenset(name for name, flags in there.items() if flags[row]) for row in range(len(self))]

    def select(self, indices: Sequence[int] | Tensor) -> FeatureSet:
        """The given rows, in that order."""
        places = torch.as_tensor(indices, dtype=torch.int64)
        rows = places.tolist()
        return replace(
            self,
            blocks={name: block.select(places) for name, block in self.blocks.items()},
            ids=tuple(self.ids[row] for row in rows),
            domains=tuple(self.domains[row] for row in rows),
            tasks=tuple(self.tasks[row] for row in rows),
            answers=tuple(self.answers[row] for row in rows),
        )

    def without(self, modalities: Collection[str]) -> FeatureSet:
        """The same rows with some modalities absent."""
        if INSTRUCTION in modalities:
            raise ValueError("The instruction is no modality and cannot be left out. Name modalities only.")
        kept = {name: block for name, block in self.blocks.items() if name not in modalities}
        return replace(self, blocks=kept)

    def only(self, modalities: Collection[str]) -> FeatureSet:
        """The same rows with no modalities but these."""
        return self.without([name for name in self.blocks if name != INSTRUCTION and name not in modalities])

    def with_answers(self, answers: Mapping[str, str]) -> FeatureSet:
        """The same rows, those whose id is in `answers` labelled with it."""
        given = tuple(answers.get(id_, answer) for id_, answer in zip(self.ids, self.answers, strict=True))
        return replace(self, answers=given)

    @property
    def labelled(self) -> Tensor:
        """Indices of the rows that have an answer, int64."""
        return torch.tensor([row for row, answer in enumerate(self.answers) if answer is not None], dtype=torch.int64)

    @property
    def unlabelled(self) -> Tensor:
        """Indices of the rows that have no answer, int64."""
        return torch.tensor([row for row, answer in enumerate(self.answers) if answer is None], dtype=torch.int64)


def concatenate(sets: Sequence[FeatureSet]) -> FeatureSet:
    """One set with the rows of all, in order. They must be of one stage and of one frozen encoder."""
    if not sets:
        raise ValueError("There is no feature set to concatenate. Give at least one, which may have no rows.")
    kinds = {(part.stage, part.encoder) for part in sets if len(part)}
    if len(kinds) > 1:
        raise ValueError(
            f"Feature sets of different stages or encoders do not mix: {sorted(kinds)}. Encode them again."
        )
    first = next((part for part in sets if len(part)), sets[0])
    names = dict.fromkeys(name for part in sets for name in part.blocks)
    return replace(
        first,
        blocks={name: _join([(part.blocks.get(name), len(part)) for part in sets]) for name in names},
        ids=tuple(id_ for part in sets for id_ in part.ids),
        domains=tuple(domain for part in sets for domain in part.domains),
        tasks=tuple(task for part in sets for task in part.tasks),
        answers=tuple(answer for part in sets for answer in part.answers),
    )


def _join(parts: Sequence[tuple[Packed | None, int]]) -> Packed:
    """Blocks one after the other; a part without the block contributes absent rows. Shared storage is kept shared."""
    flats: list[Tensor] = []
    offsets: dict[int, int] = {}
    starts, lengths = [], []
    for block, num_rows in parts:
        if block is None or not num_rows:
            starts.append(torch.zeros(num_rows, dtype=torch.int64))
            lengths.append(torch.zeros(num_rows, dtype=torch.int64))
            continue
        if id(block.flat) not in offsets:
            offsets[id(block.flat)] = sum(flat.shape[0] for flat in flats)
            flats.append(block.flat)
        starts.append(block.starts + offsets[id(block.flat)])
        lengths.append(block.lengths)
    if not flats:
        flats = [block.flat for block, _ in parts if block is not None][:1]
    flat = flats[0] if len(flats) == 1 else torch.cat(flats)
    return Packed(flat=flat, starts=torch.cat(starts), lengths=torch.cat(lengths))


def encoder_digest(model: LoopModel) -> str:
    """Digest of everything in the model that is no interaction layer."""
    return digest(model, frozen_names(model, model.interaction))


def prepare_samples(model: LoopModel, samples: Sequence[Sample]) -> FeatureSet:
    """Samples after the model's fixed transform, before any learnable part. No samples give a set without rows."""
    for sample in samples:
        model.task_index(sample.task)
    prepared = [model.prepare(sample) for sample in samples]
    words: dict[str, Tensor] = {}
    for sample, row in zip(samples, prepared, strict=True):
        row[INSTRUCTION] = words.setdefault(sample.instruction, row[INSTRUCTION])
    names = dict.fromkeys(name for row in prepared for name in row)
    return FeatureSet(
        stage="prepared",
        encoder="",
        blocks={name: pack([row.get(name) for row in prepared]) for name in names},
        ids=tuple(sample.id for sample in samples),
        domains=tuple(sample.domain for sample in samples),
        tasks=tuple(sample.task for sample in samples),
        answers=tuple(sample.answer for sample in samples),
    )


def encode_samples(model: LoopModel, samples: Sequence[Sample], *, batch_rows: int = 64) -> FeatureSet:
    """Samples after the model's frozen part, a batch at a time."""
    return encode_features(model, prepare_samples(model, samples), batch_rows=batch_rows)


@torch.no_grad()
def encode_features(model: LoopModel, prepared: FeatureSet, *, batch_rows: int = 64) -> FeatureSet:
    """Prepared rows to tokens. Each distinct row of a block is encoded once; only rows that have the block are."""
    if prepared.stage != "prepared":
        raise ValueError("These features are encoded already. Pass them on as they are.")
    was_training = model.training
    model.eval()
    try:
        blocks = {name: _encode_block(model, name, block, batch_rows) for name, block in prepared.blocks.items()}
    finally:
        model.train(was_training)
    return replace(prepared, stage="tokens", encoder=encoder_digest(model), blocks=blocks)


def _encode_block(model: LoopModel, name: str, block: Packed, batch_rows: int) -> Packed:
    keys = torch.stack([block.starts, block.lengths], dim=1)
    distinct, where = torch.unique(keys, dim=0, return_inverse=True)
    present = torch.nonzero(distinct[:, 1])[:, 0]
    source = Packed(flat=block.flat, starts=distinct[:, 0], lengths=distinct[:, 1])
    lengths = torch.zeros(len(distinct), dtype=torch.int64)
    flats = []
    for rows in torch.split(present, batch_rows):
        x, mask = source.pad(rows)
        tokens_BLD, mask_BL = model.encode(name, x.to(model.device), mask.to(model.device))
        flats.append(tokens_BLD[mask_BL].cpu())
        lengths[rows] = mask_BL.sum(dim=1).cpu()
    flat = torch.cat(flats) if flats else torch.zeros(0, 1)
    starts = lengths.cumsum(0) - lengths
    return Packed(flat=flat, starts=starts[where], lengths=lengths[where])


def pack(rows: Sequence[Tensor | None]) -> Packed:
    """Rows of [T, ...] to one packed block. None is an absent row; one tensor given twice is stored once."""
    places: dict[int, int] = {}
    flats: list[Tensor] = []
    starts, lengths, total = [], [], 0
    for row in rows:
        if row is None:
            starts.append(0)
            lengths.append(0)
            continue
        if id(row) not in places:
            places[id(row)] = total
            flats.append(row)
            total += row.shape[0]
        starts.append(places[id(row)])
        lengths.append(row.shape[0])
    return Packed(flat=torch.cat(flats), starts=torch.tensor(starts), lengths=torch.tensor(lengths))


def targets(model: LoopModel, features: FeatureSet) -> Tensor:
    """Each row's answer as an index into the model's answers, int64 [N]; -1 where there is none.

    Raises `ValueError` for an answer outside its task's set.
    """
    place = {answer: index for index, answer in enumerate(model.answers)}
    allowed = {task.name: set(task.answers) for task in model.tasks}
    for id_, task, answer in zip(features.ids, features.tasks, features.answers, strict=True):
        model.task_index(task)
        if answer is not None and answer not in allowed[task]:
            raise ValueError(f"Sample {id_}: {answer!r} is no answer of task {task}. It has {sorted(allowed[task])}.")
    return torch.tensor([-1 if answer is None else place[answer] for answer in features.answers], dtype=torch.int64)


def check_encoder(model: LoopModel, features: FeatureSet) -> None:
    """Refuse tokens that another frozen part has made."""
    if features.stage == "tokens" and len(features) and features.encoder != encoder_digest(model):
        raise ValueError("These features come from other encoders than this model's. Encode the samples again.")


class Batcher:
    """Makes batches of a feature set for one model: tokens are taken as they are, prepared rows are encoded."""

    def __init__(self, model: LoopModel, features: FeatureSet) -> None:
        check_encoder(model, features)
        self.model, self.features = model, features
        self.target_N = targets(model, features)
        self.task_N = torch.tensor([model.task_index(task) for task in features.tasks], dtype=torch.int64)

    def __call__(self, indices: Tensor) -> Batch:
        """The given rows as an encoded batch on the model's device."""
        values, masks = {}, {}
        for name, block in self.features.blocks.items():
            if name != INSTRUCTION and not bool((block.lengths[indices] > 0).any()):
                continue
            x, mask = (part.to(self.model.device) for part in block.pad(indices))
            values[name], masks[name] = (
                (x, mask) if self.features.stage == "tokens" else self.model.encode(name, x, mask)
            )
        task, target = self.task_N[indices], self.target_N[indices]
        return Batch(values=values, masks=masks, task=task.to(self.model.device), target=target.to(self.model.device))

    def all(self, batch_rows: int) -> Iterable[Batch]:
        """All rows in order, `batch_rows` at a time."""
        for indices in torch.split(torch.arange(len(self.features)), batch_rows):
            if len(indices):
                yield self(indices)
