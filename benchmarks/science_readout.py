"""A model that is cheap to train: the product's frozen encoders, each modality pooled to one vector, one hidden layer.

It offers what `LoopModel` asks for, so the product's own selection, tuning and prediction run on it unchanged.

Shapes: B batch, L tokens, D width of the encoders, S segments, H hidden, A answers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from omni_model.model import OmniModel
from omni_model.protocol import INSTRUCTION, Batch, LoopModel, Output
from omni_model.sample import Sample, TaskSpec

SEGMENTS = 6


class Layers(nn.Module):
    """What is trained."""

    def __init__(self, names: Sequence[str], width: int, hidden: int, num_answers: int, dropout: float) -> None:
        super().__init__()
        self.read = nn.ModuleDict({name: nn.Linear(width, hidden) for name in names})
        self.dropout = nn.Dropout(dropout)
        self.answer = nn.Linear(hidden, num_answers)


class Readout(LoopModel):
    """Pooled tokens, one linear map a modality, their sum through a hidden layer to the answers."""

    architecture = "science-readout"

    def __init__(self, base: OmniModel, tasks: Sequence[TaskSpec], hidden: int = 64, dropout: float = 0.2) -> None:
        super().__init__(tasks)
        self.names = base.config.modalities
        self.interaction = ("layers",)
        self.frozen = base
        self.layers = Layers(self.names, SEGMENTS * base.config.width, hidden, len(self.answers), dropout)

    def prepare(self, sample: Sample) -> dict[str, Tensor]:
        return self.frozen.prepare(sample)

    def encode(self, name: str, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        tokens_BLD, mask_BL = self.frozen.encode(name, x, mask)
        return pooled(tokens_BLD, mask_BL)[:, None], mask_BL.any(dim=1, keepdim=True)

    def forward(self, batch: Batch) -> Output:
        embeddings = {
            name: torch.relu(self.layers.read[name](value[:, 0]))
            for name, value in batch.values.items()
            if name != INSTRUCTION
        }
        fused = self.frozen.layers.query.new_zeros(len(batch.task), self.layers.answer.in_features)
        for name, value in embeddings.items():
            fused = fused + value * batch.masks[name].any(dim=1, keepdim=True)
        alone = {name: self.layers.answer(self.layers.dropout(value)) for name, value in embeddings.items()}
        logits = self.layers.answer(self.layers.dropout(fused))
        return Output(logits=logits, fused=fused, embeddings=embeddings, modality_logits=alone)

    def describe(self) -> dict[str, Any]:
        return {"hidden": self.layers.answer.in_features}

    @classmethod
    def build(cls, description: Mapping[str, Any], tasks: Sequence[TaskSpec]) -> LoopModel:
        raise ValueError("A Readout stands on a trained model's encoders. Make it with Readout(base, tasks).")


def pooled(tokens_BLD: Tensor, mask_BL: Tensor) -> Tensor:
    """Means over S stretches of each row's tokens, [B, S * D]; a stretch without tokens is 0."""
    count_B1 = mask_BL.sum(dim=1, keepdim=True).clamp(min=1)
    place_BL = (mask_BL.cumsum(dim=1) - 1).clamp(min=0)
    segment_BL = (place_BL * SEGMENTS // count_B1).clamp(max=SEGMENTS - 1)
    share_BSL = (segment_BL[:, None] == torch.arange(SEGMENTS)[None, :, None]) & mask_BL[:, None]
    share_BSL = share_BSL / share_BSL.sum(dim=2, keepdim=True).clamp(min=1)
    return (share_BSL @ tokens_BLD).flatten(1)
