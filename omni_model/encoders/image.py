"""Images as a grid of patch tokens.

Shapes: B batch, F frames (1 for an image), S side in pixels, L patches, D width.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from omni_model.encoders.registry import Encoder, Value, float_tensor, register_encoder


def resize(pixels_FHWC: Tensor, size: int) -> Tensor:
    """uint8-ranged pixels [F, H, W, 3] to [F, 3, S, S], about zero mean and unit spread; aspect is not kept."""
    x = pixels_FHWC.permute(0, 3, 1, 2) / 64.0 - 2.0
    if x.shape[-2:] == (size, size):
        return x.contiguous()
    return nn.functional.interpolate(x, size=(size, size), mode="bilinear", antialias=True, align_corners=False)


@register_encoder("image")
class ImageEncoder(Encoder):
    """A linear patch projection plus a light residual convolution over neighbouring patches."""

    last = "mix"

    def __init__(self, width: int, others: Mapping[str, Encoder], *, size: int = 32, patch: int = 8) -> None:
        super().__init__()
        if size % patch:
            raise ValueError(f"image patch must divide size, got {patch} and {size}. Try 8 and 32.")
        self.size, self.side = size, size // patch
        self.max_tokens = self.side**2
        self.patches = nn.Conv2d(3, width, kernel_size=patch, stride=patch)
        self.mix = nn.Conv2d(width, width, kernel_size=3, padding=1)
        self.norm = nn.LayerNorm(width)

    def prepare(self, value: Value) -> Tensor:
        pixels = float_tensor(value, modality="image", ndim=3, shape="[height, width, 3]")
        if pixels.shape[2] != 3 or 0 in pixels.shape:
            raise ValueError(f"image must be [height, width, 3], got {tuple(pixels.shape)}. Convert it to RGB.")
        return resize(pixels[None], self.size)

    def frames(self, x_NCSS: Tensor) -> Tensor:
        """Frames [N, 3, S, S] to tokens [N, L, D]."""
        grid = self.patches(x_NCSS)
        mixed = grid + nn.functional.gelu(self.mix(grid))
        tokens: Tensor = self.norm(mixed.flatten(2).transpose(1, 2))
        return tokens

    def forward(self, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        tokens_BLD = self.frames(x[:, 0])
        return tokens_BLD, mask[:, :1].expand(-1, tokens_BLD.shape[1])


def as_frames(value: Value) -> Tensor:
    """Checked pixels [F, H, W, 3] of a video."""
    pixels = float_tensor(value, modality="video", ndim=4, shape="[frames, height, width, 3]")
    if pixels.shape[3] != 3 or 0 in pixels.shape[1:]:
        raise ValueError(f"video must be [frames, height, width, 3], got {tuple(pixels.shape)}. Convert it to RGB.")
    return pixels


def evenly(num_frames: int, at_most: int) -> Tensor:
    """Indices of at most `at_most` frames, evenly spread, first and last included.

    >>> evenly(9, 3).tolist()
    [0, 4, 8]
    """
    if num_frames <= at_most:
        return torch.arange(num_frames)
    return torch.linspace(0, num_frames - 1, at_most).round().long()
