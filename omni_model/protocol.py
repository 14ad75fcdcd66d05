"""What a model must offer to be looped: put your own in our place by subclassing `LoopModel`.

A model has two halves. `encode` is the part that tuning leaves alone: its outputs for a sample are computed once and
reused. `forward` is the rest. `interaction` names the modules that tuning may move.

Shapes: B batch, T steps of a prepared value, L tokens, D width, A answers of all tasks together.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from omni_model.sample import Sample, TaskSpec

INSTRUCTION = "instruction"
"""Name of the block that carries the instruction; it is no modality, and always there."""


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Padded blocks of encoded tokens of a few rows, by modality and `INSTRUCTION`."""

    values: Mapping[str, Tensor]
    """[B, L, D]. A modality that no row has may be left out."""
    masks: Mapping[str, Tensor]
    """bool [B, L]: True where a token is. A row without the modality is False throughout."""
    task: Tensor
    """int64 [B], index into the model's tasks."""
    target: Tensor
    """int64 [B], index into the model's answers; -1 where unknown."""

    def to(self, device: torch.device) -> Batch:
        """The same batch on a device."""
        return Batch(
            values={name: value.to(device) for name, value in self.values.items()},
            masks={name: mask.to(device) for name, mask in self.masks.items()},
            task=self.task.to(device),
            target=self.target.to(device),
        )


@dataclass(frozen=True, kw_only=True)
class Output:
    """What a model says about a batch."""

    logits: Tensor
    """[B, A], over the answers of all tasks, unmasked."""
    fused: Tensor
    """[B, D], one embedding of the whole sample."""
    embeddings: Mapping[str, Tensor]
    """[B, D] by modality, each made from that modality alone, in one common space; rows without it are arbitrary."""
    modality_logits: Mapping[str, Tensor]
    """[B, A] by modality, the answer from that modality alone; may be empty if the model has no such answers."""


class LoopModel(nn.Module, ABC):
    """Base class of every model that the loop can train, tune, judge and serve."""

    architecture: ClassVar[str]
    """Name under which checkpoints find the class again; see `register_model`."""
    interaction: tuple[str, ...]
    """Module paths that tuning may move. Everything else is frozen in it."""
    sandwich: tuple[str, ...] = ()
    """Further module paths for the `sandwich` mode: the last projections of the encoders."""
    shared: tuple[str, ...] = ()
    """Module paths that the loss of every modality reaches, where DWA takes its gradients; empty: `interaction`."""
    depths: tuple[tuple[str, ...], ...] = ()
    """Choices of how much of `interaction` moves, each within the next; the last is all of it. Empty: that alone."""
    own: Mapping[str, tuple[str, ...]] = MappingProxyType({})
    """By modality, module paths that serve it alone, whose gradients OGM-GE and MMPareto change."""

    def __init__(self, tasks: Sequence[TaskSpec]) -> None:
        super().__init__()
        if len({task.name for task in tasks}) != len(tasks) or not tasks:
            raise ValueError(f"Tasks must have distinct names, got {[task.name for task in tasks]}. Give at least one.")
        self.tasks = tuple(tasks)
        self.temperature = 1.0
        self.temperatures: dict[str, float] = {}

    @abstractmethod
    def prepare(self, sample: Sample) -> dict[str, Tensor]:
        """Fixed transform of a sample's values to [T, ...] by modality, and of its instruction. No learnable part."""

    @abstractmethod
    def encode(self, name: str, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Prepared values [B, T, ...] of one block and their mask [B, T] to tokens [B, L, D] and mask [B, L].

        Each row from that row alone, however far it is padded: the outputs are kept and reused.
        """

    @abstractmethod
    def forward(self, batch: Batch) -> Output:
        """Tokens to answers. Rows may have any mix of modalities, down to none."""

    @abstractmethod
    def describe(self) -> dict[str, Any]:
        """JSON-able arguments from which `build`, with the same tasks, makes a model of the same shape."""

    @classmethod
    @abstractmethod
    def build(cls, description: Mapping[str, Any], tasks: Sequence[TaskSpec]) -> LoopModel:
        """The inverse of `describe`, with freshly initialised weights."""

    @property
    def answers(self) -> tuple[str, ...]:
        """Answers of all tasks in order of first mention; tasks that share an answer share its place.

        Places are those of this model alone: a task that is widened later moves the answers of those after it.
        """
        return tuple(dict.fromkeys(answer for task in self.tasks for answer in task.answers))

    def add_task(self, task: TaskSpec) -> None:
        """Take note of a task that came later, or of answers that a known one has gained at its end.

        A model whose shape depends on its answers extends this. What is frozen stays as it is; known answers keep their
        weights. Raises `ValueError` if a known answer would move or go.
        """
        known = {task.name: task for task in self.tasks}
        kept = known[task.name].answers if task.name in known else ()
        if task.answers[: len(kept)] != kept:
            raise ValueError(
                f"Task {task.name} has the answers {', '.join(kept)}; got {', '.join(task.answers)}. "
                "Keep the known ones in their order and add new ones at the end, or give the task a new name."
            )
        self.tasks = tuple({**known, task.name: task}.values())

    def temperature_of(self, batch: Batch) -> float | Tensor:
        """What the logits of a batch are divided by: one number, or [B, 1] where `temperatures` were fitted.

        `temperatures` has a number for each combination of modalities, such as `audio+image`; a row whose combination
        has none takes `temperature`.
        """
        if not self.temperatures:
            return self.temperature
        names = sorted(name for name in batch.masks if name != INSTRUCTION)
        there = [batch.masks[name].any(dim=1).tolist() for name in names]
        rows = range(len(batch.task))
        combinations = ["+".join(name for name, flags in zip(names, there, strict=True) if flags[row]) for row in rows]
        return torch.tensor([[self.temperatures.get(name, self.temperature)] for name in combinations]).to(
            batch.task.device
        )

    @property
    def device(self) -> torch.device:
        """Where `forward` is computed, and `encode` too unless `device_of` says otherwise."""
        return next(self.parameters()).device

    def device_of(self, block: str) -> torch.device:
        """Where `encode` wants the values of a block."""
        return self.device

    def place(self, of_block: Callable[[str], str], fuse: str) -> None:
        """Move the encoder of each block to the device named for it, and the rest to `fuse`.

        A model that does not divide itself goes to `fuse` as a whole.
        """
        self.to(fuse)

    def task_index(self, name: str) -> int:
        """Place of a task. Raises `ValueError` that lists the known ones."""
        for index, task in enumerate(self.tasks):
            if task.name == name:
                return index
        known = ", ".join(task.name for task in self.tasks)
        raise ValueError(f"The model knows no task {name!r}; it knows {known}. Add it with add_task.")

    def answer_masks(self) -> Tensor:
        """bool [tasks, A]: which answers belong to which task."""
        answers = self.answers
        return torch.tensor([[answer in task.answers for answer in answers] for task in self.tasks])


ARCHITECTURES: dict[str, type[LoopModel]] = {}


def register_model(cls: type[LoopModel]) -> type[LoopModel]:
    """Class decorator that lets checkpoints find a model class by its `architecture`."""
    known = ARCHITECTURES.get(cls.architecture)
    if known is not None and known.__qualname__ != cls.__qualname__:
        raise ValueError(f"Architecture {cls.architecture!r} is {known.__qualname__} already. Use another name.")
    ARCHITECTURES[cls.architecture] = cls
    return cls
