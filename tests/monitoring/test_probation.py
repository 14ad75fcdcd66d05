import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from monitoring.betting import log_evidence_of_fall, log_evidence_of_safety
from monitoring.probation import ProbationConfig, ProbationState, replay

CONFIG = ProbationConfig()
BOTH, LOST, WON, NEITHER = (True, True), (False, True), (True, False), (False, False)
"""Pairs as (new right, old right)."""


def after(*parts: tuple[tuple[bool, bool], int], config: ProbationConfig = CONFIG) -> ProbationState:
    """The state after so many pairs of each kind, in this order."""
    return replay(config, (pair for pair, count in parts for _ in range(count)))


def test_versions_that_agree_are_accepted() -> None:
    state = after((BOTH, 200))
    assert state.verdict == "accept"
    assert "ruled out" in state.reason


def test_an_established_fall_is_rolled_back_with_its_figures() -> None:
    state = after((BOTH, 60), (NEITHER, 9), (WON, 1), (LOST, 12))
    assert state.verdict == "rollback"
    assert f"{state.num_lost} lost, 1 won" in state.reason
    assert "on the same" in state.reason
    assert "Rolled back" in state.reason


def test_a_disaster_does_not_wait_for_the_minimum_of_pairs() -> None:
    state = after((LOST, 11))
    assert state.verdict == "rollback"
    assert state.num_pairs < CONFIG.min_pairs


def test_a_smaller_fall_waits_for_the_minimum_of_pairs() -> None:
    config = replace(CONFIG, disaster_points=0.5)
    early = after((BOTH, 30), (LOST, 14), config=config)
    assert (early.verdict, early.fall_established) == ("continue", True)
    assert after((BOTH, 30), (LOST, 14), (BOTH, 6), config=config).verdict == "rollback"


def test_an_unlucky_start_is_no_disaster_yet() -> None:
    assert after((LOST, 4), (BOTH, 4)).verdict == "continue"


def test_an_observed_fall_below_half_the_limit_is_not_rolled_back() -> None:
    state = replace(after((BOTH, 1)), num_both=2400, num_lost=60, num_won=20, fall_established=True, verdict="continue")
    assert state.relative_fall < 0.025
    assert state.update(True, True).verdict != "rollback"


def test_a_version_that_never_decides_goes_to_a_person() -> None:
    config = replace(CONFIG, max_pairs=60)
    state = after((BOTH, 20), (LOST, 4), (WON, 4), (BOTH, 20), (NEITHER, 12), config=config)
    assert state.verdict == "inconclusive"
    assert "A person decides" in state.reason


def test_a_verdict_is_final() -> None:
    state = after((LOST, 30))
    assert state.verdict == "rollback"
    assert state.update(True, True) is state


def test_state_survives_json() -> None:
    state = after((BOTH, 40), (LOST, 3), (WON, 2), (NEITHER, 6))
    assert ProbationState.from_json(json.loads(json.dumps(state.to_json()))) == state
    with pytest.raises(ValueError, match="Replay its pairs"):
        ProbationState.from_json({"num_both": 3})
    with pytest.raises(ValueError, match="Replay its pairs"):
        ProbationState.from_json({"config": {}, "surprise": 1})


def test_replaying_gives_what_updating_gave() -> None:
    rng = np.random.default_rng(0)
    pairs = [(bool(new), bool(old)) for new, old in rng.random((300, 2)) < 0.8]
    state = ProbationState(config=CONFIG)
    for pair in pairs:
        state = state.update(*pair)
    assert replay(CONFIG, pairs) == state == replay(CONFIG, pairs)


def test_evidence_does_not_depend_on_the_order_of_the_pairs() -> None:
    forward, backward = after((BOTH, 20), (LOST, 3), (WON, 2)), after((WON, 2), (LOST, 3), (BOTH, 20))
    assert forward == backward


@pytest.mark.parametrize("value", [None, float("nan"), 1, 0.0, "yes"])
def test_an_outcome_that_is_no_truth_value_is_refused(value: Any) -> None:
    state = ProbationState(config=CONFIG)
    with pytest.raises(ValueError, match="new_correct must be True or False"):
        state.update(value, True)
    with pytest.raises(ValueError, match="old_correct must be True or False"):
        state.update(True, value)


def test_numpy_truth_values_are_taken() -> None:
    assert ProbationState(config=CONFIG).update(np.True_, np.False_).num_won == 1  # type: ignore[arg-type]


def test_a_state_without_pairs_says_so_without_a_number() -> None:
    state = ProbationState(config=CONFIG)
    assert (state.num_pairs, state.relative_fall, state.verdict) == (0, 0.0, "continue")
    assert np.isnan(state.old_accuracy)
    assert "not decided yet" in state.reason


@pytest.mark.parametrize(
    ("field", "value"),
    [("max_relative_fall", 5.0), ("max_false_rollback", 0.0), ("disaster_points", 20), ("min_pairs", 9000)],
)
def test_a_config_that_makes_no_sense_is_refused(field: str, value: Any) -> None:
    with pytest.raises(ValueError, match=r"probation\."):
        ProbationConfig(**{field: value})


def test_bets_are_fair_under_their_hypotheses() -> None:
    """The expected wealth after n pairs is at most 1: summed exactly over all outcomes of 12 pairs."""
    from math import comb

    n, limit = 12, 0.05
    fall = sum(comb(n, k) * 0.5**n * np.exp(log_evidence_of_fall(k, n - k)) for k in range(n + 1))
    assert fall == pytest.approx(1.0)
    old, lost = 0.8, 0.06  # new = 0.76, exactly at the limit: won = 0.02
    shares = np.array([old - lost, lost, 0.02, 1 - old - 0.02])
    wealth = 0.0
    for both in range(n + 1):
        for lost_count in range(n + 1 - both):
            for won in range(n + 1 - both - lost_count):
                rest = n - both - lost_count - won
                ways = comb(n, both) * comb(n - both, lost_count) * comb(n - both - lost_count, won)
                chance = ways * np.prod(shares ** np.array([both, lost_count, won, rest]))
                wealth += float(chance * np.exp(log_evidence_of_safety(both, lost_count, won, limit)))
    assert wealth == pytest.approx(1.0)


def test_huge_counts_do_not_overflow() -> None:
    assert np.isfinite(log_evidence_of_fall(10**7, 0))
    assert np.isfinite(log_evidence_of_safety(10**7, 0, 0, 0.05))
