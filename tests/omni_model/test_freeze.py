"""Frozen means frozen: parameters and buffers, by module path."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from omni_model.errors import FrozenLayersMoved
from omni_model.freeze import digest, frozen_names, is_under, only_moving, tensors, train_mode


class Toy(nn.Module):
    """`layers` may move; `layers_extra` only looks as if."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Linear(2, 2)
        self.layers_extra = nn.BatchNorm1d(2)
        self.register_buffer("hidden", torch.zeros(1), persistent=False)


def test_names_are_matched_as_module_paths_never_as_substrings() -> None:
    names = frozen_names(Toy(), ["layers"])
    assert "layers.weight" not in names
    assert "layers_extra.weight" in names
    assert not is_under("encoders.image2.weight", ["encoders.image"])
    assert is_under("encoders.image", ["encoders.image"])


def test_buffers_are_frozen_too_saved_or_not() -> None:
    names = frozen_names(Toy(), ["layers"])
    assert {"layers_extra.running_mean", "layers_extra.num_batches_tracked", "hidden"} <= set(names)


def test_what_is_under_a_moving_path_may_move() -> None:
    toy = Toy()
    with only_moving(toy, ["layers"]):
        toy.layers.weight.data.add_(1.0)


@pytest.mark.parametrize("name", ["layers_extra.weight", "layers_extra.running_mean", "hidden"])
def test_a_frozen_tensor_that_moves_is_named(name: str) -> None:
    toy = Toy()
    with pytest.raises(FrozenLayersMoved, match=name), only_moving(toy, ["layers"]):
        tensors(toy)[name].data.add_(1e-6)


def test_even_a_changed_sign_of_zero_counts_as_moved() -> None:
    toy = Toy()
    with pytest.raises(FrozenLayersMoved), only_moving(toy, ["layers"]):
        toy.get_buffer("hidden").neg_()


def test_only_moving_parameters_ask_for_gradients_and_it_is_put_back() -> None:
    toy = Toy()
    toy.layers_extra.bias.requires_grad_(False)
    with only_moving(toy, ["layers"]):
        assert [name for name, p in toy.named_parameters() if p.requires_grad] == ["layers.weight", "layers.bias"]
    asking = {name for name, p in toy.named_parameters() if p.requires_grad}
    assert asking == {"layers.weight", "layers.bias", "layers_extra.weight"}


def test_frozen_modules_stay_in_evaluation_mode() -> None:
    toy = Toy()
    train_mode(toy, ["layers"])
    assert toy.layers.training
    assert not toy.layers_extra.training


def test_an_unknown_path_is_refused() -> None:
    with (
        pytest.raises(ValueError, match=r"no module 'layer'.*layers, layers_extra"),
        only_moving(Toy(), ["layer"]),
    ):
        pass


def test_a_digest_tells_dtype_shape_and_content_apart() -> None:
    toy = Toy()
    names = list(tensors(toy))
    before = digest(toy, names)
    assert digest(toy, reversed(names)) == before
    toy.layers.weight.data[0, 0] += 1e-7
    assert digest(toy, names) != before
