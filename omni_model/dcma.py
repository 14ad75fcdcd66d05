"""DCMA, dynamic cross-modal attention (S1): attention whose projections and strengths depend on the modalities.

A token of modality m is projected by the q, k, v, o of m. The score of token i for token j gets a bias that depends on
the pair of modalities (m_i, m_j): a learned table B_h plus G_h(c), a function of the input's context c that starts at
zero. The bias is folded into M extra dimensions of the heads,

    q' = [q * scale ; B_h[m_i, :] + G_h(c)[m_i, :]],   k' = [k ; onehot(m_j)],   score = q' . k',

which gives the same scores and gradients as an explicit bias, without an L x L tensor, so that the fused kernel runs.

Shapes: B batch, L tokens, D width, H heads, E head width, M modality groups. Tokens stand in blocks, one for each group
(`Layout`), so that projecting is: split once, project, concatenate.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot, pad, scaled_dot_product_attention

from omni_model.config import Attention, Scale, Strength

Layout = tuple[tuple[int, int], ...]
"""The blocks of a sequence in order: (index of the modality group, number of tokens)."""


def group_of_tokens(layout: Layout) -> Tensor:
    """Index of each token's group, [L].

    >>> group_of_tokens(((2, 1), (0, 3))).tolist()
    [2, 0, 0, 0]
    """
    return torch.tensor([group for group, length in layout for _ in range(length)], dtype=torch.int64)


def fold_bias(
    q_BHLE: Tensor, k_BHLE: Tensor, v_BHLE: Tensor, bias_BHMM: Tensor, group_L: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Queries, keys and values with M further dimensions, whose plain product carries the bias.

    Values are padded with zeros to the same width, since the fused kernel wants one width; cut the output back to E.
    """
    num_groups = bias_BHMM.shape[-1]
    num_rows, num_heads = q_BHLE.shape[:2]
    row_BHLM = bias_BHMM[:, :, group_L].expand(num_rows, num_heads, -1, -1)
    column_LM = one_hot(group_L, num_groups).to(k_BHLE.dtype)
    column_BHLM = column_LM.expand(num_rows, num_heads, -1, -1)
    return (
        torch.cat([q_BHLE, row_BHLM], dim=-1),
        torch.cat([k_BHLE, column_BHLM], dim=-1),
        pad(v_BHLE, (0, num_groups)),
    )


def attend(q_BHLE: Tensor, k_BHLE: Tensor, v_BHLE: Tensor, mask_BL: Tensor) -> Tensor:
    """Attention of scaled queries over the keys that are there; a row that may see nothing gives exactly 0."""
    return scaled_dot_product_attention(q_BHLE, k_BHLE, v_BHLE, attn_mask=mask_BL[:, None, None, :], scale=1.0)


class PerGroup(nn.Module):
    """One linear map for each group, or one shared by all, applied block by block."""

    def __init__(self, num_groups: int, width_in: int, width_out: int, *, shared: bool, bias: bool = True) -> None:
        super().__init__()
        count = 1 if shared else num_groups
        self.maps = nn.ModuleList(nn.Linear(width_in, width_out, bias=bias) for _ in range(count))

    def forward(self, x_BLD: Tensor, layout: Layout) -> Tensor:
        if len(self.maps) == 1:
            shared: Tensor = self.maps[0](x_BLD)
            return shared
        blocks = torch.split(x_BLD, [length for _, length in layout], dim=1)
        return torch.cat([self.maps[group](block) for (group, _), block in zip(layout, blocks, strict=True)], dim=1)


