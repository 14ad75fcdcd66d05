"""Audio: a log-mel front end at 8 kHz, then a strided convolution.

Shapes: B batch, T frames, N samples, K FFT bins, C mel bands, L tokens, D width.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from omni_model.encoders.registry import Encoder, Value, float_tensor, pool_to, register_encoder, shrink_mask

RATE_HZ = 8000
WINDOW = 256
"""Samples a frame: 32 ms."""
HOP = 80
"""Samples between two frames: 10 ms."""


def hertz_to_mel(hertz: float) -> float:
    """The HTK mel scale.

    >>> round(hertz_to_mel(1000.0))
    1000
    """
    return 2595.0 * math.log10(1.0 + hertz / 700.0)


@functools.cache
def mel_filters(bands: int, low_hz: float = 60.0, high_hz: float = 3900.0) -> Tensor:
    """Triangular filters [K, C] on the mel scale, each with a peak of 1."""
    points = torch.linspace(hertz_to_mel(low_hz), hertz_to_mel(high_hz), bands + 2, dtype=torch.float64)
    edges = (700.0 * (10.0 ** (points / 2595.0) - 1.0))[:, None]
    bins = torch.linspace(0.0, RATE_HZ / 2, WINDOW // 2 + 1, dtype=torch.float64)
    rising = (bins - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - bins) / (edges[2:] - edges[1:-1])
    return torch.minimum(rising, falling).clamp(min=0.0).T.float().contiguous()


def log_mel(wave_N: Tensor, bands: int) -> Tensor:
    """Log-mel frames [T, C] of a waveform; an empty waveform gives no frames."""
    if wave_N.numel() == 0:
        return torch.zeros(0, bands)
    padded = nn.functional.pad(wave_N, (0, max(0, WINDOW - wave_N.numel())))
    spectrum = torch.stft(padded, WINDOW, HOP, window=_window(), center=False, return_complex=True)
    return torch.log(spectrum.abs().square().T @ mel_filters(bands) + 1e-6)


def above_floor(mel_TC: Tensor) -> Tensor:
    """What rises above each band's median over time, which is the noise where most of the time nothing is said."""
    if not mel_TC.shape[0]:
        return mel_TC
    return (mel_TC - mel_TC.median(dim=0).values).clamp(min=0.0)


def active_part(mel_TC: Tensor, radius: float = 2.0) -> tuple[float, float]:
    """First and last frame, as fractions of a frame index, of the part in which something happens.

    Centre and spread of the loudness above its median, squared so that noise weighs little: centre +- radius * spread.

    >>> [round(frame, 2) for frame in active_part(torch.eye(21)[:, 10:11], radius=2.0)]
    [7.17, 12.83]
    """
    num_frames = mel_TC.shape[0]
    loud_T = nn.functional.avg_pool1d(mel_TC.mean(dim=1)[None], 5, 1, 2, count_include_pad=False)[0]
    weight_T = (loud_T - loud_T.median()).clamp(min=0.0).square()
    total = float(weight_T.sum())
    if total <= 0.0:
        return 0.0, num_frames - 1.0
    place_T = torch.arange(num_frames, dtype=mel_TC.dtype)
    centre = float((weight_T * place_T).sum()) / total
    spread = math.sqrt(float((weight_T * (place_T - centre).square()).sum()) / total)
    half = max(radius * spread, 2.0)
    return centre - half, centre + half


def stretch(mel_TC: Tensor, first: float, last: float, num_frames: int) -> Tensor:
    """`num_frames` frames evenly spread from `first` to `last`, linearly interpolated; outside the clip they are 0."""
    place = torch.linspace(first, last, num_frames)
    low = place.floor()
    share = (place - low)[:, None]
    padded = nn.functional.pad(mel_TC, (0, 0, 1, 1))
    index = (low.long() + 1).clamp(0, padded.shape[0] - 1)
    return padded[index] * (1 - share) + padded[(index + 1).clamp(max=padded.shape[0] - 1)] * share


@functools.cache
def _window() -> Tensor:
    return torch.hann_window(WINDOW)


@register_encoder("audio")
class AudioEncoder(Encoder):
    """Log-mel frames above the noise floor, a strided projection and a residual convolution.

    The active part of a clip is cut out. A short one is stretched to `frames` frames, so that neither its place in the
    clip nor its tempo matters; a longer one keeps its rate, down to `max_tokens` tokens.
    """

    last = "mix"

    def __init__(
        self,
        width: int,
        others: Mapping[str, Encoder],
        *,
        bands: int = 40,
        frames: int = 96,
        stride: int = 4,
        max_tokens: int = 100,
    ) -> None:
        super().__init__()
        self.bands, self.num_frames, self.stride, self.max_tokens = bands, frames, stride, max_tokens
        self.frames = nn.Conv1d(bands, width, kernel_size=2 * stride + 1, stride=stride, padding=stride)
        self.mix = nn.Conv1d(width, width, kernel_size=3, padding=1)
        self.norm = nn.LayerNorm(width)

    def prepare(self, value: Value) -> Tensor:
        wave = float_tensor(value, modality="audio", ndim=1, shape="[samples]")
        mel_TC = above_floor(log_mel(wave, self.bands))
        if not mel_TC.shape[0]:
            return mel_TC
        first, last = active_part(mel_TC)
        num_frames = max(self.num_frames, min(mel_TC.shape[0], math.ceil(last - first)))
        part_TC = pool_to(stretch(mel_TC, first, last, num_frames), self.max_tokens * self.stride)
        return part_TC / part_TC.square().mean().sqrt().clamp(min=1e-3)

    def forward(self, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        x_BDL = self.frames((x * mask[..., None]).transpose(1, 2))
        mask_BL = shrink_mask(mask, self.stride, x_BDL.shape[2])
        x_BDL = x_BDL * mask_BL[:, None]
        tokens_BLD: Tensor = self.norm((x_BDL + nn.functional.gelu(self.mix(x_BDL))).transpose(1, 2))
        return tokens_BLD, mask_BL
