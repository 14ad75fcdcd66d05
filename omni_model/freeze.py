"""The freeze contract: which tensors may move, and proof that the others did not.

Names are module paths, matched part by part: `layers` covers `layers.head.weight`, and never `layers_extra.weight`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from hashlib import blake2b

import torch
from torch import Tensor, nn

from omni_model.errors import FrozenLayersMoved


def is_under(name: str, paths: Iterable[str]) -> bool:
    """Whether a tensor's name lies at or below one of the module paths.

    >>> is_under("layers.head.weight", ["layers"]), is_under("layers_extra.weight", ["layers"])
    (True, False)
    """
    return any(name == path or name.startswith(path + ".") for path in paths)


def check_paths(model: nn.Module, paths: Iterable[str]) -> None:
    """Refuse a path that is neither a module nor a parameter of the model."""
    modules = dict(model.named_modules())
    parameters = dict(model.named_parameters())
    for path in paths:
        if path not in parameters and (path not in modules or not path):
            top = ", ".join(sorted(name for name, _ in model.named_children()))
            raise ValueError(f"The model has no module {path!r}. Give a path that starts with one of: {top}.")


def tensors(model: nn.Module) -> dict[str, Tensor]:
    """Every parameter and buffer by name, buffers that are not saved included."""
    return {**dict(model.named_parameters()), **dict(model.named_buffers())}


def frozen_names(model: nn.Module, moving: Iterable[str]) -> tuple[str, ...]:
    """Names of the parameters and buffers that lie under none of the moving module paths."""
    paths = tuple(moving)
    return tuple(name for name in tensors(model) if not is_under(name, paths))


def tensor_bytes(tensor: Tensor) -> bytes:
    """A tensor's content, independent of its layout and device."""
    flat = tensor.detach().to("cpu").contiguous().reshape(-1)
    return flat.view(torch.uint8).numpy().tobytes() if flat.numel() else b""


def fingerprint(tensor: Tensor) -> str:
    """BLAKE2b of dtype, shape and content: equal only for tensors that are equal bit for bit."""
    digest = blake2b(f"{tensor.dtype} {tuple(tensor.shape)} ".encode(), digest_size=16)
    digest.update(tensor_bytes(tensor))
    return digest.hexdigest()


def fingerprints(model: nn.Module, names: Iterable[str]) -> dict[str, str]:
    """Fingerprint of each named tensor."""
    have = tensors(model)
    return {name: fingerprint(have[name]) for name in names}


def combine(prints: Mapping[str, str]) -> str:
    """One digest of many fingerprints; their order does not matter."""
    digest = blake2b(digest_size=16)
    for name in sorted(prints):
        digest.update(f"{name} {prints[name]}\n".encode())
    return digest.hexdigest()


def digest(model: nn.Module, names: Iterable[str]) -> str:
    """One digest of the named parameters and buffers."""
    return combine(fingerprints(model, names))


def check_unmoved(before: Mapping[str, str], after: Mapping[str, str]) -> None:
    """Raise `FrozenLayersMoved` with the names whose fingerprints differ, or are on one side only."""
    moved = sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))
    if moved:
        raise FrozenLayersMoved(tuple(moved))


@contextmanager
def only_moving(model: nn.Module, moving: Iterable[str]) -> Iterator[dict[str, str]]:
    """Let only the tensors under `moving` learn; prove on leaving that the others are bit for bit what they were.

    Yields the fingerprints of the frozen tensors. Frozen modules are not switched to training mode by this; gradients
    are asked for as before once it is left.
    """
    paths = tuple(moving)
    check_paths(model, paths)
    wanted = {name: parameter.requires_grad for name, parameter in model.named_parameters()}
    before = fingerprints(model, frozen_names(model, paths))
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(is_under(name, paths))
    try:
        yield before
        check_unmoved(before, fingerprints(model, frozen_names(model, paths)))
    finally:
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(wanted.get(name, True))


def train_mode(model: nn.Module, moving: Iterable[str]) -> None:
    """Training mode for the moving modules only, so that dropout and running statistics of frozen ones keep still."""
    paths = tuple(moving)
    model.eval()
    for name, module in model.named_modules():
        if is_under(name, paths):
            module.train()
