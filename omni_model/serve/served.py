"""A version as the engine holds it: the model, how values become tokens and tokens become probabilities.

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
    selector: Selector | None = None
    """Chooses the modalities under a budget, the request's or the load's."""
    fallback: Selector | None = None
    """Chooses instead where there is no selector, for requests that name a budget; the load alone changes nothing."""


def served(version: int, generation: int, model: LoopModel, selector: Selector | None = None) -> Served:
    """A loaded model as a version to serve."""
    described = model.describe()
    takes = described.get("modalities")
    shape = json.dumps([model.architecture, described], sort_keys=True, default=str).encode()
    return Served(
        version=version,
        generation=generation,
        model=model.eval(),
        space=f"{encoder_digest(model)}:{blake2b(shape, digest_size=8).hexdigest()}",
        takes=None if takes is None else frozenset(takes),
        tasks={task.name: task for task in model.tasks},
        allowed=model.answer_masks(),
        selector=selector,
    )


@torch.no_grad()
def encode(version: Served, values: Mapping[Key, Tensor]) -> dict[Key, Tensor]:
    """Prepared values to tokens [L, D] on the CPU, all of a block in one pass."""
    made: dict[Key, Tensor] = {}
    for block in dict.fromkeys(key.block for key in values):
        keys = [key for key in values if key.block == block]
        rows = [values[key] for key in keys]
        x, mask = pack(rows).pad(torch.arange(len(rows)))
        device = version.model.device_of(block)
        tokens_BLD, mask_BL = version.model.encode(block, x.to(device), mask.to(device))
        for row, key in enumerate(keys):
            made[key] = tokens_BLD[row][mask_BL[row]].cpu()
    return made


@torch.no_grad()
def fuse(
    version: Served, rows: Sequence[Mapping[str, Key]], tokens: Mapping[Key, Tensor], tasks: Sequence[str]
) -> Floats:
    """Calibrated probabilities [B, A] of rows, each given as its blocks' keys."""
    model, everything = version.model, torch.arange(len(rows))
    values, masks = {}, {}
    for name in dict.fromkeys(name for row in rows for name in row):
        block = pack([tokens[row[name]] if name in row else None for row in rows])
        x_BLD, mask_BL = block.pad(everything)
        values[name], masks[name] = x_BLD, mask_BL
    task_B = torch.tensor([model.task_index(task) for task in tasks])
    batch = Batch(values=values, masks=masks, task=task_B, target=torch.full_like(task_B, -1)).to(model.device)
    logits_BA = model(batch).logits.cpu()
    probabilities: Floats = answer_probabilities(logits_BA, version.allowed[task_B], model.temperature).numpy()
    return probabilities
