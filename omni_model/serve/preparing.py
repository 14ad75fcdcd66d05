"""From encoded bytes to what the encoders take: which modalities are used, and the decoding of those alone."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from omni_model.data.codecs import CODECS
from omni_model.data.errors import DecodeError, RowError
from omni_model.protocol import INSTRUCTION
from omni_model.sample import Sample, Value
from omni_model.serve.budget import UNBOUNDED, Allowance
from omni_model.serve.cache import FeatureCache, Key
from omni_model.serve.exchange import Prepared, Request
from omni_model.serve.served import Served


def prepare(version: Served, request: Request, cache: FeatureCache, allowance: Allowance = UNBOUNDED) -> Prepared:
    """Choose the modalities that the allowance has room for; decode and prepare what of them the cache lacks.

    What is left out is neither decoded nor encoded. Raises `RowError`, `DecodeError` or `ValueError`.
    """
    task = version.tasks.get(request.task)
    if task is None:
        known = ", ".join(sorted(version.tasks))
        raise RowError(f"v{version.version} knows no task {request.task!r:.80}; it knows {known}. Name one of them.")
    ignored = _refused(version, request)
    rest = frozenset(request.content.keys() - ignored.keys())
    keys: dict[str, Key] = {}
    values: dict[Key, Tensor] = {}
    while True:
        left_out = _left_out(version, request, rest, allowance)
        chosen = [name for name in request.content if name in rest and name not in left_out]
        empty = _read(version, request, [*chosen, INSTRUCTION], cache, keys, values)
        ignored |= dict.fromkeys(empty, "it holds nothing")
        if len(keys) > 1 or not left_out:
            break
        rest = frozenset(left_out)  # what was chosen holds nothing, so choose among the others
    ignored |= left_out
    if request.content and len(keys) == 1:
        reasons = "; ".join(f"{name}: {why}" for name, why in ignored.items())
        raise RowError(f"No modality of the request can be used ({reasons}). Give one that the model takes.")
    return Prepared(
        request=request,
        version=version.version,
        space=version.space,
        keys=keys,
        values=values,
        ignored=ignored,
        allowance=allowance,
    )


def whole(version: Served, row: Prepared) -> Sample:
    """The sample that a prepared request stands for."""
    request = row.request
    return Sample(
        id=request.id,
        task=request.task,
        instruction=instruction_of(version, request),
        inputs={name: _decoded(name, request.content[name]) for name in row.keys if name != INSTRUCTION},
    )


def instruction_of(version: Served, request: Request) -> str:
    """What the model is asked; the task's first wording if the request brings none."""
    return request.instruction or version.tasks[request.task].instructions[0]


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


def _left_out(version: Served, request: Request, available: frozenset[str], allowance: Allowance) -> dict[str, str]:
    """Modalities that the budget has no room for, with the reason. The load leaves out none without a selector."""
    selector = version.selector or (version.fallback if request.budget is not None else None)
    if allowance.budget is None or selector is None or len(available) < 2:
        return {}
    choice = selector.choose(request.task, available, allowance.budget)
    chosen = (choice.subset & available) or available
    reason = choice.why or "the budget has no room for it"
    if allowance.by_load:
        reason = f"many requests wait: {reason}"
    return dict.fromkeys(sorted(available - chosen), reason)


def _read(
    version: Served,
    request: Request,
    names: Sequence[str],
    cache: FeatureCache,
    keys: dict[str, Key],
    values: dict[Key, Tensor],
) -> list[str]:
    """Add some blocks' keys, and the prepared tensors [T, ...] of those not cached. Returns modalities without any."""
    instruction = instruction_of(version, request)
    for name in names:
        content = instruction.encode() if name == INSTRUCTION else request.content[name]
        keys[name] = cache.key(name, version.space, content)
    missing = [name for name in names if keys[name] not in cache]
    if not missing:
        return []
    decoded = {name: _decoded(name, request.content[name]) for name in missing if name != INSTRUCTION}
    prepared = version.model.prepare(Sample(id=request.id, task=request.task, instruction=instruction, inputs=decoded))
    empty = [name for name in missing if name != INSTRUCTION and not prepared[name].shape[0]]
    for name in empty:
        del keys[name]
    values |= {keys[name]: prepared[name] for name in missing if prepared[name].shape[0]}
    return empty


def _decoded(modality: str, content: bytes) -> Value:
    try:
        return CODECS[modality].decode(content)
    except DecodeError as error:
        raise DecodeError(f"{modality}: {error}") from error
