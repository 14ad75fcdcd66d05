"""Gated cross-attention in the manner of Flamingo (Alayrac et al. 2022): only the query's block looks across.

    q <- q + tanh(a) CrossAttention(q, tokens of all modalities);   q <- q + tanh(b) FFN(q)

with a = b = 0 at the start, so that the layer begins as the layer within modalities that follows it. The modalities'
own tokens never see each other.

Shapes: B batch, L tokens (Q of them the query's, K the modalities'), D width, H heads, E head width, M groups.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import relu

from omni_model.config import ModelConfig
from omni_model.dcma import Layout, attend, group_of_tokens
from omni_model.layers import Block


class GatedBlock(nn.Module):
    """A gated look from the query's block at all modalities, then one layer within each block.

    The query is the last group, and its block the first of the layout.
    """

    def __init__(self, config: ModelConfig, num_groups: int) -> None:
        super().__init__()
        self.heads, self.num_groups = config.heads, num_groups
        self.norm_query, self.norm_tokens = nn.LayerNorm(config.width), nn.LayerNorm(config.width)
        self.cross_q = nn.Linear(config.width, config.width)
        self.cross_kv = nn.Linear(config.width, 2 * config.width)
        self.cross_out = nn.Linear(config.width, config.width)
        self.norm_ffn = nn.LayerNorm(config.width)
        self.rise, self.fall = nn.Linear(config.width, config.ffn_width), nn.Linear(config.ffn_width, config.width)
        self.gate_attention, self.gate_ffn = nn.Parameter(torch.zeros(())), nn.Parameter(torch.zeros(()))
        self.dropout = nn.Dropout(config.dropout)
        self.inner = Block(config, num_groups, 0, within=True)

    def forward(self, x_BLD: Tensor, layout: Layout, mask_BL: Tensor, context_BC: Tensor) -> Tensor:
        """[B, L, D] to [B, L, D]; without any modality's token the query stays as it is until the layer within."""
        num_query = self._num_query(layout)
        query_BQD, tokens_BKD = x_BLD[:, :num_query], x_BLD[:, num_query:]
        if tokens_BKD.shape[1]:
            q, k, v = self._project(query_BQD, tokens_BKD)
            looked_BQD = self.cross_out(attend(q, k, v, mask_BL[:, num_query:]).transpose(1, 2).flatten(2))
            query_BQD = query_BQD + self.gate_attention.tanh() * self.dropout(looked_BQD)
        hidden = relu(self.rise(self.norm_ffn(query_BQD)))
        query_BQD = query_BQD + self.gate_ffn.tanh() * self.dropout(self.fall(hidden))
        y_BLD: Tensor = self.inner(torch.cat([query_BQD, tokens_BKD], dim=1), layout, mask_BL, context_BC[:, :0])
        return y_BLD

    @torch.no_grad()
    def attention_mass(self, x_BLD: Tensor, layout: Layout, mask_BL: Tensor, context_BC: Tensor) -> Tensor:
        """Mean attention between groups, [M, M]: a modality looks at itself, the query at the modalities."""
        group_L, num_query = group_of_tokens(layout), self._num_query(layout)
        table = torch.full((self.num_groups, self.num_groups), torch.nan)
        for group in range(self.num_groups):
            if bool((mask_BL & (group_L == group)).any()):
                table[group] = torch.eye(self.num_groups)[group]
        seen_BK = mask_BL[:, num_query:]
        rows_B = seen_BK.any(dim=1)
        if bool(rows_B.any()):
            q, k, _ = self._project(x_BLD[rows_B, :num_query], x_BLD[rows_B, num_query:])
            score = (q @ k.transpose(-1, -2)).masked_fill(~seen_BK[rows_B][:, None, None], -torch.inf)
            to_token_K = score.softmax(dim=-1).mean(dim=(0, 1, 2))
            table[-1] = torch.zeros(self.num_groups).index_add(0, group_L[num_query:], to_token_K.float())
        return table

    def _num_query(self, layout: Layout) -> int:
        assert layout[0][0] == self.num_groups - 1
        return layout[0][1]

    def _project(self, query_BQD: Tensor, tokens_BKD: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Scaled queries [B, H, Q, E], keys and values [B, H, K, E]."""
        q = self.cross_q(self.norm_query(query_BQD)).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        both = self.cross_kv(self.norm_tokens(tokens_BKD)).unflatten(-1, (2, self.heads, -1))
        k, v = both.permute(2, 0, 3, 1, 4)
        return q * q.shape[-1] ** -0.5, k, v
