"""The lift over random and its interval."""

import json
from dataclasses import asdict

import numpy as np
import pytest

from omni_model.acquisition import lift_over_random
from omni_model.acquisition.lift import koopman_interval


def flags(num_wrong: int, num_rows: int) -> list[bool]:
    return [True] * num_wrong + [False] * (num_rows - num_wrong)


def test_equal_arms_have_a_lift_of_one() -> None:
    lift = lift_over_random(flags(5, 50), flags(5, 50))
    assert lift.ratio == 1.0
    assert lift.high is not None
    assert lift.low < 1.0 < lift.high


def test_the_interval_turns_over_with_the_arms() -> None:
    low, high = koopman_interval(12, 40, 5, 60, confidence=0.9)
    turned_low, turned_high = koopman_interval(5, 60, 12, 40, confidence=0.9)
    assert (1 / turned_high, 1 / turned_low) == pytest.approx((low, high))


def test_more_rows_narrow_the_interval() -> None:
    few, many = lift_over_random(flags(6, 10), flags(2, 10)), lift_over_random(flags(600, 1000), flags(200, 1000))
    assert few.high is not None
    assert many.high is not None
    assert few.low < many.low < 3.0 < many.high < few.high


def test_a_control_arm_without_errors_gives_no_ratio_but_a_lower_bound() -> None:
    lift = lift_over_random(flags(20, 40), flags(0, 10))
    assert (lift.ratio, lift.high) == (None, None)
    assert lift.low > 1.0


def test_an_uncertainty_arm_without_errors_gives_zero_and_an_upper_bound() -> None:
    lift = lift_over_random(flags(0, 40), flags(5, 10))
    assert (lift.ratio, lift.low) == (0.0, 0.0)
    assert lift.high is not None
    assert lift.high < 1.0


@pytest.mark.parametrize(("selected", "control"), [([], []), ([True], []), ([], [True]), ([False], [False])])
def test_no_evidence_is_no_lift(selected: list[bool], control: list[bool]) -> None:
    lift = lift_over_random(selected, control)
    assert (lift.ratio, lift.low, lift.high) == (None, 0.0, None)


def test_nothing_but_errors_in_both_arms_is_a_lift_of_one() -> None:
    lift = lift_over_random(flags(20, 20), flags(10, 10))
    assert lift.ratio == 1.0
    assert lift.high is not None
    assert 0.5 < lift.low <= 1.0 <= lift.high


def test_the_lift_can_be_stored_as_json() -> None:
    stored = json.dumps(asdict(lift_over_random(flags(3, 9), flags(0, 9))), allow_nan=False)
    assert json.loads(stored)["num_wrong_uncertainty"] == 3


def test_only_truth_values_are_counted() -> None:
    with pytest.raises(ValueError, match="wrong_control must hold truth values, got float64"):
        lift_over_random([True], [0.5])


def test_a_confidence_of_one_is_refused() -> None:
    with pytest.raises(ValueError, match=r"between 0 and 1, got 1.0"):
        lift_over_random([True], [True], confidence=1.0)


@pytest.mark.parametrize(("rate_1", "rate_0", "rows_0"), [(0.5, 0.25, 20), (0.3, 0.3, 30), (0.4, 0.1, 50)])
def test_the_interval_covers_the_truth_as_often_as_it_says(rate_1: float, rate_0: float, rows_0: int) -> None:
    rng, num_trials = np.random.default_rng(0), 2_000
    covered = 0
    for wrong_1, wrong_0 in zip(
        rng.binomial(180, rate_1, num_trials), rng.binomial(rows_0, rate_0, num_trials), strict=True
    ):
        low, high = koopman_interval(int(wrong_1), 180, int(wrong_0), rows_0, confidence=0.95)
        covered += low <= rate_1 / rate_0 <= high
    assert 0.935 <= covered / num_trials <= 0.975
