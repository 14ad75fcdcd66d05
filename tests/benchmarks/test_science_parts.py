"""Contenders are what they are said to be, damage is only where it is meant, and each part's short form runs."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.science_balance import METHODS, told
from benchmarks.science_balance_tables import ARTICLE, MATCHED, STATIC, UNIFORM, figures_of, table_of
from benchmarks.science_dcma import CONTENDERS, config_of, num_parameters
from benchmarks.science_lengths import KINDS, cost
from benchmarks.science_plain import padded, plain, waste
from benchmarks.science_worlds import World, biased_digits, spoilt
from omni_model.config import ModelConfig
from omni_model.data import tri_digits
from omni_model.features import Batcher, encode_samples
from omni_model.model import OmniModel
from omni_model.sample import Sample

SMALL = ModelConfig(width=24, heads=2, ffn_width=48)


@pytest.fixture(scope="module")
def rows() -> list[Sample]:
    return tri_digits.load(["en"])[:40]


@pytest.mark.parametrize("arm", list(CONTENDERS))
def test_contenders_have_equal_parameters(arm: str, rows: list[Sample]) -> None:
    world = World(task=tri_digits.TASK, modalities=("audio", "image", "text"), train=rows, val=rows, test=rows)
    ours = num_parameters(SMALL, world)
    assert num_parameters(config_of(arm, SMALL, world), world) == pytest.approx(ours, rel=0.01)


@pytest.mark.parametrize("modality", ["image", "audio", "text"])
def test_damage_is_the_same_each_time_and_only_where_it_is_meant(modality: str, rows: list[Sample]) -> None:
    row = next(each for each in rows if len(each.inputs) == 3)
    before = {name: np.array(value, copy=True) for name, value in row.inputs.items()}
    once, twice = spoilt(row, modality, 0.5), spoilt(row, modality, 0.5)
    for name, value in row.inputs.items():
        assert np.array_equal(np.array(value), before[name])
        assert np.array_equal(np.array(once.inputs[name]), np.array(twice.inputs[name]))
        assert np.array_equal(np.array(once.inputs[name]), before[name]) == (name != modality)
    gone = replace(row, inputs={name: value for name, value in row.inputs.items() if name != modality})
    assert spoilt(gone, modality, 0.5) is gone


def test_the_bias_is_in_two_modalities_and_the_third_is_left_clean() -> None:
    clean = {row.id: row for row in tri_digits.load()}
    for row in biased_digits(0, 20).test:
        changed = {name for name in row.inputs if not np.array_equal(row.inputs[name], clean[row.id].inputs[name])}
        assert changed == set(row.inputs) - {"text"}


@pytest.mark.parametrize("changes", [{}, {"strength": "static"}, {"attention": "joint"}, {"attention": "multiway"}])
def test_the_plain_form_gives_the_same_answers_and_gradients(changes: dict[str, str], rows: list[Sample]) -> None:
    torch.manual_seed(0)
    model = OmniModel(replace(SMALL, **changes), [tri_digits.TASK]).eval()  # type: ignore[arg-type]
    simple = plain(model)
    features = encode_samples(model, rows)
    batch = Batcher(model, features)(torch.arange(12))
    wide = padded(batch, features)
    assert waste([wide]) >= waste([batch])
    for given in (batch, wide):
        torch.testing.assert_close(simple(given).logits, model(batch).logits, rtol=1e-4, atol=1e-5)
    for each in (model, simple):
        each(batch).logits.square().sum().backward()
    pairs = zip(model.layers.head.parameters(), simple.layers.head.parameters(), strict=True)
    for one, two in chain(pairs, [(model.layers.query, simple.layers.query)]):
        torch.testing.assert_close(one.grad, two.grad, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("name", list(KINDS))
def test_a_layer_keeps_more_for_the_backward_pass_the_longer_the_sequence(name: str) -> None:
    short, long = (cost(name, replace(SMALL, width=8, ffn_width=8), length, 1)[1] for length in (16, 64))
    assert 0 < short < long


def test_a_bias_as_a_mask_keeps_more_than_the_folded_one() -> None:
    kept = {name: cost(name, SMALL, 256, 1)[1] for name in ("dcma", "dcma, bias as a mask")}
    assert kept["dcma"] < kept["dcma, bias as a mask"]


def test_every_method_has_three_trials_and_no_two_are_the_same() -> None:
    assert {len(trials) for trials in METHODS.values()} == {3}
    names = [told(trial) for trials in METHODS.values() for trial in trials]
    assert len(set(names)) == len(names)


def run_of(cross: float) -> dict[str, object]:
    parts = {"text": cross, "image": 0.3}
    return {"cross": cross, "alone": parts, "probe": parts, "balance": 0.5, "cpu_s": 1.0, "rate_factor": 0.6}


@pytest.mark.parametrize(("matched", "better"), [((0.6, 0.6, 0.6), "yes"), ((0.6, 0.8, 0.6), "no")])
def test_a_method_is_better_only_if_it_beats_both_controls(matched: Sequence[float], better: str) -> None:
    runs = {
        UNIFORM: [run_of(value) for value in (0.5, 0.5, 0.5)],
        MATCHED: [run_of(value) for value in matched],
        STATIC: [run_of(value) for value in (0.55, 0.6, 0.6)],
        ARTICLE: [run_of(value) for value in (0.7, 0.7, 0.7)],
        "fused loss alone": [run_of(value) for value in (0.4, 0.4)],
    }
    row = next(row for row in table_of("easy-VQA", runs)["rows"] if row[0] == ARTICLE)
    assert row[5] == better
    figures = figures_of("biased tri-digits", runs, (0, 1, 2))
    assert figures["mbl_gain_relative"]["value"] == pytest.approx(0.4)
    assert figures["mbl_rank_among_peers"]["value"] == 1
    assert figures["mbl_gain_over_fused_loss_alone"]["n"] == 2


@pytest.mark.slow
@pytest.mark.parametrize("part", ["dcma", "balance", "profiler", "speed"])
def test_the_short_form_of_a_part_runs(part: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    lines: list[str] = []
    threads = torch.get_num_threads()
    try:
        made = importlib.import_module(f"benchmarks.science_{part}").measure(True, lines.append)
    finally:
        torch.set_num_threads(threads)
    assert lines
    assert made["figures"]
    for table in made["tables"]:
        assert {len(row) for row in table["rows"]} == {len(table["head"])}
