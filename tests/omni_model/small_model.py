"""Another model in our place: mean-pooled features and a linear answer, all that the protocol asks for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from omni_model.protocol import INSTRUCTION, Batch, LoopModel, Output, register_model
from omni_model.sample import Sample, TaskSpec

SIZES = {"text": 256, "image": 9, "audio": 16, INSTRUCTION: 256}


@register_model
class SmallModel(LoopModel):
    """A random frozen projection of a histogram for each modality; what is tuned is one layer and the answers."""

    architecture = "small"

    def __init__(self, tasks: Sequence[TaskSpec], width: int = 24) -> None:
        super().__init__(tasks)
        self.width = width
        self.interaction = ("mix", "answer")
        self.project = nn.ModuleDict({name: nn.Linear(size, width) for name, size in SIZES.items()})
        self.mix = nn.ModuleDict({name: nn.Linear(width, width) for name in SIZES})
        self.answer = nn.Linear(width, len(self.answers))

    def prepare(self, sample: Sample) -> dict[str, Tensor]:
        values = {INSTRUCTION: sample.instruction, **sample.inputs}
        return {name: torch.from_numpy(summary(name, value))[None] for name, value in values.items()}

    def encode(self, name: str, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        return torch.tanh(self.project[name](x)), mask

    def forward(self, batch: Batch) -> Output:
        embeddings = {name: torch.relu(self.mix[name](value[:, 0])) for name, value in batch.values.items()}
        there = {name: batch.masks[name].any(dim=1, keepdim=True) for name in embeddings}
        fused = torch.stack([value * there[name] for name, value in embeddings.items()]).sum(dim=0)
        modalities = {name: value for name, value in embeddings.items() if name != INSTRUCTION}
        return Output(logits=self.answer(fused), fused=fused, embeddings=modalities, modality_logits={})

    def describe(self) -> dict[str, Any]:
        return {"width": self.width}

    @classmethod
    def build(cls, description: Mapping[str, Any], tasks: Sequence[TaskSpec]) -> SmallModel:
        return cls(tasks, **description)


def summary(name: str, value: str | np.ndarray) -> np.ndarray:
    """A histogram of bytes, mean colours of a 3 x 1 grid, or the loudness of 16 stretches."""
    if isinstance(value, str):
        return np.bincount(np.frombuffer(value.encode(), dtype=np.uint8), minlength=256).astype(np.float32)
    if name == "image":
        return np.concatenate([part.mean((0, 1)) for part in np.array_split(value, 3)]).astype(np.float32) / 255
    return np.array([np.abs(part).mean() for part in np.array_split(value, 16)], dtype=np.float32)
