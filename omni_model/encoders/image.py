"""Images as a grid of patch tokens.

Shapes: B batch, F frames (1 for an image), S side in pixels, S' in cells, C channels of a cell, L patches, D width.
"""

from __future__ import annotations

import math
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


def orientations(x_FCSS: Tensor, bins: int) -> Tensor:
    """Strength of the brightness gradient in each of `bins` directions, [F, bins, S, S], shared between two of them."""
    grey = _blur(x_FCSS.mean(dim=1, keepdim=True))
    padded = nn.functional.pad(grey, (1, 1, 1, 1), mode="replicate")
    across = (padded[:, :, 1:-1, 2:] - padded[:, :, 1:-1, :-2]) / 2
    down = (padded[:, :, 2:, 1:-1] - padded[:, :, :-2, 1:-1]) / 2
    strength = torch.hypot(across, down)
    turn = torch.atan2(down, across) * (bins / (2 * math.pi))
    distance = (turn - torch.arange(bins)[:, None, None]).remainder(bins)
    distance = torch.minimum(distance, bins - distance)
    return strength * (1 - distance).clamp(min=0.0)


def _blur(x_F1SS: Tensor) -> Tensor:
    """Gaussian of 1.5 pixels."""
    kernel = torch.exp(-(torch.arange(-4.0, 5.0).square()) / (2 * 1.5**2))
    kernel = kernel / kernel.sum()
    padded = nn.functional.pad(x_F1SS, (4, 4, 4, 4), mode="replicate")
    return nn.functional.conv2d(nn.functional.conv2d(padded, kernel[None, None, None]), kernel[None, None, :, None])


def cells(x_FCSS: Tensor, cell: int, bins: int) -> Tensor:
    """Cells of `cell` x `cell` pixels: their pixels and their mean gradient strengths, [F, 3 cell^2 + bins, S', S']."""
    pixels = nn.functional.pixel_unshuffle(x_FCSS, cell)
    edges = nn.functional.avg_pool2d(orientations(x_FCSS, bins), cell)
    return torch.cat([pixels, 4.0 * edges], dim=1)


@register_encoder("image")
class ImageEncoder(Encoder):
    """Pixels and oriented gradients of small cells, a linear patch projection, a light residual convolution."""

    last = "mix"

    def __init__(self, width: int, others: Mapping[str, Encoder], *, size: int = 32, patch: int = 8) -> None:
        super().__init__()
        if size % patch or patch % 2:
            raise ValueError(f"image patch must be even and divide size, got {patch} and {size}. Try 8 and 32.")
        self.size, self.cell, self.bins = size, patch // 2, 8
        self.max_tokens = (size // patch) ** 2
        self.patches = nn.Conv2d(3 * self.cell**2 + self.bins, width, kernel_size=2, stride=2)
        self.mix = nn.Conv2d(width, width, kernel_size=3, padding=1)
        self.norm = nn.LayerNorm(width)

    def prepare(self, value: Value) -> Tensor:
        pixels = float_tensor(value, modality="image", ndim=3, shape="[height, width, 3]")
        if pixels.shape[2] != 3 or 0 in pixels.shape:
            raise ValueError(f"image must be [height, width, 3], got {tuple(pixels.shape)}. Convert it to RGB.")
        return self.prepare_frames(pixels[None])

    def prepare_frames(self, pixels_FHWC: Tensor) -> Tensor:
        """Frames to cells, [F, C, S', S']."""
        return cells(resize(pixels_FHWC, self.size), self.cell, self.bins)

    def frames(self, x_NCSS: Tensor) -> Tensor:
        """Prepared frames [N, C, S', S'] to tokens [N, L, D]."""
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
