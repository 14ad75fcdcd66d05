"""Gated and late fusion: what sees what, and that the gates start shut."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck

from omni_model.features import Batcher, encode_samples
from omni_model.gated import GatedBlock
from omni_model.model import OmniModel
from omni_model.sample import Sample
from tests.omni_model.conftest import SHAPES, TINY
from tests.omni_model.test_model import stirred

LAYOUT = ((3, 2), (0, 3), (1, 2))
"""The query's block, then two of three modalities."""


def gated(*, open_gates: bool) -> GatedBlock:
    torch.manual_seed(0)
    block = GatedBlock(replace(TINY, attention="gated"), 4).double().eval()
    with torch.no_grad():
        for gate in (block.gate_attention, block.gate_ffn):
            gate.fill_(0.7 if open_gates else 0.0)
    return block


def tokens(rows: int = 3) -> tuple[Tensor, Tensor]:
    rng = torch.Generator().manual_seed(1)
    mask = torch.rand(rows, 7, generator=rng) < 0.7
    mask[:, 0] = True
    return torch.randn(rows, 7, TINY.width, generator=rng, dtype=torch.float64), mask


def test_the_gates_start_shut() -> None:
    block = gated(open_gates=False)
    x, mask = tokens()
    nothing = x.new_zeros(len(x), 0)
    torch.testing.assert_close(block(x, LAYOUT, mask, nothing), block.inner(x, LAYOUT, mask, nothing))


def test_only_the_query_looks_across() -> None:
    block = gated(open_gates=True)
    x, _ = tokens()
    mask = torch.ones(len(x), 7, dtype=torch.bool)
    other = x.clone()
    other[:, 5:] = other[:, 5:].flip(-1)
    one, two = (block(each, LAYOUT, mask, x.new_zeros(len(x), 0)) for each in (x, other))
    torch.testing.assert_close(one[:, 2:5], two[:, 2:5])
    assert not torch.allclose(one[:, :2], two[:, :2])


def test_a_query_without_any_modality_gets_no_nan() -> None:
    block = gated(open_gates=True)
    x, mask = tokens()
    mask[:, 2:] = False
    alone = block(x[:, :2], ((3, 2),), mask[:, :2], x.new_zeros(len(x), 0))
    together = block(x, LAYOUT, mask, x.new_zeros(len(x), 0))
    assert torch.isfinite(together).all()
    assert torch.isfinite(alone).all()


def test_gradients_of_the_gated_block_are_right() -> None:
    block = gated(open_gates=True)
    x, mask = tokens(2)
    names = ("cross_q.weight", "cross_kv.weight", "gate_attention", "gate_ffn")
    parameters = [block.get_parameter(name) for name in names]

    def call(x: Tensor, *_: Tensor) -> Tensor:
        y: Tensor = block(x, LAYOUT, mask, x.new_zeros(len(x), 0))
        return y

    assert gradcheck(call, (x.requires_grad_(), *parameters), fast_mode=True)


@pytest.mark.parametrize("attention", ["gated", "late", "multiway"])
def test_the_table_of_attention_has_rows_that_sum_to_one(attention: str, samples: list[Sample]) -> None:
    torch.manual_seed(0)
    model = stirred(OmniModel(replace(TINY, attention=attention, layers=2), [SHAPES])).eval()  # type: ignore[arg-type]
    table = model.attention_mass(Batcher(model, encode_samples(model, samples))(torch.arange(len(samples))))
    assert table.shape == (0 if attention == "late" else 2, 4, 4)
    torch.testing.assert_close(table.sum(dim=-1), torch.ones(table.shape[:2]))


def test_late_fusion_has_no_layer_across_and_as_many_layers_in_all(samples: list[Sample]) -> None:
    model = OmniModel(replace(TINY, attention="late", layers=2), [SHAPES]).eval()
    assert (len(model.layers.within), len(model.layers.across)) == (TINY.within_layers + 2, 0)
    features = encode_samples(model, samples)
    output = model(Batcher(model, features)(torch.arange(len(samples))))
    assert torch.isfinite(output.logits).all()
    other = model(Batcher(model, features.without({"image"}))(torch.arange(len(samples))))
    torch.testing.assert_close(output.modality_logits["text"], other.modality_logits["text"])


def test_a_strength_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ValueError, match="strength must be one of dynamic, static, none"):
        replace(TINY, strength="loud")  # type: ignore[arg-type]
