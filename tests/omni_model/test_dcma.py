"""DCMA equals what it should equal, ignores what is not there, and differentiates."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck

from omni_model.dcma import DCMA, Layout, fold_bias, group_of_tokens

WIDTH, HEADS, GROUPS, CONTEXT = 12, 3, 3, 5
LAYOUT: Layout = ((2, 2), (0, 4), (1, 3))


def make(**changes: object) -> DCMA:
    torch.manual_seed(0)
    settings = {"width": WIDTH, "heads": HEADS, "num_groups": GROUPS, "context_width": CONTEXT, **changes}
    return DCMA(**settings).double()  # type: ignore[arg-type]


def inputs(layout: Layout = LAYOUT, rows: int = 4) -> tuple[Tensor, Tensor, Tensor]:
    """Tokens [B, L, D], a mask with gaps that leaves each row its first token, and a context."""
    rng = torch.Generator().manual_seed(1)
    length = sum(number for _, number in layout)
    x = torch.randn(rows, length, WIDTH, generator=rng, dtype=torch.float64)
    mask = torch.rand(rows, length, generator=rng) < 0.7
    mask[:, 0] = True
    return x, mask, torch.randn(rows, CONTEXT, generator=rng, dtype=torch.float64)


def stir(layer: DCMA) -> DCMA:
    """Give the zero-initialised parameters values, so that they take part."""
    with torch.no_grad():
        layer.bias_HMM.normal_(generator=torch.Generator().manual_seed(2))
        layer.dynamic.weight.normal_(generator=torch.Generator().manual_seed(3))
    return layer


def dense(x: Tensor, mask: Tensor, layer: DCMA, group: int) -> Tensor:
    """Textbook multi-head attention with the projections of one group."""
    q, k, v = (part.unflatten(-1, (HEADS, -1)).transpose(1, 2) for part in layer.qkv.maps[group](x).chunk(3, dim=-1))
    score = q @ k.transpose(-1, -2) * layer.scale
    weight = score.masked_fill(~mask[:, None, None], -math.inf).softmax(dim=-1)
    out: Tensor = layer.out.maps[group]((weight @ v).transpose(1, 2).flatten(2))
    return out


def test_one_modality_with_zero_bias_is_dense_attention() -> None:
    layer, layout = make(), ((1, 9),)
    x, mask, context = inputs(layout)
    torch.testing.assert_close(layer(x, layout, mask, context), dense(x, mask, layer, 1))


def test_tied_weights_with_zero_bias_are_dense_attention() -> None:
    layer = make()
    for projections in (layer.qkv, layer.out):
        for other in projections.maps[1:]:
            other.load_state_dict(projections.maps[0].state_dict())
    x, mask, context = inputs()
    torch.testing.assert_close(layer(x, LAYOUT, mask, context), dense(x, mask, layer, 0))


def test_joint_is_dense_attention_whatever_the_modalities() -> None:
    layer = make(attention="joint", scale="head")
    x, mask, context = inputs()
    assert layer.scale == pytest.approx((WIDTH / HEADS) ** -0.5)
    torch.testing.assert_close(layer(x, LAYOUT, mask, context), dense(x, mask, layer, 0))


def test_the_articles_scale_is_head_width_over_modalities_to_the_minus_half() -> None:
    assert make(scale="article").scale == pytest.approx((WIDTH / HEADS / GROUPS) ** -0.5)


def test_the_seed_preset_is_the_printed_formula() -> None:
    layer = make(attention="seed")
    x, mask, context = inputs()
    group_L = group_of_tokens(LAYOUT)
    projected = torch.stack([layer.project.maps[int(group)](x[:, place]) for place, group in enumerate(group_L)], dim=1)
    score = x @ projected.transpose(1, 2) * (WIDTH / GROUPS) ** -0.5
    expected = score.masked_fill(~mask[:, None], -math.inf).softmax(dim=-1) @ projected
    torch.testing.assert_close(layer(x, LAYOUT, mask, context), expected)


def test_the_folded_bias_is_the_explicit_bias_in_output_and_gradients() -> None:
    rng = torch.Generator().manual_seed(4)
    group_L = group_of_tokens(LAYOUT)
    shape = (2, HEADS, len(group_L), 4)
    tensors = [torch.randn(shape, generator=rng, dtype=torch.float64, requires_grad=True) for _ in range(3)]
    bias = torch.randn(2, HEADS, GROUPS, GROUPS, generator=rng, dtype=torch.float64, requires_grad=True)
    q, k, v = tensors
    explicit = (q @ k.transpose(-1, -2) + bias[:, :, group_L][..., group_L]).softmax(dim=-1) @ v
    wide_q, wide_k, wide_v = fold_bias(q, k, v, bias, group_L)
    folded = torch.nn.functional.scaled_dot_product_attention(wide_q, wide_k, wide_v, scale=1.0)[..., :4]
    torch.testing.assert_close(folded, explicit)
    weight = torch.randn(explicit.shape, generator=rng, dtype=torch.float64)
    one = torch.autograd.grad((explicit * weight).sum(), [*tensors, bias])
    two = torch.autograd.grad((folded * weight).sum(), [*tensors, bias])
    for a, b in zip(one, two, strict=True):
        torch.testing.assert_close(a, b)


def test_padding_changes_nothing() -> None:
    layer = stir(make())
    x, mask, context = inputs()
    blocks = torch.split(x, [2, 4, 3], dim=1)
    masks = torch.split(mask, [2, 4, 3], dim=1)
    padded = torch.cat([torch.nn.functional.pad(block, (0, 0, 0, 2), value=1e6) for block in blocks], dim=1)
    padded_mask = torch.cat([torch.nn.functional.pad(part, (0, 2)) for part in masks], dim=1)
    layout = tuple((group, length + 2) for group, length in LAYOUT)
    parts = torch.split(layer(padded, layout, padded_mask, context), [4, 6, 5], dim=1)
    torch.testing.assert_close(torch.cat([part[:, :-2] for part in parts], dim=1), layer(x, LAYOUT, mask, context))


def test_a_masked_modality_is_the_same_as_one_left_out() -> None:
    layer = stir(make())
    x, mask, context = inputs()
    mask = mask.clone()
    mask[:, 2:6] = False
    keep = [0, 1, 6, 7, 8]
    without = layer(x[:, keep], ((2, 2), (1, 3)), mask[:, keep], context)
    torch.testing.assert_close(layer(x, LAYOUT, mask, context)[:, keep], without)


@pytest.mark.parametrize("attention", ["dcma", "joint", "seed", "multiway"])
@pytest.mark.parametrize("within", [False, True])
def test_a_row_without_tokens_gives_zero_and_no_nan(attention: str, within: bool) -> None:
    layer = make(attention=attention, within=within)
    if attention != "seed":
        for out in layer.out.maps:
            assert isinstance(out, torch.nn.Linear)
            torch.nn.init.zeros_(out.bias)
    x, mask, context = inputs()
    mask[1] = False
    x.requires_grad_()
    y = layer(x, LAYOUT, mask, context)
    assert (y[1] == 0).all()
    y.square().sum().backward()
    assert x.grad is not None
    assert torch.isfinite(y).all()
    assert torch.isfinite(x.grad).all()
    assert all(torch.isfinite(p.grad).all() for p in layer.parameters() if p.grad is not None)


@pytest.mark.parametrize("attention", ["dcma", "joint", "seed", "multiway"])
def test_gradients_are_right_in_double_precision(attention: str) -> None:
    layer = make(attention=attention)
    if attention in ("dcma", "multiway"):
        stir(layer)
    layout: Layout = ((2, 1), (0, 2), (1, 1))
    x, _, context = inputs(layout, rows=2)
    mask = torch.tensor([[True, True, True, True], [True, False, True, False]])
    parameters = list(layer.parameters())

    def call(x: Tensor, context: Tensor, *_: Tensor) -> Tensor:
        y: Tensor = layer(x, layout, mask, context)
        return y

    assert gradcheck(call, (x.requires_grad_(), context.requires_grad_(), *parameters), fast_mode=True)


def test_attention_mass_rows_sum_to_one() -> None:
    layer = stir(make())
    x, mask, context = inputs()
    table = layer.attention_mass(x, LAYOUT, mask, context)
    assert table.shape == (GROUPS, GROUPS)
    torch.testing.assert_close(table.sum(dim=1), torch.ones(GROUPS, dtype=torch.float64))


def test_attention_mass_of_an_absent_modality_is_no_number_and_nobody_looks_at_it() -> None:
    layer = stir(make())
    x, mask, context = inputs()
    mask[:, 2:6] = False
    table = layer.attention_mass(x, LAYOUT, mask, context)
    assert table[0].isnan().all()
    assert (table[1:, 0] == 0).all()


def test_the_dynamic_bias_starts_at_zero_and_depends_on_the_context() -> None:
    layer = make()
    x, mask, context = inputs()
    before = layer(x, LAYOUT, mask, context)
    torch.testing.assert_close(layer(x, LAYOUT, mask, context + 1.0), before)
    stir(layer)
    assert not torch.allclose(layer(x, LAYOUT, mask, context), layer(x, LAYOUT, mask, context + 1.0))


def test_multiway_shares_the_projections_and_has_the_bias() -> None:
    layer = make(attention="multiway", strength="static")
    x, mask, context = inputs()
    torch.testing.assert_close(layer(x, LAYOUT, mask, context), dense(x, mask, layer, 0))
    with torch.no_grad():
        layer.bias_HMM.normal_(generator=torch.Generator().manual_seed(2))
    assert not torch.allclose(layer(x, LAYOUT, mask, context), dense(x, mask, layer, 0))


def test_without_strength_there_is_no_bias_and_a_static_one_ignores_the_input() -> None:
    assert make(strength="none").bias(torch.zeros(1, CONTEXT)) is None
    layer = make(strength="static")
    x, mask, context = inputs()
    with torch.no_grad():
        layer.bias_HMM.normal_(generator=torch.Generator().manual_seed(2))
    torch.testing.assert_close(layer(x, LAYOUT, mask, context), layer(x, LAYOUT, mask, context + 1.0))
    assert not hasattr(layer, "dynamic")
