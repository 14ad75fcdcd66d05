import numpy as np
import pytest

from monitoring.measures.continual import continual_scores

MATRIX = [[0.9, 0.3, 0.2], [0.7, 0.8, 0.4], [0.8, 0.6, 0.9]]


def test_scores_are_those_of_the_definitions() -> None:
    scores = continual_scores(MATRIX, untrained_D=[0.1, 0.1, 0.1])
    assert scores.average_accuracy == pytest.approx((0.8 + 0.6 + 0.9) / 3)
    assert scores.backward_transfer == pytest.approx(((0.8 - 0.9) + (0.6 - 0.8)) / 2)
    assert scores.forward_transfer == pytest.approx(((0.3 - 0.1) + (0.4 - 0.1)) / 2)
    assert scores.forgetting == pytest.approx(((0.9 - 0.8) + (0.8 - 0.6)) / 2)


def test_forgetting_looks_at_earlier_steps_only() -> None:
    improving = [[0.5, 0.1], [0.9, 0.8]]
    assert continual_scores(improving).forgetting == pytest.approx(-0.4)


def test_the_matrix_is_not_changed() -> None:
    matrix = np.array(MATRIX)
    before = matrix.copy()
    continual_scores(matrix, untrained_D=[0.1, 0.1, 0.1])
    assert np.array_equal(matrix, before)


def test_a_stream_of_one_step_has_no_transfer() -> None:
    scores = continual_scores([[0.9]])
    assert scores.average_accuracy == 0.9
    assert np.isnan([scores.backward_transfer, scores.forward_transfer, scores.forgetting]).all()


def test_domains_that_arrive_together_are_learnt_together() -> None:
    scores = continual_scores([[0.9, 0.8, 0.1], [0.6, 0.8, 0.7]], learned_at=[0, 0, 1])
    assert scores.backward_transfer == pytest.approx(-0.15)
    assert scores.forgetting_by_domain[:2] == pytest.approx((0.3, 0.0))
    assert np.isnan(scores.forgetting_by_domain[2])


def test_a_hole_in_the_matrix_does_not_vanish() -> None:
    assert np.isnan(continual_scores([[0.9, np.nan], [0.6, np.nan]]).average_accuracy)


def test_something_else_than_a_matrix_is_refused() -> None:
    with pytest.raises(ValueError, match="matrix"):
        continual_scores([0.9, 0.8])
    with pytest.raises(ValueError, match="learned_at"):
        continual_scores(MATRIX, learned_at=[0, 1])
