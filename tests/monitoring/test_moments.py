from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from monitoring.measures.calibration import ece
from monitoring.measures.classification import balanced_accuracy
from monitoring.measures.latency import quantile
from monitoring.moments import Moments, bootstrap_moments, mean_moments, nothing, unseen_flips
from monitoring.weighted import (
    alignment_statistic,
    balanced_accuracy_statistic,
    ece_statistic,
    quantile_statistic,
)


def pairs(num_rows: int, seed: int = 0) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    rng = np.random.default_rng(seed)
    old = rng.random(num_rows) < 0.8
    return old, np.where(rng.random(num_rows) < 0.9, old, rng.random(num_rows) < 0.7)


def bootstrap(old: NDArray[np.bool_], new: NDArray[np.bool_], items: NDArray[np.int64], seed: int = 0) -> Moments:
    statistics = {
        "mean": lambda w_RN: (w_RN @ old / w_RN.sum(axis=1), w_RN @ new / w_RN.sum(axis=1)),
    }
    rng = np.random.default_rng(seed)
    return bootstrap_moments(statistics, items, resamples=4000, rng=rng)["mean"]


def test_the_bootstrap_of_a_mean_finds_its_exact_moments() -> None:
    old, new = pairs(150)
    exact, drawn = mean_moments(old, new, np.arange(150), is_rate=False), bootstrap(old, new, np.arange(150))
    for name in ("var_old", "var_new", "covariance"):
        assert getattr(drawn, name) == pytest.approx(getattr(exact, name), rel=0.08)


def test_rows_of_one_item_count_once() -> None:
    old, new = pairs(40)
    items = np.repeat(np.arange(40), 5)
    single = mean_moments(old, new, np.arange(40), is_rate=True)
    rendered = mean_moments(np.repeat(old, 5), np.repeat(new, 5), items, is_rate=True)
    assert (rendered.num_samples, rendered.num_items) == (200, 40)
    assert rendered.var_new == pytest.approx(single.var_new)
    drawn = bootstrap(np.repeat(old, 5), np.repeat(new, 5), items)
    assert drawn.var_old == pytest.approx(single.var_old, rel=0.1)


def test_the_relative_interval_agrees_with_the_tests() -> None:
    old, new = pairs(300)
    moments = mean_moments(old, new, np.arange(300), is_rate=True)
    low, high = moments.relative_interval(0.95)
    assert moments.p_above(1 + low) == pytest.approx(0.05)
    assert moments.p_below(1 + high) == pytest.approx(0.05)
    low, high = moments.absolute_interval(0.9)
    assert moments.p_above(1.0, low) == pytest.approx(0.1)


def test_the_interval_is_that_of_the_percentile_bootstrap_where_both_work() -> None:
    old, new = pairs(800)
    rng = np.random.default_rng(1)
    drawn = rng.integers(0, 800, size=(4000, 800))
    ratios = new[drawn].mean(axis=1) / old[drawn].mean(axis=1) - 1
    low, high = mean_moments(old, new, np.arange(800), is_rate=False).relative_interval(0.95)
    assert (low, high) == pytest.approx(tuple(np.quantile(ratios, [0.05, 0.95])), abs=0.004)


def test_agreement_on_few_samples_proves_nothing() -> None:
    same = np.arange(10) < 8
    few = mean_moments(same, same, np.arange(10), is_rate=True)
    assert few.p_above(0.95) > 0.2
    many = np.arange(200) < 160
    assert mean_moments(many, many, np.arange(200), is_rate=True).p_above(0.95) < 0.01


def test_a_figure_that_cannot_be_said_is_never_significant() -> None:
    for moments in (nothing(), mean_moments(np.ones(1), np.zeros(1), np.zeros(1), is_rate=True)):
        assert moments.p_above(0.95) == moments.p_below(0.95) == 1.0
        assert np.isnan(moments.relative_interval(0.95)).all()
    old = np.where(np.arange(50) == 3, np.nan, 1.0)
    assert mean_moments(old, np.ones(50), np.arange(50), is_rate=False).p_above(0.95) == 1.0


