"""Training is deterministic, resumes bit for bit after a kill, and tuning keeps its promise."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from omni_model.config import DwaConfig, ElasticConfig, TrainConfig
from omni_model.elastic import mixed, tune
from omni_model.epochs import EpochStats, FitReport, discard
from omni_model.errors import CheckpointError, FrozenLayersMoved
from omni_model.evaluate import predict
from omni_model.features import FeatureSet, concatenate, encode_samples, prepare_samples
from omni_model.model import OmniModel
from omni_model.resume import FILE
from omni_model.sample import Sample
from omni_model.train import fit
from tests.omni_model.conftest import SHAPES, TINY, make_sample

FIT = TrainConfig(epochs=6, batch_rows=8, checkpoint_every=2)
TUNE = ElasticConfig(epochs=6, batch_rows=8, checkpoint_every=2)


class Killed(Exception):
    """Stands for kill -9 between two epochs."""


def kill_after(epoch: int) -> Callable[[EpochStats], None]:
    def on_epoch(stats: EpochStats) -> None:
        if stats.epoch == epoch:
            raise Killed

    return on_epoch


def fresh() -> OmniModel:
    torch.manual_seed(0)
    return OmniModel(TINY, [SHAPES])


def losses(report: FitReport) -> list[tuple[float, float]]:
    return [(row["train_loss"], row["val_loss"]) for row in report.history]


def same_weights(one: OmniModel, two: OmniModel) -> bool:
    pairs = zip(one.state_dict().values(), two.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs) and one.temperature == two.temperature


@pytest.fixture
def rows() -> list[Sample]:
    return [make_sample(number) for number in range(30)]


def run_tune(
    model: OmniModel,
    rows: list[Sample],
    config: ElasticConfig = TUNE,
    on_epoch: Callable[[EpochStats], None] = discard,
    folder: Path | None = None,
    seed: int = 3,
) -> FitReport:
    new, replay, val = (encode_samples(model, part) for part in (rows[:12], rows[12:20], rows[20:]))
    return tune(model, new, replay, val, config, seed=seed, on_epoch=on_epoch, checkpoint_dir=folder)


def test_the_model_learns(rows: list[Sample]) -> None:
    model = fresh()
    report = fit(model, rows[:20], rows[20:], replace(FIT, epochs=30, learning_rate=1e-2), seed=0)
    assert report.history[-1]["train_loss"] < report.history[0]["train_loss"]
    assert predict(model, rows[20:]).accuracy > 0.8
    assert not model.training


def test_the_same_seed_gives_the_same_losses_and_weights(rows: list[Sample]) -> None:
    one, two = fresh(), fresh()
    first = fit(one, rows[:20], rows[20:], FIT, seed=1)
    torch.rand(5)
    second = fit(two, rows[:20], rows[20:], FIT, seed=1)
    assert losses(first) == losses(second)
    assert same_weights(one, two)


def test_another_seed_gives_other_losses(rows: list[Sample]) -> None:
    one, two = fit(fresh(), rows, [], FIT, seed=1), fit(fresh(), rows, [], FIT, seed=2)
    assert [row["train_loss"] for row in one.history] != [row["train_loss"] for row in two.history]


def test_training_leaves_the_callers_random_state_alone(rows: list[Sample]) -> None:
    model = fresh()
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    fit(model, rows[:8], [], replace(FIT, epochs=1), seed=0)
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize("epoch", [1, 2, 3, 5])
def test_a_killed_fit_resumes_bit_for_bit(rows: list[Sample], tmp_path: Path, epoch: int) -> None:
    config = replace(FIT, loss="dwa", dwa=DwaConfig(ema=0.9, deviation="signed_lag"))
    whole, killed = fresh(), fresh()
    expected = fit(whole, rows[:20], rows[20:], config, seed=1)
    with pytest.raises(Killed):
        fit(killed, rows[:20], rows[20:], config, seed=1, on_epoch=kill_after(epoch), checkpoint_dir=tmp_path)
    resumed = fresh()
    report = fit(resumed, rows[:20], rows[20:], config, seed=1, checkpoint_dir=tmp_path)
    assert losses(report) == losses(expected)
    assert report.samples_seen == expected.samples_seen
    assert same_weights(resumed, whole)


@pytest.mark.parametrize("epoch", [1, 4])
def test_a_killed_tune_resumes_bit_for_bit(rows: list[Sample], tmp_path: Path, epoch: int) -> None:
    whole, killed, resumed = fresh(), fresh(), fresh()
    expected = run_tune(whole, rows)
    with pytest.raises(Killed):
        run_tune(killed, rows, on_epoch=kill_after(epoch), folder=tmp_path)
    report = run_tune(resumed, rows, folder=tmp_path)
    assert losses(report) == losses(expected)
    assert same_weights(resumed, whole)


def test_a_training_does_not_resume_from_another_ones_checkpoint(rows: list[Sample], tmp_path: Path) -> None:
    fit(fresh(), rows[:20], [], FIT, seed=1, checkpoint_dir=tmp_path)
    with pytest.raises(CheckpointError, match="belongs to another training"):
        fit(fresh(), rows[:20], [], FIT, seed=2, checkpoint_dir=tmp_path)


@pytest.mark.parametrize("content", [b"", b"\x00" * 40, b"torn"])
def test_a_damaged_training_checkpoint_is_named(rows: list[Sample], tmp_path: Path, content: bytes) -> None:
    (tmp_path / FILE).write_bytes(content)
    with pytest.raises(CheckpointError, match=r"cannot be read.*Delete it"):
        fit(fresh(), rows[:20], [], FIT, seed=1, checkpoint_dir=tmp_path)


def test_training_stops_when_validation_no_longer_improves(rows: list[Sample]) -> None:
    wrong = [replace(row, answer=SHAPES.answers[(number + 1) % 3]) for number, row in enumerate(rows[20:])]
    report = fit(fresh(), rows[:20], wrong, replace(FIT, epochs=100, patience=3, learning_rate=1e-2), seed=0)
    assert report.epochs == report.best_epoch + 3 < 100


def test_without_validation_rows_the_last_weights_are_kept(rows: list[Sample]) -> None:
    report = fit(fresh(), rows[:20], [], FIT, seed=0)
    assert report.best_epoch == report.epochs == 6
    assert np.isnan(report.best_val)


def test_training_without_any_answer_is_refused(rows: list[Sample]) -> None:
    unlabelled = [replace(row, answer=None) for row in rows]
    with pytest.raises(ValueError, match="None of 30 training samples has an answer"):
        fit(fresh(), unlabelled, [], FIT, seed=0)
    with pytest.raises(ValueError, match="No new row has an answer"):
        run_tune(fresh(), unlabelled)


def test_an_answer_outside_the_tasks_set_is_refused(rows: list[Sample]) -> None:
    with pytest.raises(ValueError, match="Sample s0: 'cube' is no answer of task shape"):
        fit(fresh(), [replace(rows[0], answer="cube")], [], FIT, seed=0)


def test_a_report_counts_the_work(rows: list[Sample]) -> None:
    model = fresh()
    report = fit(model, rows[:20], [], FIT, seed=0)
    assert report.samples_seen == 6 * 20
    assert report.trained_parameters == sum(p.numel() for p in model.parameters())
    assert report.compute == report.samples_seen * report.trained_parameters
    tuned = run_tune(model, rows)
    assert tuned.trained_parameters == sum(p.numel() for p in model.layers.parameters())


def test_tuning_moves_the_interaction_layers_and_nothing_else(rows: list[Sample]) -> None:
    model = fresh()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    report = run_tune(model, rows)
    moved = {name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])}
    assert report.frozen_digest_before == report.frozen_digest_after
    assert moved
    assert all(name.startswith("layers.") for name in moved)


def test_tuning_is_refused_when_a_frozen_layer_moves(rows: list[Sample]) -> None:
    model = fresh()

    def nudge(stats: EpochStats) -> None:
        model.get_parameter("encoders.audio.mix.bias").data[0] += 1e-7

    with pytest.raises(FrozenLayersMoved, match=r"encoders\.audio\.mix\.bias") as caught:
        run_tune(model, rows, on_epoch=nudge)
    assert caught.value.names == ("encoders.audio.mix.bias",)


def test_tuning_takes_rows_with_any_mix_of_modalities(samples: list[Sample]) -> None:
    model = fresh()
    new, replay, val = (encode_samples(model, part) for part in (samples[:6], samples[6:12], samples[12:]))
    report = tune(model, new, replay, val, TUNE, seed=0)
    assert np.isfinite(report.best_val)


def test_tuning_takes_no_replay_and_no_validation_rows(rows: list[Sample]) -> None:
    model = fresh()
    nothing = encode_samples(model, [])
    report = tune(model, encode_samples(model, rows[:5]), nothing, nothing, TUNE, seed=0)
    assert report.samples_seen == 6 * 5


def test_named_others_may_move_too(rows: list[Sample]) -> None:
    model = fresh()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    new, replay, val = (prepare_samples(model, part) for part in (rows[:12], rows[12:20], rows[20:]))
    tune(model, new, replay, val, replace(TUNE, also=("encoders.audio",)), seed=0)
    moved = {name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])}
    assert any(name.startswith("encoders.audio.") for name in moved)
    assert not any(name.startswith(("encoders.image.", "encoders.text.")) for name in moved)


def test_the_sandwich_mode_tunes_the_encoders_last_projections(rows: list[Sample]) -> None:
    model = fresh()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    new, replay, val = (prepare_samples(model, part) for part in (rows[:12], rows[12:20], rows[20:]))
    tune(model, new, replay, val, replace(TUNE, mode="sandwich"), seed=0)
    moved = {name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])}
    assert "encoders.image.mix.weight" in moved
    assert "encoders.image.patches.weight" not in moved


def test_encoded_rows_are_refused_when_encoders_are_to_move(rows: list[Sample]) -> None:
    with pytest.raises(ValueError, match="Use prepare_samples"):
        run_tune(fresh(), rows, replace(TUNE, mode="full"))


def test_features_of_other_encoders_are_refused(rows: list[Sample]) -> None:
    model, other = fresh(), fresh()
    other.get_parameter("encoders.text.low.weight").data[97] += 1.0
    features = encode_samples(other, rows)
    with pytest.raises(ValueError, match="other encoders than this model's"):
        tune(model, features, features, features, TUNE, seed=0)


def test_every_new_row_is_seen_once_an_epoch_and_replay_fills_its_share() -> None:
    pools = [torch.arange(20), torch.arange(20, 29)]
    batches = mixed(pools, [0.5], 8, torch.Generator().manual_seed(0))
    drawn = torch.cat(batches)
    assert sorted(drawn[drawn < 20].tolist()) == list(range(20))
    assert all(abs(int((batch >= 20).sum()) - int((batch < 20).sum())) <= 1 for batch in batches)
    counts = torch.bincount(drawn[drawn >= 20] - 20, minlength=9)
    assert counts.max() - counts.min() <= 1


def test_no_replay_gives_batches_of_new_rows_only() -> None:
    batches = mixed([torch.arange(5), torch.arange(0)], [0.5], 8, torch.Generator().manual_seed(0))
    assert sorted(torch.cat(batches).tolist()) == list(range(5))


def test_sets_mix_only_if_they_are_alike(rows: list[Sample]) -> None:
    model = fresh()
    both: list[FeatureSet] = [encode_samples(model, rows[:2]), prepare_samples(model, rows[2:4])]
    with pytest.raises(ValueError, match="do not mix"):
        concatenate(both)
