"""Two models for measuring servers: one that costs next to nothing, and one that a single request can break.

Shapes: B batch, T steps, A answers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from omni_model.model import OmniModel
from omni_model.protocol import INSTRUCTION, Batch, LoopModel, Output, register_model
from omni_model.sample import Sample, TaskSpec

POISON = "☠"
"""A text that makes :class:`Poisonable` raise in the middle of a batch."""


@register_model
class Free(LoopModel):
    """Answers everything alike. What a server then costs is the server itself."""

    architecture = "benchmark-free"
    interaction = ("head",)

    def __init__(self, tasks: Sequence[TaskSpec]) -> None:
        super().__init__(tasks)
        self.frozen = nn.Linear(1, 1)
        self.head = nn.Linear(1, len(self.answers))

    def prepare(self, sample: Sample) -> dict[str, Tensor]:
        """One zero a block, [1, 1]."""
        return {name: torch.zeros(1, 1) for name in (*sample.inputs, INSTRUCTION)}

    def encode(self, name: str, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """As it came."""
        return x, mask

    def forward(self, batch: Batch) -> Output:
        """The same logits [B, A] for every row."""
        ones_B1 = torch.ones(len(batch.task), 1)
        return Output(logits=self.head(ones_B1), fused=ones_B1, embeddings={}, modality_logits={})

    def describe(self) -> dict[str, Any]:
        """Nothing but the tasks shapes it."""
        return {}

    @classmethod
    def build(cls, description: Mapping[str, Any], tasks: Sequence[TaskSpec]) -> Free:
        """A fresh one."""
        return cls(tasks)


@register_model
class Poisonable(OmniModel):
    """An `OmniModel` that raises on a batch with :data:`POISON` among its texts, as a kernel does on a bad shape."""

    architecture = "benchmark-poisonable"

    def encode(self, name: str, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Raises `RuntimeError` for the whole batch."""
        if name == "text" and bool((x == ord(POISON)).any()):
            raise RuntimeError("a text of this batch cannot be encoded")
        return super().encode(name, x, mask)
