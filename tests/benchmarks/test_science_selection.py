"""What the selection benchmark computes from its runs, and the cheap model that it trains."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks.science_cache import RunCache
from benchmarks.science_peers import ours, scores
from benchmarks.science_readout import SEGMENTS, Readout, pooled
from benchmarks.science_selection import ALL_LABELS, ARMS, ORDER, QUICK, curve_labels, figures_of, table_of
from benchmarks.science_stats import interval
from omni_model.acquisition import ACQUISITIONS
from omni_model.config import ElasticConfig
from omni_model.elastic import tune
from omni_model.evaluate import predict
from omni_model.features import encode_samples
from omni_model.model import OmniModel
from tests.omni_model.conftest import SHAPES, TINY, make_sample

SETUP = replace(QUICK, seeds=(0, 1), budgets=(100, 200), arms=("random", "margin"))


def runs(margin: list[float], random: list[float]) -> dict[str, list[dict[str, Any]]]:
    """Two seeds of two arms with the given curves."""
    made = {
        name: [{"accuracies": curve, "area": float(np.mean(curve))} for _ in SETUP.seeds]
        for name, curve in (("margin", margin), ("random", random))
    }
    off = {"none": 0.2, "one": 0.1, "subset": 0.05}
    return made | {ALL_LABELS: [{"accuracy": 1.0, "area": 1.0, "ece": off} for _ in SETUP.seeds]}


def test_the_ratio_is_that_of_the_labels_at_which_the_mean_curves_reach_the_goal() -> None:
    several = runs([0.5, 0.95, 1.0], [0.5, 0.75, 0.95])
    assert curve_labels(several, "margin", range(2), SETUP) == pytest.approx(100)
    figures = figures_of(several, SETUP)
    assert figures["labels_to_95_ratio_to_random"]["value"] == pytest.approx(0.5)
    assert figures["labels_to_95_ratio_to_random"]["n"] == 2
    table = table_of(several, SETUP)
    assert table["rows"][0][0] == "margin"
    assert {len(row) for row in table["rows"]} == {len(table["head"])}


def test_a_curve_that_never_reaches_the_goal_has_no_ratio() -> None:
    several = runs([0.5, 0.6, 0.7], [0.5, 0.75, 0.95])
    assert figures_of(several, SETUP)["labels_to_95_ratio_to_random"]["value"] is None
    assert "not reached" in [row[4] for row in table_of(several, SETUP)["rows"]]


def test_every_acquisition_function_is_an_arm() -> None:
    assert {arm.acquisition for arm in ARMS.values()} == set(ACQUISITIONS)
    assert {name for group in ORDER for name in group} <= {*ARMS, ALL_LABELS}


def test_a_run_is_kept_and_other_settings_find_nothing(tmp_path: Path) -> None:
    calls: list[int] = []

    def run() -> int:
        calls.append(1)
        return len(calls)

    for _ in range(2):
        assert RunCache("a", {"x": 1}, tmp_path).get("k", run) == 1
    assert RunCache("a", {"x": 2}, tmp_path).get("k", run) == 2


def test_an_interval_holds_the_mean_and_narrows_with_more_pairs() -> None:
    rng = np.random.default_rng(0)
    few, many = rng.normal(1, 1, 5).tolist(), rng.normal(1, 1, 100).tolist()
    assert interval(few)[0] < np.mean(few) < interval(few)[1]
    assert np.diff(interval(many))[0] < np.diff(interval(few))[0]
    assert np.isnan(interval([1.0])).all()


def test_pooling_is_the_mean_of_each_stretch_however_far_a_row_is_padded() -> None:
    tokens = torch.arange(12.0).reshape(1, 12, 1)
    mask = torch.ones(1, 12, dtype=torch.bool)
    expected = torch.tensor([[0.5, 2.5, 4.5, 6.5, 8.5, 10.5]])
    torch.testing.assert_close(pooled(tokens, mask), expected)
    padded = torch.cat([tokens, torch.full((1, 5, 1), 99.0)], dim=1)
    longer = torch.cat([mask, torch.zeros(1, 5, dtype=torch.bool)], dim=1)
    torch.testing.assert_close(pooled(padded, longer), expected)
    assert pooled(tokens, torch.zeros_like(mask)).tolist() == [[0.0] * SEGMENTS]


def test_the_cheap_model_learns_through_the_product_s_own_tuning() -> None:
    torch.manual_seed(0)
    model = Readout(OmniModel(TINY, [SHAPES]).eval(), [SHAPES], hidden=16)
    rows = encode_samples(model, [make_sample(number) for number in range(60)])
    before = predict(model, rows).accuracy
    tune(model, rows, rows.select([]), rows, ElasticConfig(epochs=15, own_share=0.0, learning_rate=0.01), seed=0)
    assert predict(model, rows).accuracy > max(before, 0.8)


@pytest.mark.parametrize("name", ["least_confidence", "margin", "entropy", "bald", "core_set"])
def test_without_arm_and_limits_the_choice_is_the_plain_ranking(name: str) -> None:
    data = scores(300, 100)
    rows, seconds = ours(data, name, 20)
    assert len(set(rows)) == 20
    assert seconds > 0
    if name == "margin":
        best = np.sort(data["probs"], axis=1)
        assert set(rows) == set(np.argsort(best[:, -1] - best[:, -2])[:20].tolist())
