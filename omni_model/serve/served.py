"""A version as the engine holds it: the model, how values become tokens and tokens become probabilities.

Both run in torch's inference mode, so nothing that a model keeps from them for later may be trained through.

Shapes: B batch, T steps, L tokens, D width, A answers.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b

import torch
from torch import Tensor

from omni_model.evaluate import Floats, answer_probabilities
from omni_model.features import encoder_digest, pack
from omni_model.msn.choice import Selector
from omni_model.protocol import Batch, LoopModel
from omni_model.sample import TaskSpec
from omni_model.serve.cache import Key


@dataclass(frozen=True, kw_only=True)
class Served:
    """A version in service, or kept warm."""

    version: int
    generation: int
    model: LoopModel
    space: str
    """Identity of its encoders and preprocessing; cached tokens of another one are never used."""
    takes: frozenset[str] | None
    """Modalities that the model has an encoder for; None: whatever it is given."""
    tasks: Mapping[str, TaskSpec]
    allowed: Tensor
    """bool [tasks, A], on the CPU"""
    places: Mapping[str, int]
    """Place of each task in the model's order."""
    columns: Mapping[str, tuple[tuple[str, int], ...]]
    """Each task's answers and their columns among those of all tasks."""
    selector: Selector | None = None
    """Chooses the modalities under a budget, the request's or the load's."""
    fallback: Selector | None = None
    """Chooses instead where there is no selector, for requests that name a budget; the load alone changes nothing."""


def served(version: int, generation: int, model: LoopModel, selector: Selector | None = None) -> Served:
    """A loaded model as a version to serve."""
    described = model.describe()
    takes = described.get("modalities")
    column = {answer: place for place, answer in enumerate(model.answers)}
    shape = json.dumps([model.architecture, described], sort_keys=True, default=str).encode()
    return Served(
        version=version,
        generation=generation,
        model=model.eval(),
        space=f"{encoder_digest(model)}:{blake2b(shape, digest_size=8).hexdigest()}",
        takes=None if takes is None else frozenset(takes),
        tasks={task.name: task for task in model.tasks},
        allowed=model.answer_masks(),
        places={task.name: place for place, task in enumerate(model.tasks)},
        columns={task.name: tuple((answer, column[answer]) for answer in task.answers) for task in model.tasks},
        selector=selector,
    )


@torch.inference_mode()
def encode(version: Served, values: Mapping[Key, Tensor]) -> dict[Key, Tensor]:
    """Prepared values to tokens [L, D] on the CPU, all of a block in one pass."""
    made: dict[Key, Tensor] = {}
    for block in dict.fromkeys(key.block for key in values):
        keys = [key for key in values if key.block == block]
        x, mask = pack([values[key] for key in keys]).pad(torch.arange(len(keys)))
        device = version.model.device_of(block)
        tokens_BLD, mask_BL = version.model.encode(block, x.to(device), mask.to(device))
        lengths = mask_BL.sum(dim=1).tolist()
        for key, tokens_LD in zip(keys, torch.split(tokens_BLD[mask_BL].cpu(), lengths), strict=True):
            made[key] = tokens_LD.clone()  # a view would keep the whole batch in the cache
    return made


@torch.inference_mode()
def fuse(
    version: Served, rows: Sequence[Mapping[str, Key]], tokens: Mapping[Key, Tensor], tasks: Sequence[str]
) -> Floats:
    """Calibrated probabilities [B, A] of rows, each given as its blocks' keys."""
    model, everything = version.model, torch.arange(len(rows))
    values, masks = {}, {}
    for name in dict.fromkeys(name for row in rows for name in row):
        block = pack([tokens[row[name]] if name in row else None for row in rows])
        values[name], masks[name] = block.pad(everything)
    task_B = torch.tensor([version.places[task] for task in tasks])
    batch = Batch(values=values, masks=masks, task=task_B, target=torch.full_like(task_B, -1)).to(model.device)
    logits_BA, temperature = model(batch).logits.cpu(), model.temperature_of(batch)
    if isinstance(temperature, Tensor):
        temperature = temperature.cpu()
    probabilities: Floats = answer_probabilities(logits_BA, version.allowed[task_B], temperature).numpy()
    return probabilities
