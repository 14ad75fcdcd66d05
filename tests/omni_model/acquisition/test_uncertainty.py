"""The single-pass functions against their formulas."""

import numpy as np
import pytest
import scipy.stats

from omni_model.acquisition.uncertainty import entropy, least_confidence, margin
from tests.omni_model.acquisition.streams import distributions

PROBS_NA = distributions((200,), np.random.default_rng(0)).astype(np.float64)


def test_entropy_is_that_of_scipy() -> None:
    np.testing.assert_allclose(entropy(PROBS_NA), scipy.stats.entropy(PROBS_NA, axis=1), atol=1e-7)


def test_margin_is_the_gap_of_the_two_best() -> None:
    sorted_NA = np.sort(PROBS_NA, axis=1)
    np.testing.assert_allclose(margin(PROBS_NA), 1.0 - (sorted_NA[:, -1] - sorted_NA[:, -2]))


def test_least_confidence_is_what_the_best_answer_leaves() -> None:
    np.testing.assert_allclose(least_confidence(PROBS_NA), 1.0 - PROBS_NA.max(axis=1))


@pytest.mark.parametrize("function", [entropy, margin, least_confidence])
def test_a_sure_answer_scores_nothing_and_a_uniform_one_the_most(function: object) -> None:
    assert callable(function)
    scores = function(np.array([[0.0, 1.0, 0.0], [0.2, 0.5, 0.3], [1 / 3, 1 / 3, 1 / 3]]))
    assert scores[0] == 0.0
    assert scores[0] < scores[1] < scores[2]


def test_answers_outside_the_task_do_not_count() -> None:
    masked_NA = np.hstack([PROBS_NA, np.zeros((len(PROBS_NA), 3))])
    np.testing.assert_allclose(entropy(masked_NA), entropy(PROBS_NA))
    np.testing.assert_allclose(margin(masked_NA), margin(PROBS_NA))


def test_a_single_answer_is_certain() -> None:
    one_NA = np.ones((3, 1))
    assert entropy(one_NA).tolist() == margin(one_NA).tolist() == least_confidence(one_NA).tolist() == [0.0] * 3
