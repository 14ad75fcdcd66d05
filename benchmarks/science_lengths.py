"""What a longer sequence costs: a layer across modalities, forward and backward, its time and what it keeps."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.harness import Figure, figure
from omni_model.config import ModelConfig
from omni_model.dcma import DCMA, Layout, group_of_tokens
from omni_model.gated import GatedBlock
from omni_model.layers import Block

ROWS, GROUPS, QUERY = 4, 4, 3
KINDS: Mapping[str, Mapping[str, Any]] = {
    "dcma": {},
    "dcma, bias as a mask": {},
    "joint": {"attention": "joint", "scale": "head"},
    "gated": {"attention": "gated", "scale": "head"},
    "late fusion": {"attention": "late", "scale": "head"},
    "mixture": {"strength": "none", "scale": "head"},
    "article": {"attention": "seed"},
}


class MaskedBias(nn.Module):
    """DCMA's layer with its bias written out as an L x L mask: the plain way, kept to compare with."""

    def __init__(self, layer: DCMA) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x_BLD: Tensor, layout: Layout, mask_BL: Tensor, context_BC: Tensor) -> Tensor:
        """What the folded form gives."""
        q, k, v = self.layer._project(x_BLD, layout)
        group_L = group_of_tokens(layout)
        bias = self.layer.bias(context_BC)
        assert bias is not None
        wide_BHLL = bias[:, :, group_L][..., group_L].masked_fill(~mask_BL[:, None, None], -torch.inf)
        y = nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=wide_BHLL, scale=1.0)
        y_BLD: Tensor = self.layer.out(y.transpose(1, 2).flatten(2), layout)
        return y_BLD


def lengths_table(
    config: ModelConfig, lengths: Sequence[int], say: Callable[[str], None], repeats: int = 7
) -> tuple[dict[str, Any], dict[str, Figure]]:
    """The table, and time and memory over those of joint attention at the longest sequence."""
    rows, last = [], {}
    for name in KINDS:
        cells = []
        for length in lengths:
            seconds, kept = cost(name, config, length, repeats)
            cells.append(f"{1e3 * seconds:.1f} ms, {kept / 2**20:.1f} MiB")
            last[name] = (seconds, kept)
        rows.append([name, *cells])
        say(f"lengths {name}: {cells}")
    figures = {}
    for name in ("dcma", "dcma, bias as a mask"):
        key = name.replace(", ", "_").replace(" ", "_")
        figures[f"{key}_time_ratio_to_joint"] = figure(last[name][0] / last["joint"][0], "ratio", n=repeats)
        figures[f"{key}_memory_ratio_to_joint"] = figure(last[name][1] / last["joint"][1], "ratio", n=1)
    head = ["one layer, forward and backward", *(f"{length:,} tokens" for length in lengths)]
    title = f"What a longer sequence costs: {ROWS} rows, width {config.width}, one CPU thread; median of {repeats}"
    return {"title": title, "head": head, "rows": rows}, figures


def cost(name: str, config: ModelConfig, length: int, repeats: int) -> tuple[float, int]:
    """Median seconds of CPU, and bytes that the forward pass keeps for the backward pass."""
    torch.manual_seed(0)
    shape = replace(config, dropout=0.0, **KINDS[name])
    layer: nn.Module
    if shape.attention == "gated":
        layer = GatedBlock(shape, GROUPS)
    else:
        layer = Block(shape, GROUPS, config.width, within=shape.attention == "late")
    if name == "dcma, bias as a mask":
        assert isinstance(layer.attention, DCMA)
        layer.attention = MaskedBias(layer.attention)
    part = (length - QUERY) // (GROUPS - 1)
    layout: Layout = ((GROUPS - 1, length - part * (GROUPS - 1)), *((group, part) for group in range(GROUPS - 1)))
    x = torch.randn(ROWS, length, config.width, requires_grad=True)
    mask = torch.rand(ROWS, length) < 0.9
    context = torch.randn(ROWS, config.width)
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    def step() -> None:
        layer(x, layout, mask, context).square().mean().backward()

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        y = layer(x, layout, mask, context).square().mean()
    y.backward()
    step()
    times = []
    for _ in range(repeats):
        began = time.process_time()
        step()
        times.append(time.process_time() - began)
    return median(times), sum(kept.values())
