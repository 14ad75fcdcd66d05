"""Checkpoints: a folder with `model.safetensors` and `model.json`, never pickle.

A full checkpoint holds every tensor. A delta holds only those that differ from a full one, its base, which it names by
digest: one hop deep, always. Either restores bit for bit, and proves it by the fingerprints of all tensors.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from hashlib import blake2b
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from omni_model.errors import CheckpointError
from omni_model.freeze import fingerprint
from omni_model.protocol import ARCHITECTURES, LoopModel
from omni_model.sample import TaskSpec

SCHEMA_VERSION = 1
DESCRIPTION = "model.json"
TENSORS = "model.safetensors"

Resolve = Callable[[str], Path]
"""Finds the folder of a checkpoint by its digest."""


def save(model: LoopModel, folder: Path) -> str:
    """Write a full checkpoint; returns its digest. A kill leaves no `model.json`, hence no checkpoint."""
    return _write(model, _state(model), folder, base=None)


def save_delta(
    model: LoopModel, base_digest: str, base: LoopModel | Path, folder: Path, *, resolve: Resolve | None = None
) -> str:
    """Write only the tensors that differ from the base; returns the delta's digest.

    `base` is the folder with `base_digest`, or the model that was loaded from it. If it is the folder of a delta, the
    new delta is made against that delta's own base, which `resolve` must find.
    """
    root_digest, root = base_digest, base
    if isinstance(base, Path):
        _check_digest(base, base_digest)
        named = _describe(base)["base"]
        if named is not None:
            root_digest, root = named, _find(named, resolve)
    before = _state(root) if isinstance(root, LoopModel) else _tensors_of(root, _describe(root))
    changed = {name: value for name, value in _state(model).items() if not _same(value, before.get(name))}
    return _write(model, changed, folder, base=root_digest)


def load(folder: Path, *, base: Resolve | None = None) -> LoopModel:
    """The model in evaluation mode, bit for bit as it was saved. `base` finds a delta's base by digest.

    Raises `CheckpointError` for a folder that is missing, damaged, of another schema, or whose base is.
    """
    described = _describe(folder)
    stored = _tensors_of(folder, described)
    if described["base"] is not None:
        root = _find(described["base"], base)
        root_described = _describe(root)
        if root_described["base"] is not None:
            raise CheckpointError(f"The base of {folder} is a delta itself. Save the delta against a full checkpoint.")
        stored = {**_tensors_of(root, root_described), **stored}
    model = _build(folder, described)
    wanted: Mapping[str, str] = described["fingerprints"]
    wrong = [name for name, print_ in wanted.items() if name not in stored or fingerprint(stored[name]) != print_]
    if wrong:
        raise CheckpointError(f"{len(wrong)} tensors of {folder} are not as saved: {', '.join(wrong[:3])}. Restore it.")
    try:
        model.load_state_dict({name: stored[name] for name in wanted})
    except RuntimeError as error:
        raise CheckpointError(f"{folder} does not fit {described['architecture']}: {error}. Retrain it.") from error
    model.temperature = float(described["temperature"])
    model.temperatures = {name: float(value) for name, value in described.get("temperatures", {}).items()}
    return model.eval()


def digest(folder: Path) -> str:
    """BLAKE2b of a checkpoint's two files."""
    whole = blake2b(digest_size=32)
    for name in (DESCRIPTION, TENSORS):
        data = _read(folder, name)
        whole.update(f"{name} {len(data)}\n".encode())
        whole.update(data)
    return whole.hexdigest()


def base_of(folder: Path) -> str | None:
    """Digest of a delta's base, or None for a full checkpoint."""
    named: str | None = _describe(folder)["base"]
    return named


def _state(model: LoopModel) -> dict[str, Tensor]:
    return {name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()}


def _same(a: Tensor, b: Tensor | None) -> bool:
    return b is not None and a.dtype == b.dtype and a.shape == b.shape and fingerprint(a) == fingerprint(b)