def test_a_ratio_to_nothing_has_no_bound_but_a_gain_is_still_seen() -> None:
    moments = mean_moments(np.zeros(60), np.arange(60) < 30, np.arange(60), is_rate=True)
    assert np.isnan(moments.relative_interval(0.95)).all()
    assert moments.p_above(0.95) < 1e-6


def test_weights_of_one_give_the_plain_figures() -> None:
    rng = np.random.default_rng(0)
    classes, ones = rng.integers(0, 4, 60), np.ones((1, 60))
    old, new = pairs(60)
    confidence = rng.random(60)
    assert balanced_accuracy_statistic(classes, old, new)(ones)[0][0] == pytest.approx(
        balanced_accuracy(classes, np.where(old, classes, 9))
    )
    assert ece_statistic(confidence, confidence, old, new)(ones)[1][0] == pytest.approx(ece(confidence, new))
    assert quantile_statistic(confidence, confidence, 0.95)(ones)[0][0] == quantile(confidence, 0.95)


def test_integer_weights_are_repetitions() -> None:
    rng = np.random.default_rng(0)
    weights = rng.integers(0, 3, size=(5, 40))
    classes, confidence = rng.integers(0, 3, 40), rng.random(40)
    old, new = pairs(40)
    by_weight = [
        balanced_accuracy_statistic(classes, old, new)(weights.astype(float))[0],
        ece_statistic(confidence, confidence, old, new)(weights.astype(float))[0],
        quantile_statistic(confidence, confidence, 0.5)(weights.astype(float))[0],
    ]
    for row, weight in enumerate(weights):
        rep = np.repeat(np.arange(40), weight)
        assert by_weight[0][row] == pytest.approx(balanced_accuracy(classes[rep], np.where(old, classes, 9)[rep]))
        assert by_weight[1][row] == pytest.approx(ece(confidence[rep], old[rep]))
        assert by_weight[2][row] == quantile(confidence[rep], 0.5)


def test_alignment_averages_over_pairs_and_not_over_rows() -> None:
    often, rarely = np.ones(40), np.where(np.arange(40) < 4, 0.0, np.nan)
    hits = {"a>b": often, "b>a": often, "a>c": rarely, "c>a": rarely}
    old, new = alignment_statistic(hits, hits)(np.ones((1, 40)))
    assert old[0] == new[0] == pytest.approx(0.5)
    unreached = np.where(np.arange(40) < 4, 0.0, 1.0)[None, :]
    assert alignment_statistic(hits, hits)(unreached)[0][0] == pytest.approx(0.0)


def test_chunks_do_not_change_the_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    old, new = pairs(30)
    whole = bootstrap(old, new, np.arange(30))
    monkeypatch.setattr("monitoring.moments._CHUNK_CELLS", 30 * 1000)
    assert bootstrap(old, new, np.arange(30)).var_old == pytest.approx(whole.var_old)


@pytest.mark.parametrize("num_rows", [60, 200])
def test_bounds_hold_as_often_as_they_say(num_rows: int) -> None:
    """A candidate exactly at the limit: each bound of the relative change fails in about 5 % of 3,000 validations."""
    rng = np.random.default_rng(0)
    p_safe, p_harm = [], []
    for _ in range(3000):
        u = rng.random(num_rows)
        old, new = u < 0.8, (u < 0.73) | (u >= 0.97)  # .80 against .76
        moments = mean_moments(old, new, np.arange(num_rows), is_rate=True)
        p_safe.append(moments.p_above(0.95))
        p_harm.append(moments.p_below(0.95))
    assert np.mean(np.array(p_safe) <= 0.05) <= 0.06
    assert np.mean(np.array(p_harm) <= 0.05) <= 0.06


def test_the_flips_that_were_not_seen_fade_with_the_number_of_items() -> None:
    assert unseen_flips(10) > 50 * unseen_flips(100)
    assert replace(nothing(), num_samples=3).num_items == 0
