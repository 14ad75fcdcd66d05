"""From encoded bytes to what the encoders take: which modalities are used, and the decoding of those alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from torch import Tensor

from omni_model.data.codecs import CODECS
from omni_model.data.errors import DecodeError, RowError
from omni_model.msn.choice import Budget, Stage, has_chains
from omni_model.protocol import INSTRUCTION
from omni_model.sample import Sample, Value
from omni_model.serve.budget import UNBOUNDED, Allowance
from omni_model.serve.cache import FeatureCache, Key
from omni_model.serve.exchange import Later, Prepared, Request
from omni_model.serve.served import Served


def prepare(version: Served, request: Request, cache: FeatureCache, allowance: Allowance = UNBOUNDED) -> Prepared:
    """Choose the modalities that the allowance has room for; decode and prepare what of them the cache lacks.

    What is left out is neither decoded nor encoded. Of a choice in stages the first one is prepared; `further` goes on.
    Raises `RowError`, `DecodeError` or `ValueError`.
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
        left_out, early = _left_out(version, request, rest, allowance)
        chosen = [name for name in request.content if name in rest and name not in left_out]
        first, later = in_stages(chosen, early)
        empty = _read(version, request, [*first, INSTRUCTION], cache, keys, values)
        while len(keys) == 1 and later:  # the stage so far holds nothing
            empty += _read(version, request, later[0].names, cache, keys, values)
            later = later[1:]
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
        later=later,
    )


def in_stages(chosen: Sequence[str], early: Sequence[Stage]) -> tuple[Sequence[str], tuple[Later, ...]]:
    """What is looked at first, and what later. Parts that are no parts of what is chosen are passed over.

    >>> text = Stage(frozenset({"text"}), 0.9)
    >>> in_stages(["audio", "text"], [text])
    (['text'], (Later(threshold=0.9, names=('audio',)),))
    >>> in_stages(["text"], [text])
    (['text'], ())
    """
    if not early:
        return chosen, ()
    first, later = list[str](), list[Later]()
    so_far, threshold = frozenset[str](), 0.0
    for stage in (*early, Stage(frozenset(chosen), 0.0)):
        added = [name for name in chosen if name in stage.subset and name not in so_far]
        if added and so_far:
            later.append(Later(threshold, tuple(added)))
        elif added:
            first = added
        so_far, threshold = so_far.union(added), stage.threshold
    return first, tuple(later)


def further(version: Served, row: Prepared, cache: FeatureCache) -> Prepared:
    """A row whose answer so far is not sure enough, with the next stage prepared. The row given stays as it is.

    Raises what `prepare` raises for content that cannot be read.
    """
    keys, values = dict(row.keys), dict(row.values)
    empty = _read(version, row.request, row.later[0].names, cache, keys, values)
    ignored = {**row.ignored, **dict.fromkeys(empty, "it holds nothing")}
    return replace(row, keys=keys, values=values, ignored=ignored, later=row.later[1:])


def settled(row: Prepared, probability: float) -> Mapping[str, str]:
    """Modality to the reason why it was not used, for a row whose answer stands with such a probability."""
    if not row.later:
        return row.ignored
    reason = f"sure without it: {probability:.2f} of {row.later[0].threshold:.2f} needed"
    return {**row.ignored, **{name: reason for stage in row.later for name in stage.names}}


def read_block(version: Served, request: Request, block: str) -> Tensor:
    """One block of a request, prepared [T, ...]."""
    keys: dict[str, Key] = {}
    values: dict[Key, Tensor] = {}
    _read(version, request, [block], FeatureCache(0, secret=bytes(32)), keys, values)
    return values[keys[block]]


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


def _left_out(
    version: Served, request: Request, available: frozenset[str], allowance: Allowance
) -> tuple[dict[str, str], tuple[Stage, ...]]:
    """Modalities that the budget has no room for, with the reason; and which parts of the others are looked at first.

    The load leaves out none without a selector.
    """
    selector = version.selector or (version.fallback if request.budget is not None else None)
    if selector is None or len(available) < 2 or (allowance.budget is None and not has_chains(selector)):
        return {}, ()
    choice = selector.choose(request.task, available, allowance.budget or Budget())
    chosen = (choice.subset & available) or available
    reason = choice.why or "the budget has no room for it"
    if allowance.by_load:
        reason = f"many requests wait: {reason}"
    return dict.fromkeys(sorted(available - chosen), reason), choice.early


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
