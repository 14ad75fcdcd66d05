"""The same model written plainly: what one writes first, kept to compare with. Same weights, same answers.

Attention spells out scores, bias, mask and softmax, [B, H, L, L]; every modality's map is applied to every token and
the right one picked; layers within modalities mask what is another's.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from omni_model.dcma import DCMA, Layout, PerGroup, group_of_tokens
from omni_model.features import FeatureSet
from omni_model.layers import Block
from omni_model.model import OmniModel
from omni_model.protocol import INSTRUCTION, Batch


class PlainMaps(nn.Module):
    """Every group's map on every token, in a Python loop; then each token takes its own."""

    def __init__(self, maps: PerGroup) -> None:
        super().__init__()
        self.maps = maps.maps

    def forward(self, x_BLD: Tensor, layout: Layout) -> Tensor:
        """What `PerGroup` gives."""
        group_L = group_of_tokens(layout)
        y_BLD: Tensor = self.maps[0](x_BLD)
        for group, each in enumerate(list(self.maps)[1:], start=1):
            y_BLD = torch.where((group_L == group)[None, :, None], each(x_BLD), y_BLD)
        return y_BLD


class PlainAttention(nn.Module):
    """DCMA with its scores written out."""

    def __init__(self, layer: DCMA) -> None:
        super().__init__()
        self.layer = layer
        self.qkv, self.out = PlainMaps(layer.qkv), PlainMaps(layer.out)

    def forward(self, x_BLD: Tensor, layout: Layout, mask_BL: Tensor, context_BC: Tensor) -> Tensor:
        """What `DCMA` gives."""
        layer, group_L = self.layer, group_of_tokens(layout)
        q, k, v = self.qkv(x_BLD, layout).unflatten(-1, (3, layer.heads, -1)).permute(2, 0, 3, 1, 4)
        score_BHLL = q @ k.transpose(-1, -2) * layer.scale
        bias = layer.bias(context_BC)
        if bias is not None:
            score_BHLL = score_BHLL + bias[:, :, group_L][..., group_L]
        seen_BLL = mask_BL[:, None, :].expand(-1, mask_BL.shape[1], -1)
        if layer.within:
            seen_BLL = seen_BLL & (group_L[:, None] == group_L[None, :])
        weight = score_BHLL.masked_fill(~seen_BLL[:, None], -torch.inf).softmax(dim=-1).nan_to_num(0.0)
        y_BLD: Tensor = self.out((weight @ v).transpose(1, 2).flatten(2), layout)
        return y_BLD


def plain(model: OmniModel) -> OmniModel:
    """A copy of the model that computes plainly."""
    copied = copy.deepcopy(model)
    for block in (*copied.layers.within, *copied.layers.across):
        assert isinstance(block, Block)
        assert isinstance(block.attention, DCMA)
        block.attention = PlainAttention(block.attention)  # type: ignore[assignment]
        block.rise, block.fall = PlainMaps(block.rise), PlainMaps(block.fall)  # type: ignore[assignment]
    return copied


def padded(batch: Batch, rows: FeatureSet) -> Batch:
    """The batch with every modality's block padded to the longest of all rows, as fixed shapes want it."""
    values, masks = dict(batch.values), dict(batch.masks)
    for name in values:
        if name != INSTRUCTION:
            more = int(rows.blocks[name].lengths.max()) - values[name].shape[1]
            values[name] = pad(values[name], (0, 0, 0, more))
            masks[name] = pad(masks[name], (0, more))
    return replace(batch, values=values, masks=masks)


def waste(batches: Sequence[Batch]) -> float:
    """Share of the places in padded blocks that hold no token."""
    places = sum(mask.numel() for batch in batches for mask in batch.masks.values())
    tokens = sum(int(mask.sum()) for batch in batches for mask in batch.masks.values())
    return 1.0 - tokens / places