def _write(model: LoopModel, stored: dict[str, Tensor], folder: Path, *, base: str | None) -> str:
    description = {
        "schema_version": SCHEMA_VERSION,
        "architecture": model.architecture,
        "description": model.describe(),
        "tasks": [
            {"name": task.name, "instructions": task.instructions, "answers": task.answers} for task in model.tasks
        ],
        "temperature": model.temperature,
        "base": base,
        "fingerprints": {name: fingerprint(value) for name, value in sorted(_state(model).items())},
    }
    if model.temperatures:
        description["temperatures"] = model.temperatures
    folder.mkdir(parents=True, exist_ok=True)
    (folder / DESCRIPTION).unlink(missing_ok=True)
    # Cloned, because tensors that share storage are refused.
    _put(folder / TENSORS, save_tensors({name: value.clone() for name, value in sorted(stored.items())}))
    _put(folder / DESCRIPTION, json.dumps(description, indent=1, sort_keys=True, ensure_ascii=False).encode() + b"\n")
    return digest(folder)


def _put(path: Path, data: bytes) -> None:
    partial = path.with_name(path.name + ".partial")
    with partial.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def _read(folder: Path, name: str) -> bytes:
    try:
        return (folder / name).read_bytes()
    except OSError as error:
        raise CheckpointError(f"No checkpoint at {folder}: {error}. Give a folder that `save` has written.") from error


def _describe(folder: Path) -> dict[str, Any]:
    try:
        described = json.loads(_read(folder, DESCRIPTION))
        version = described["schema_version"]
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{folder / DESCRIPTION} is damaged: {error}. Restore the checkpoint.") from error
    if version != SCHEMA_VERSION:
        raise CheckpointError(
            f"{folder} has schema version {version}; this release reads {SCHEMA_VERSION}. "
            "Read it with the release that wrote it and save it again."
        )
    missing = {"architecture", "description", "tasks", "temperature", "base", "fingerprints"} - set(described)
    if missing:
        raise CheckpointError(f"{folder / DESCRIPTION} lacks {sorted(missing)}. Restore the checkpoint.")
    return dict(described)


def _tensors_of(folder: Path, described: Mapping[str, Any]) -> dict[str, Tensor]:
    try:
        stored: dict[str, Tensor] = load_tensors(_read(folder, TENSORS))
    except SafetensorError as error:
        raise CheckpointError(f"{folder / TENSORS} is damaged: {error}. Restore the checkpoint.") from error
    wrong = [name for name, value in stored.items() if described["fingerprints"].get(name) != fingerprint(value)]
    if wrong:
        raise CheckpointError(f"{folder / TENSORS} is damaged at {', '.join(wrong[:3])}. Restore the checkpoint.")
    return stored


def _build(folder: Path, described: Mapping[str, Any]) -> LoopModel:
    architecture = ARCHITECTURES.get(described["architecture"])
    if architecture is None:
        raise CheckpointError(
            f"{folder} holds a model of architecture {described['architecture']!r}, which is not registered "
            f"(have {', '.join(sorted(ARCHITECTURES))}). Import the module that defines it."
        )
    try:
        tasks = [
            TaskSpec(name=task["name"], instructions=tuple(task["instructions"]), answers=tuple(task["answers"]))
            for task in described["tasks"]
        ]
        with torch.random.fork_rng(devices=[]):
            return architecture.build(described["description"], tasks)
    except (TypeError, ValueError, KeyError) as error:
        raise CheckpointError(f"{folder / DESCRIPTION} describes no {architecture.__name__}: {error}.") from error


def _find(base_digest: str, resolve: Resolve | None) -> Path:
    if resolve is None:
        raise CheckpointError(f"The base {base_digest[:12]} is needed. Pass a function that finds it by digest.")
    try:
        folder = resolve(base_digest)
    except (LookupError, OSError) as error:
        raise CheckpointError(f"The base {base_digest[:12]} was not found: {error}. Restore it.") from error
    _check_digest(folder, base_digest)
    return folder


def _check_digest(folder: Path, wanted: str) -> None:
    found = digest(folder)
    if found != wanted:
        raise CheckpointError(f"{folder} has digest {found[:12]}, wanted {wanted[:12]}. Restore the right checkpoint.")
