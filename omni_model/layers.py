"""The parts of the interaction layers around DCMA: block, pooling, and the context that steers the attention.

Shapes: B batch, L tokens, D width, M modality groups.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import layer_norm, relu

from omni_model.config import ModelConfig
from omni_model.dcma import DCMA, Layout, PerGroup, group_of_tokens


class GroupedNorm(nn.Module):
    """Layer norm with a gain and an offset for each group."""

    def __init__(self, num_groups: int, width: int) -> None:
        super().__init__()
        self.gain_MD = nn.Parameter(torch.ones(num_groups, width))
        self.offset_MD = nn.Parameter(torch.zeros(num_groups, width))

    def forward(self, x_BLD: Tensor, group_L: Tensor) -> Tensor:
        x_BLD = layer_norm(x_BLD, x_BLD.shape[-1:])
        if self.gain_MD.shape[0] == 1:
            return x_BLD * self.gain_MD[0] + self.offset_MD[0]
        return x_BLD * self.gain_MD[group_L] + self.offset_MD[group_L]


CUT = -1e4
"""Added to a score, it leaves a weight of exactly 0 beside any other."""


def links_of(config: ModelConfig, layer: int) -> Tensor | None:
    """The logarithms of a layer's link strengths, [M, M]; None where all are 1.

    >>> links_of(ModelConfig(modalities=("image",), links={"0.image>instruction": 0.0}), 0).tolist()
    [[0.0, -10000.0], [0.0, 0.0]]
    """
    groups = (*config.modalities, "instruction")
    table = torch.zeros(len(groups), len(groups))
    for name, strength in config.links.items():
        number, _, pair = name.partition(".")
        if int(number) == layer:
            one, _, other = pair.partition(">")
            table[groups.index(one), groups.index(other)] = math.log(strength) if strength else CUT
    return table if bool(table.any()) else None


class Block(nn.Module):
    """One transformer layer: DCMA, then a feed-forward network; both residual, each group with its own weights."""

    def __init__(
        self, config: ModelConfig, num_groups: int, context_width: int, *, within: bool, layer: int = 0
    ) -> None:
        super().__init__()
        shared = config.attention in ("joint", "seed")
        norms = 1 if shared else num_groups
        self.norm_attention = GroupedNorm(norms, config.width)
        self.attention = DCMA(
            width=config.width,
            heads=config.heads,
            num_groups=num_groups,
            context_width=context_width,
            attention=config.attention,
            strength=config.strength,
            scale=config.scale,
            within=within,
            links=None if within else links_of(config, layer),
        )
        self.norm_ffn = GroupedNorm(norms, config.width)
        self.rise = PerGroup(num_groups, config.width, config.ffn_width, shared=shared)
        self.fall = PerGroup(num_groups, config.ffn_width, config.width, shared=shared)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x_BLD: Tensor, layout: Layout, mask_BL: Tensor, context_BC: Tensor) -> Tensor:
        group_L = group_of_tokens(layout).to(x_BLD.device)
        attended = self.attention(self.norm_attention(x_BLD, group_L), layout, mask_BL, context_BC)
        x_BLD = x_BLD + self.dropout(attended)
        hidden = relu(self.rise(self.norm_ffn(x_BLD, group_L), layout))
        y_BLD: Tensor = x_BLD + self.dropout(self.fall(hidden, layout))
        return y_BLD

    def attention_mass(self, x_BLD: Tensor, layout: Layout, mask_BL: Tensor, context_BC: Tensor) -> Tensor:
        """Mean attention between groups, [M, M], for the input that `forward` would get."""
        group_L = group_of_tokens(layout).to(x_BLD.device)
        normed_BLD = self.norm_attention(x_BLD, group_L)
        return self.attention.attention_mass(normed_BLD, layout, mask_BL, context_BC)


class Pool(nn.Module):
    """Attention pooling of one block of tokens into `count` vectors; a row without tokens gives exactly 0."""

    def __init__(self, width: int, count: int = 1) -> None:
        super().__init__()
        self.score = nn.Linear(width, count)

    def forward(self, x_BLD: Tensor, mask_BL: Tensor) -> Tensor:
        score_BLN = self.score(x_BLD).masked_fill(~mask_BL[..., None], -torch.inf)
        there_B11 = mask_BL.any(dim=1)[:, None, None]
        share_BLN = torch.where(there_B11, score_BLN, 0.0).softmax(dim=1) * there_B11
        return share_BLN.transpose(1, 2) @ x_BLD


class Segments(nn.Module):
    """One vector for a block of tokens: pooled in `count` segments along the block, then mixed by a linear map.

    Segment k looks at the relative place (k + 1/2) / count through a soft window, and at the tokens through a learned
    score. So a readout may differ from place to place, as a linear readout of the whole block would, at a fixed cost.
    """

    centre: Tensor

    def __init__(self, width: int, count: int) -> None:
        super().__init__()
        self.score = nn.Linear(width, count)
        self.mix = nn.Linear(count * width, width)
        self.register_buffer("centre", (torch.arange(count) + 0.5) / count, persistent=False)

    def forward(self, x_BLD: Tensor, mask_BL: Tensor) -> Tensor:
        """[B, D]; a row without tokens gives what zeros give."""
        place_BL = (mask_BL.cumsum(dim=1) - 0.5) / mask_BL.sum(dim=1, keepdim=True).clamp(min=1)
        count = self.score.out_features
        gap_BLN = (place_BL[..., None] - self.centre) * count
        score_BLN = (self.score(x_BLD) - gap_BLN.square()).masked_fill(~mask_BL[..., None], -torch.inf)
        there_B11 = mask_BL.any(dim=1)[:, None, None]
        share_BLN = torch.where(there_B11, score_BLN, 0.0).softmax(dim=1) * there_B11
        y_BD: Tensor = self.mix((share_BLN.transpose(1, 2) @ x_BLD).flatten(1))
        return y_BD


def context_of(x_BLD: Tensor, layout: Layout, mask_BL: Tensor, num_groups: int) -> Tensor:
    """What G_h sees of the input, [B, D + 2M]: the mean token, and each group's share of the tokens and density.

    The density of a group is the spread of its tokens about their mean, root mean square over tokens and width: a
    block whose tokens all say the same has none. Groups that are not there count 0.
    """
    weight_BL = mask_BL.to(x_BLD.dtype)
    count_B1 = weight_BL.sum(dim=1, keepdim=True).clamp(min=1.0)
    mean_BD = (x_BLD * weight_BL[..., None]).sum(dim=1) / count_B1
    share = x_BLD.new_zeros(x_BLD.shape[0], num_groups)
    density = x_BLD.new_zeros(x_BLD.shape[0], num_groups)
    lengths = [length for _, length in layout]
    for (group, _), block, weight in zip(
        layout, torch.split(x_BLD, lengths, dim=1), torch.split(weight_BL, lengths, dim=1), strict=True
    ):
        number_B = weight.sum(dim=1).clamp(min=1.0)
        centre_BD = (block * weight[..., None]).sum(dim=1) / number_B[:, None]
        square_BL = (block - centre_BD[:, None]).square().mean(dim=-1) * weight
        share[:, group] = weight.sum(dim=1) / count_B1[:, 0]
        density[:, group] = (square_BL.sum(dim=1) / number_B + 1e-9).sqrt()
    return torch.cat([mean_BD, share, density], dim=1)
