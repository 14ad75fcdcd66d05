"""A version as the engine holds it: the model, and how a request becomes a row and a batch becomes answers.

Shapes: B batch, T steps, L tokens, D width, A answers.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b

import torch
from torch import Tensor

from omni_model.data.codecs import CODECS
from omni_model.data.errors import DecodeError, RowError
from omni_model.evaluate import Floats, answer_probabilities, predict
from omni_model.features import encoder_digest, pack
from omni_model.protocol import INSTRUCTION, Batch, LoopModel
from omni_model.sample import Sample, TaskSpec, Value
from omni_model.serve.cache import FeatureCache, Key
from omni_model.serve.exchange import Prepared, Request

logger = logging.getLogger(__name__)

TOLERANCE = 1e-3
"""How far the probabilities of the batched path and of `predict` may lie apart: rounding of another order of sums."""


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
    """bool [tasks, A]"""


def served(version: int, generation: int, model: LoopModel) -> Served:
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
        allowed=model.answer_masks().to(model.device),
    )


def prepare(version: Served, request: Request, cache: FeatureCache) -> Prepared:
    """Decode and prepare what the cache lacks. Raises `RowError`, `DecodeError` or `ValueError`: fact, value, mend."""
    task = version.tasks.get(request.task)
    if task is None:
        known = ", ".join(sorted(version.tasks))
        raise RowError(f"v{version.version} knows no task {request.task!r:.80}; it knows {known}. Name one of them.")
    ignored = _refused(version, request)
    instruction = request.instruction or task.instructions[0]
    keys = {
        name: cache.key(name, version.space, content)
        for name, content in request.content.items()
        if name not in ignored
    }
    keys[INSTRUCTION] = cache.key(INSTRUCTION, version.space, instruction.encode())
    missing = [name for name, key in keys.items() if key not in cache]
    values: dict[Key, Tensor] = {}
    if missing:
        for name, value in _fresh(version.model, request, instruction, missing).items():
            if value.shape[0]:
                values[keys[name]] = value
            elif name != INSTRUCTION:
                ignored[name] = "it holds nothing"
                del keys[name]
    if request.content and len(keys) == 1:
        reasons = "; ".join(f"{name}: {why}" for name, why in ignored.items())
        raise RowError(f"No modality of the request can be used ({reasons}). Give one that the model takes.")
    return Prepared(request=request, space=version.space, keys=keys, values=values, ignored=ignored)


def _refused(version: Served, request: Request) -> dict[str, str]:
    """Modalities that this model has no use for, with the reason. Raises `RowError` for one that nobody knows."""
    for name in request.content:
        if name not in CODECS:
            raise RowError(f"Unknown modality {name!r:.80}; known: {', '.join(sorted(CODECS))}. Correct its name.")
    if version.takes is None:
        return {}
    return {
        name: f"v{version.version} was trained without {name}" for name in request.content if name not in version.takes
    }


def _fresh(model: LoopModel, request: Request, instruction: str, names: Sequence[str]) -> dict[str, Tensor]:
    """The prepared tensors [T, ...] of some blocks of a request."""
    decoded = {name: _decoded(name, request.content[name]) for name in names if name != INSTRUCTION}
    sample = Sample(id=request.id, task=request.task, instruction=instruction, inputs=decoded)
    prepared = model.prepare(sample)
    return {name: prepared[name] for name in names}


def _decoded(modality: str, content: bytes) -> Value:
    try:
        return CODECS[modality].decode(content)
    except DecodeError as error:
        raise DecodeError(f"{modality}: {error}") from error


@torch.no_grad()
def encode(version: Served, values: Mapping[Key, Tensor]) -> dict[Key, Tensor]:
    """Prepared values to tokens [L, D] on the CPU, all of a block in one pass."""
    made: dict[Key, Tensor] = {}
    for block in dict.fromkeys(key.block for key in values):
        keys = [key for key in values if key.block == block]
        rows = [values[key] for key in keys]
        x, mask = pack(rows).pad(torch.arange(len(rows)))
        tokens_BLD, mask_BL = version.model.encode(block, x.to(version.model.device), mask.to(version.model.device))
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
        values[name], masks[name] = x_BLD.to(model.device), mask_BL.to(model.device)
    task_B = torch.tensor([model.task_index(task) for task in tasks], device=model.device)
    output = model(Batch(values=values, masks=masks, task=task_B, target=torch.full_like(task_B, -1)))
    probabilities: Floats = answer_probabilities(output.logits, version.allowed[task_B], model.temperature).numpy()
    return probabilities


def check(version: Served, golden: Sequence[Request]) -> None:
    """Let a version answer golden requests by the way that traffic takes and by `predict`; also its warm-up.

    Raises `ValueError` for an answer that is no probability, or when the two ways disagree. A golden request that the
    model cannot take (another task, other modalities) says nothing and is left out.
    """
    cache = FeatureCache(0, secret=bytes(32))
    rows = [prepare(version, Request(id=f"canary-{name}", task=name), cache) for name in version.tasks]
    for request in golden:
        try:
            rows.append(prepare(version, request, cache))
        except ValueError as error:
            logger.info("%s is no golden input for v%d: %s", request.id, version.version, error)
    tokens = encode(version, {key: value for row in rows for key, value in row.values.items()})
    names = [row.request.task for row in rows]
    said_BA = fuse(version, [row.keys for row in rows], tokens, names)
    for row, probabilities in zip(rows, said_BA, strict=True):
        if not (abs(float(probabilities.sum()) - 1) < TOLERANCE and (probabilities >= 0).all()):
            raise ValueError(f"Its answer to {row.request.id} is no probability: {probabilities.tolist()}.")
    apart = float(abs(said_BA - predict(version.model, [_whole(version, row) for row in rows]).probs).max())
    if not apart <= TOLERANCE:
        raise ValueError(f"Its answers in service differ from those it was judged by: by {apart:g} at most.")


def _whole(version: Served, row: Prepared) -> Sample:
    """The sample that a prepared request stands for."""
    request = row.request
    return Sample(
        id=request.id,
        task=request.task,
        instruction=request.instruction or version.tasks[request.task].instructions[0],
        inputs={name: _decoded(name, request.content[name]) for name in row.keys if name != INSTRUCTION},
    )
