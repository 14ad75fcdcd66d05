"""Accuracy, calibration, instruction following, latency."""

import numpy as np
import pytest
from scipy import stats

from monitoring.measures.calibration import brier, ece, nll
from monitoring.measures.catalogue import MEASURES
from monitoring.measures.classification import accuracy, balanced_accuracy, negative_flip_rate, slice_table
from monitoring.measures.instructions import instruction_following, wilson_interval
from monitoring.measures.latency import latency_quantiles, quantile

NONE = np.array([], dtype=np.int64)


def test_nothing_measured_is_nan_and_not_zero() -> None:
    empty = np.array([])
    values = [
        accuracy(NONE, NONE),
        balanced_accuracy(NONE, NONE),
        negative_flip_rate(NONE, NONE, NONE),
        ece(empty, empty.astype(bool)),
        nll(empty),
        brier(np.zeros((0, 3)), NONE),
        quantile(empty, 0.5),
        instruction_following(empty.astype(bool)).rate,
        *wilson_interval(0, 0),
    ]
    assert np.isnan(values).all()


def test_unlabelled_rows_count_nowhere() -> None:
    target, answer = np.array([1, 2, -1, -1]), np.array([1, 1, -1, 1])
    assert accuracy(target, answer) == 0.5
    assert balanced_accuracy(target, answer) == 0.5
    assert slice_table(target, answer, ["a", "a", "b", "b"])[2].num_samples == 0


def test_balanced_accuracy_does_not_reward_the_majority() -> None:
    target = np.array([0] * 90 + [1] * 10)
    assert accuracy(target, np.zeros(100, dtype=int)) == 0.9
    assert balanced_accuracy(target, np.zeros(100, dtype=int)) == 0.5


def test_columns_of_different_length_are_refused() -> None:
    with pytest.raises(ValueError, match="one length"):
        accuracy(np.array([1]), np.array([1, 2]))
    with pytest.raises(ValueError, match="one slice a sample"):
        slice_table(np.array([1]), np.array([1]), ["a", "b"])


def test_ece_is_the_textbook_sum_over_bins() -> None:
    rng = np.random.default_rng(0)
    confidence, correct = rng.random(500), rng.random(500) < 0.6
    expected = 0.0
    for low in np.arange(15) / 15:
        inside = (confidence > low) & (confidence <= low + 1 / 15)
        if inside.any():
            expected += inside.mean() * abs(correct[inside].mean() - confidence[inside].mean())
    assert ece(confidence, correct) == pytest.approx(expected)


def test_a_nan_confidence_gives_no_number() -> None:
    assert np.isnan(ece(np.array([0.5, np.nan]), np.array([True, False])))
    assert np.isnan(nll(np.array([0.5, np.nan])))
    assert np.isnan(brier(np.array([[np.nan, 0.5]]), np.array([0])))


def test_a_certain_error_costs_a_finite_nll() -> None:
    assert nll(np.array([0.0])) == pytest.approx(-np.log(1e-12))


def test_wilson_holds_its_confidence_where_the_plain_interval_does_not() -> None:
    n, share = 40, 0.95
    hits = stats.binom.rvs(n, share, size=4000, random_state=0)
    covered = [low <= share <= high for low, high in (wilson_interval(int(h), n) for h in hits)]
    assert np.mean(covered) > 0.93
    assert wilson_interval(10, 10)[1] == 1.0
    assert wilson_interval(10, 10)[0] < 0.75


def test_wilson_refuses_impossible_counts() -> None:
    with pytest.raises(ValueError, match="num_hits"):
        wilson_interval(3, 2)
    with pytest.raises(ValueError, match="confidence"):
        wilson_interval(1, 2, confidence=95)


def test_untimed_rows_are_left_out_of_latency() -> None:
    result = latency_quantiles(np.array([0.1, np.nan, 0.3, 0.2]))
    assert (result.p50_s, result.p95_s, result.num_samples) == (0.2, 0.3, 3)
    with pytest.raises(ValueError, match="share"):
        quantile(np.array([1.0]), 95)


def test_every_measure_says_what_it_is() -> None:
    assert all(name == measure.name and measure.definition.endswith(".") for name, measure in MEASURES.items())
