"""What an encoder is, and the register of encoders by modality.

Shapes: B batch, T time steps (or characters, frames), L tokens, D width.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from omni_model.config import ModelConfig

Value = str | np.ndarray


class Encoder(nn.Module, ABC):
    """Turns the values of one modality into tokens. Made as `Cls(width, others, **options)`.

    `others` holds the encoders built before it, so that video can send its frames through the image encoder.
    """

    max_tokens: int
    """Most tokens that one value gives."""
    last: str = ""
    """Path, within the encoder, of its last projection: what the `sandwich` mode tunes. Empty: none."""

    @abstractmethod
    def prepare(self, value: Value) -> Tensor:
        """Fixed, deterministic transform of one value into [T, ...]; T = 0 means that nothing is there.

        Does not change `value`. Raises `ValueError` if the value has the wrong type or shape or holds NaN.
        """

    @abstractmethod
    def forward(self, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """[B, T, ...] and its bool mask [B, T] to tokens [B, L, D] and their mask [B, L].

        A row's tokens depend on that row alone, and not on how far it was padded.
        """


E = TypeVar("E", bound=type[Encoder])
ENCODERS: dict[str, type[Encoder]] = {}


def register_encoder(modality: str) -> Callable[[E], E]:
    """Class decorator: `@register_encoder("depth")`. A modality has one encoder; a second is refused."""

    def register(cls: E) -> E:
        if modality in ENCODERS:
            raise ValueError(f"Modality {modality} has the encoder {ENCODERS[modality].__name__}. Use another name.")
        ENCODERS[modality] = cls
        return cls

    return register


def build_encoders(config: ModelConfig) -> nn.ModuleDict:
    """The encoders of the configured modalities, and text's in any case, since the instruction is text."""
    built: dict[str, Encoder] = {}
    for modality in dict.fromkeys((*config.modalities, "text")):
        if modality not in ENCODERS:
            raise ValueError(f"No encoder for modality {modality!r}. Registered: {', '.join(sorted(ENCODERS))}.")
        options: Mapping[str, Any] = config.encoder_options.get(modality, {})
        built[modality] = ENCODERS[modality](config.width, dict(built), **options)
    return nn.ModuleDict(built)


def float_tensor(value: Value, *, modality: str, ndim: int, shape: str) -> Tensor:
    """A copied float32 tensor of a numeric array with `ndim` axes, checked for NaN and infinity."""
    if not isinstance(value, np.ndarray) or value.ndim != ndim:
        got = f"an array of shape {value.shape}" if isinstance(value, np.ndarray) else type(value).__name__
        raise ValueError(f"{modality} must be an array {shape}, got {got}. Decode it with its codec first.")
    if not np.issubdtype(value.dtype, np.number) or np.issubdtype(value.dtype, np.complexfloating):
        raise ValueError(f"{modality} must hold real numbers, got dtype {value.dtype}. Convert it to float32.")
    array = value.astype(np.float32)
    if not np.isfinite(array).all():
        count = int((~np.isfinite(array)).sum())
        raise ValueError(f"{modality} holds {count} values that are NaN or infinite. Repair it or leave it out.")
    return torch.from_numpy(array)


def pool_to(x_T: Tensor, max_steps: int) -> Tensor:
    """Average neighbouring steps by the smallest whole factor that leaves at most `max_steps` of them.

    >>> pool_to(torch.arange(6.0)[:, None], 3)[:, 0].tolist()
    [0.5, 2.5, 4.5]
    """
    num_steps = x_T.shape[0]
    factor = -(-num_steps // max_steps)
    if factor <= 1:
        return x_T
    whole = num_steps // factor * factor
    pooled = x_T[:whole].reshape(num_steps // factor, factor, *x_T.shape[1:]).mean(dim=1)
    return pooled if whole == num_steps else torch.cat([pooled, x_T[whole:].mean(dim=0, keepdim=True)])


def shrink_mask(mask_BT: Tensor, stride: int, num_tokens: int) -> Tensor:
    """Mask of tokens that each cover `stride` steps: token j is there if step j * stride is."""
    return mask_BT[:, ::stride][:, :num_tokens]