class DCMA(nn.Module):
    """Multi-head attention across modality groups.

    `attention` is `dcma`; or `joint`, ordinary dense attention; or `seed`, the article's plain form, one head in which
    x is scored against proj_m(x) and proj_m(x) is what is summed up. `multiway` shares the projections and keeps the
    bias, and every other name projects by group without one.
    `strength` says what the bias is made of: `dynamic` B_h + G_h(c), `static` B_h, `none` nothing.
    `scale` is `article`, (E / M)^-0.5, or `head`, E^-0.5. `within` restricts each token to its own block. `links`
    [M, M] is added to the bias and not learnt; it comes with the configuration, not with the weights.
    """

    links: Tensor | None

    def __init__(
        self,
        *,
        width: int,
        heads: int,
        num_groups: int,
        context_width: int,
        attention: Attention = "dcma",
        strength: Strength = "dynamic",
        scale: Scale = "article",
        within: bool = False,
        links: Tensor | None = None,
    ) -> None:
        super().__init__()
        self.register_buffer("links", links, persistent=False)
        self.attention, self.within, self.num_groups = attention, within, num_groups
        self.heads = 1 if attention == "seed" else heads
        head_width = width // self.heads
        self.scale = ((head_width / num_groups) if scale == "article" else head_width) ** -0.5
        if attention == "seed":
            self.project = PerGroup(num_groups, width, width, shared=False, bias=False)
        else:
            shared = attention in ("joint", "multiway")
            self.qkv = PerGroup(num_groups, width, 3 * width, shared=shared)
            self.out = PerGroup(num_groups, width, width, shared=shared)
        self.strength = strength if attention in ("dcma", "multiway") and not within else "none"
        if self.strength != "none":
            self.bias_HMM = nn.Parameter(torch.zeros(heads, num_groups, num_groups))
        if self.strength == "dynamic":
            self.dynamic = nn.Linear(context_width, heads * num_groups * num_groups)
            nn.init.zeros_(self.dynamic.weight)
            nn.init.zeros_(self.dynamic.bias)

    def forward(self, x_BLD: Tensor, layout: Layout, mask_BL: Tensor, context_BC: Tensor) -> Tensor:
        """[B, L, D] to [B, L, D]. `mask_BL` is True where a token is there."""
        q, k, v = self._project(x_BLD, layout)
        if self.within:
            y_BHLE = _attend_within(q, k, v, mask_BL, layout)
        else:
            bias = self.bias(context_BC)
            if bias is not None:
                head_width = v.shape[-1]
                q, k, v = fold_bias(q, k, v, bias, group_of_tokens(layout).to(x_BLD.device))
                y_BHLE = attend(q, k, v, mask_BL)[..., :head_width]
            else:
                y_BHLE = attend(q, k, v, mask_BL)
        y_BLD = y_BHLE.transpose(1, 2).flatten(2)
        return y_BLD if self.attention == "seed" else self.out(y_BLD, layout)

    def bias(self, context_BC: Tensor) -> Tensor | None:
        """Logit bias [B, H, M, M] between groups ([1, H, M, M] if static), or None where there is none."""
        if self.strength == "none":
            return None
        bias_BHMM = self.bias_HMM[None]
        if self.strength == "dynamic":
            dynamic_BHMM: Tensor = self.dynamic(context_BC)
            bias_BHMM = bias_BHMM + dynamic_BHMM.unflatten(-1, (self.heads, self.num_groups, self.num_groups))
        return bias_BHMM if self.links is None else bias_BHMM + self.links

    @torch.no_grad()
    def attention_mass(self, x_BLD: Tensor, layout: Layout, mask_BL: Tensor, context_BC: Tensor) -> Tensor:
        """Mean attention that tokens of group i give to group j, [M, M]: rows sum to 1, NaN where i has no token."""
        q, k, _ = self._project(x_BLD, layout)
        group_L = group_of_tokens(layout).to(x_BLD.device)
        score_BHLL = q @ k.transpose(-1, -2)
        bias = self.bias(context_BC)
        if bias is not None:
            score_BHLL = score_BHLL + bias[:, :, group_L][..., group_L]
        seen_BLL = mask_BL[:, None, :].expand(-1, mask_BL.shape[1], -1)
        if self.within:
            seen_BLL = seen_BLL & (group_L[:, None] == group_L[None, :])
        weight_BLL = score_BHLL.masked_fill(~seen_BLL[:, None], -torch.inf).softmax(dim=-1).mean(dim=1)
        to_group_BLM = weight_BLL @ one_hot(group_L, self.num_groups).to(weight_BLL.dtype)
        rows = [to_group_BLM[mask_BL & (group_L == group)].mean(dim=0) for group in range(self.num_groups)]
        return torch.stack(rows)

    def _project(self, x_BLD: Tensor, layout: Layout) -> tuple[Tensor, Tensor, Tensor]:
        """Scaled queries, keys and values, each [B, H, L, E]."""
        if self.attention == "seed":
            p_BHLE = self.project(x_BLD, layout)[:, None]
            return x_BLD[:, None] * self.scale, p_BHLE, p_BHLE
        q, k, v = self.qkv(x_BLD, layout).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        return q * self.scale, k, v


def _attend_within(q: Tensor, k: Tensor, v: Tensor, mask_BL: Tensor, layout: Layout) -> Tensor:
    lengths = [length for _, length in layout]
    blocks = zip(
        *(torch.split(x, lengths, dim=2) for x in (q, k, v)), torch.split(mask_BL, lengths, dim=1), strict=True
    )
    return torch.cat([attend(*block) for block in blocks], dim=2)
