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
    """Log-mel frames [T, C] of a waveform, standardised over the clip so that its loudness does not matter.

    An empty waveform gives no frames; silence gives zeros.
    """
    if wave_N.numel() == 0:
        return torch.zeros(0, bands)
    padded = nn.functional.pad(wave_N, (0, max(0, WINDOW - wave_N.numel())))
    spectrum = torch.stft(padded, WINDOW, HOP, window=_window(), center=False, return_complex=True)
    mel_TC = torch.log(spectrum.abs().square().T @ mel_filters(bands) + 1e-6)
    centred = mel_TC - mel_TC.mean()
    return centred / centred.std(correction=0).clamp(min=1e-3)


@functools.cache
def _window() -> Tensor:
    return torch.hann_window(WINDOW)


@register_encoder("audio")
class AudioEncoder(Encoder):
    """Log-mel frames, a strided projection (a token each 40 ms) and a residual convolution."""

    last = "mix"

    def __init__(
        self, width: int, others: Mapping[str, Encoder], *, bands: int = 40, stride: int = 4, max_tokens: int = 100
    ) -> None:
        super().__init__()
        self.bands, self.stride, self.max_tokens = bands, stride, max_tokens
        self.frames = nn.Conv1d(bands, width, kernel_size=2 * stride + 1, stride=stride, padding=stride)
        self.mix = nn.Conv1d(width, width, kernel_size=3, padding=1)
        self.norm = nn.LayerNorm(width)

    def prepare(self, value: Value) -> Tensor:
        wave = float_tensor(value, modality="audio", ndim=1, shape="[samples]")
        return pool_to(log_mel(wave, self.bands), self.max_tokens * self.stride)

    def forward(self, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        x_BDL = self.frames((x * mask[..., None]).transpose(1, 2))
        mask_BL = shrink_mask(mask, self.stride, x_BDL.shape[2])
        x_BDL = x_BDL * mask_BL[:, None]
        tokens_BLD: Tensor = self.norm((x_BDL + nn.functional.gelu(self.mix(x_BDL))).transpose(1, 2))
        return tokens_BLD, mask_BL
