"""Augmentation of encoded batches: the same for every way of training, and a pure function of its generator.

Shapes: B batch, L tokens, D width.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from omni_model.config import TrainConfig
from omni_model.protocol import INSTRUCTION, Batch


def augment(batch: Batch, config: TrainConfig, rng: torch.Generator) -> Batch:
    """Hide modalities and tokens and add noise. The instruction stays whole; a row with something keeps something."""
    names = [name for name in batch.values if name != INSTRUCTION]
    if not names:
        return batch
    hidden_BM = hide(torch.stack([batch.masks[name].any(dim=1) for name in names], dim=1), config.modality_dropout, rng)
    values, masks = dict(batch.values), dict(batch.masks)
    for column, name in enumerate(names):
        mask_BL = batch.masks[name] & ~hidden_BM[:, column, None]
        masks[name] = mask_BL & ~hide(mask_BL, config.token_dropout, rng)
        values[name] = add_noise(batch.values[name], config.feature_noise, rng)
    return replace(batch, values=values, masks=masks)


def hide(there_BN: Tensor, probability: float, rng: torch.Generator) -> Tensor:
    """Which of the things that are there to hide, bool like `there_BN`; a row never loses all that it has."""
    if probability == 0.0:
        return torch.zeros_like(there_BN)
    drawn_BN = torch.rand(there_BN.shape, generator=rng).to(there_BN.device)
    hidden_BN = there_BN & (drawn_BN < probability)
    keeps_one_B1 = (there_BN & ~hidden_BN).any(dim=1, keepdim=True)
    return hidden_BN & keeps_one_B1


def add_noise(x_BLD: Tensor, share: float, rng: torch.Generator) -> Tensor:
    """Gaussian noise of `share` of the block's own root mean square."""
    if share == 0.0:
        return x_BLD
    spread = x_BLD.detach().square().mean().sqrt()
    return x_BLD + share * spread * torch.randn(x_BLD.shape, generator=rng).to(x_BLD.device)
