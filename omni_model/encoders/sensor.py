"""Sensors: several channels over time, through strided one-dimensional convolutions.

Shapes: B batch, T steps, C channels, L tokens, D width.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from omni_model.encoders.registry import Encoder, Value, float_tensor, pool_to, register_encoder, shrink_mask


@register_encoder("sensor")
class SensorEncoder(Encoder):
    """Values are compressed as sign(x) log(1 + |x|), so that no unit or outlier drowns the rest.

    A recording with fewer channels than `channels` is told from one with silent channels by a flag for each channel.
    """

    last = "mix"

    def __init__(
        self, width: int, others: Mapping[str, Encoder], *, channels: int = 8, stride: int = 4, max_tokens: int = 64
    ) -> None:
        super().__init__()
        self.channels, self.stride, self.max_tokens = channels, stride, max_tokens
        self.steps = nn.Conv1d(2 * channels, width, kernel_size=2 * stride + 1, stride=stride, padding=stride)
        self.mix = nn.Conv1d(width, width, kernel_size=3, padding=1)
        self.norm = nn.LayerNorm(width)

    def prepare(self, value: Value) -> Tensor:
        x_TC = float_tensor(value, modality="sensor", ndim=2, shape="[steps, channels]")
        num_channels = x_TC.shape[1]
        if not 0 < num_channels <= self.channels:
            raise ValueError(
                f"sensor must have 1 to {self.channels} channels, got {num_channels}. "
                "Raise encoder_options['sensor']['channels'] before training."
            )
        x_TC = pool_to(x_TC.sign() * x_TC.abs().log1p(), self.max_tokens * self.stride)
        there_TC = torch.ones_like(x_TC)
        missing = (0, self.channels - num_channels)
        return torch.cat([nn.functional.pad(x_TC, missing), nn.functional.pad(there_TC, missing)], dim=1)

    def forward(self, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        x_BDL = self.steps((x * mask[..., None]).transpose(1, 2))
        mask_BL = shrink_mask(mask, self.stride, x_BDL.shape[2])
        x_BDL = x_BDL * mask_BL[:, None]
        tokens_BLD: Tensor = self.norm((x_BDL + nn.functional.gelu(self.mix(x_BDL))).transpose(1, 2))
        return tokens_BLD, mask_BL
