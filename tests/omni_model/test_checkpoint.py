"""Checkpoints restore bit for bit, and say what is wrong when they cannot."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from omni_model.checkpoint import DESCRIPTION, TENSORS, base_of, digest, load, save, save_delta
from omni_model.errors import CheckpointError
from omni_model.model import OmniModel
from omni_model.protocol import LoopModel
from omni_model.sample import TaskSpec


def same(one: LoopModel, two: LoopModel) -> bool:
    a, b = one.state_dict(), two.state_dict()
    return (
        a.keys() == b.keys()
        and all(torch.equal(a[name], b[name]) for name in a)
        and ((one.temperature, one.temperatures, one.tasks) == (two.temperature, two.temperatures, two.tasks))
    )


def moved(model: OmniModel, amount: float) -> OmniModel:
    """The same model after some tuning."""
    with torch.no_grad():
        model.layers.query.add_(amount)
    model.temperature = 1.0 + amount
    model.temperatures = {"image": 2.0 + amount}
    return model


@pytest.fixture
def base(model: OmniModel, tmp_path: Path) -> tuple[Path, str]:
    folder = tmp_path / "base"
    return folder, save(model, folder)


def find(*folders: Path) -> Callable[[str], Path]:
    by_digest = {digest(folder): folder for folder in folders}
    return by_digest.__getitem__


def test_a_full_checkpoint_restores_bit_for_bit(model: OmniModel, base: tuple[Path, str]) -> None:
    folder, _ = base
    restored = load(folder)
    assert same(restored, model)
    assert not restored.training
    assert base_of(folder) is None


def test_values_that_are_hard_to_print_restore_bit_for_bit(model: OmniModel, tmp_path: Path) -> None:
    with torch.no_grad():
        model.layers.query[:4] = torch.tensor([-0.0, float("nan"), float("inf"), 1e-45])
    save(model, tmp_path)
    restored = load(tmp_path).get_parameter("layers.query")
    assert torch.equal(restored.view(torch.int32), model.layers.query.view(torch.int32))


def test_a_delta_holds_only_what_changed_and_restores_bit_for_bit(
    model: OmniModel, base: tuple[Path, str], tmp_path: Path
) -> None:
    folder, base_digest = base
    before = load(folder)
    save_delta(moved(model, 0.5), base_digest, before, tmp_path / "delta")
    assert same(load(tmp_path / "delta", base=find(folder)), model)
    assert (tmp_path / "delta" / TENSORS).stat().st_size < 1000
    assert base_of(tmp_path / "delta") == base_digest


def test_a_delta_of_a_delta_is_kept_against_the_full_base(
    model: OmniModel, base: tuple[Path, str], tmp_path: Path
) -> None:
    folder, base_digest = base
    first = save_delta(moved(model, 0.5), base_digest, folder, tmp_path / "first")
    with torch.no_grad():
        model.layers.head.hidden.bias.add_(1.0)
    save_delta(model, first, tmp_path / "first", tmp_path / "second", resolve=find(folder))
    assert base_of(tmp_path / "second") == base_digest
    assert same(load(tmp_path / "second", base=find(folder)), model)


def test_a_delta_may_hold_new_answers(model: OmniModel, base: tuple[Path, str], tmp_path: Path) -> None:
    folder, base_digest = base
    model.add_task(TaskSpec(name="sign", instructions=("?",), answers=("plus", "minus")))
    save_delta(model, base_digest, folder, tmp_path / "delta")
    restored = load(tmp_path / "delta", base=find(folder))
    assert same(restored, model)
    assert restored.answers[-1] == "minus"


def test_equal_models_have_equal_digests_and_others_do_not(model: OmniModel, tmp_path: Path) -> None:
    one, two = save(model, tmp_path / "one"), save(model, tmp_path / "two")
    assert one == two == digest(tmp_path / "one")
    assert save(moved(model, 1e-6), tmp_path / "three") != one


def test_loading_does_not_touch_the_random_state(base: tuple[Path, str]) -> None:
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    load(base[0])
    assert torch.equal(torch.rand(2), expected)


def test_nothing_there_is_an_error_with_a_mend(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"No checkpoint at .*Give a folder that `save` has written"):
        load(tmp_path / "nowhere")


@pytest.mark.parametrize("name", [DESCRIPTION, TENSORS])
@pytest.mark.parametrize("harm", ["empty", "cut", "flipped"])
def test_a_damaged_file_is_an_error_with_a_mend(base: tuple[Path, str], name: str, harm: str) -> None:
    path = base[0] / name
    data = bytearray(path.read_bytes())
    if harm == "flipped":
        data[len(data) * 3 // 4] ^= 1
    path.write_bytes(b"" if harm == "empty" else data[: len(data) // 2] if harm == "cut" else bytes(data))
    with pytest.raises(CheckpointError, match=r"[Rr]estore|Retrain"):
        load(base[0])


def test_another_schema_version_is_refused(base: tuple[Path, str]) -> None:
    edit(base[0], schema_version=99)
    with pytest.raises(CheckpointError, match="schema version 99; this release reads 1"):
        load(base[0])


def test_an_unregistered_architecture_is_refused(base: tuple[Path, str]) -> None:
    edit(base[0], architecture="elsewhere")
    with pytest.raises(CheckpointError, match="'elsewhere', which is not registered"):
        load(base[0])


def test_a_description_of_another_shape_is_refused(base: tuple[Path, str]) -> None:
    described = json.loads((base[0] / DESCRIPTION).read_text())
    edit(base[0], description={**described["description"], "width": 32})
    with pytest.raises(CheckpointError, match="does not fit omni"):
        load(base[0])
    edit(base[0], description={"colour": "red"})
    with pytest.raises(CheckpointError, match="describes no OmniModel"):
        load(base[0])


def test_a_delta_without_its_base_is_refused(model: OmniModel, base: tuple[Path, str], tmp_path: Path) -> None:
    folder, base_digest = base
    save_delta(moved(model, 0.5), base_digest, folder, tmp_path / "delta")
    with pytest.raises(CheckpointError, match="Pass a function that finds it"):
        load(tmp_path / "delta")
    with pytest.raises(CheckpointError, match="was not found"):
        load(tmp_path / "delta", base=find())


def test_a_base_with_another_digest_is_refused(model: OmniModel, base: tuple[Path, str], tmp_path: Path) -> None:
    folder, base_digest = base
    save_delta(moved(model, 0.5), base_digest, folder, tmp_path / "delta")
    save(model, tmp_path / "other")
    with pytest.raises(CheckpointError, match="has digest"):
        load(tmp_path / "delta", base=lambda _: tmp_path / "other")
    with pytest.raises(CheckpointError, match="has digest"):
        save_delta(model, base_digest, tmp_path / "other", tmp_path / "again")


def test_a_base_that_is_a_delta_itself_is_refused(model: OmniModel, base: tuple[Path, str], tmp_path: Path) -> None:
    folder, base_digest = base
    first = save_delta(moved(model, 0.5), base_digest, folder, tmp_path / "first")
    save_delta(moved(model, 0.2), first, load(tmp_path / "first", base=find(folder)), tmp_path / "second")
    with pytest.raises(CheckpointError, match="is a delta itself"):
        load(tmp_path / "second", base=lambda _: tmp_path / "first")


def test_an_interrupted_save_leaves_no_checkpoint(
    model: OmniModel, base: tuple[Path, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full_disk(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("omni_model.checkpoint._put", full_disk)
    with pytest.raises(OSError, match="No space"):
        save(model, base[0])
    with pytest.raises(CheckpointError, match="No checkpoint"):
        load(base[0])


def edit(folder: Path, **changes: object) -> None:
    path = folder / DESCRIPTION
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
