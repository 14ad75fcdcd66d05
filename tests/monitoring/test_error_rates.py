"""The error rates that docs/gate.md promises, by simulation with fixed seeds. `make bench-gate` measures more."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.gate_streams import NEVER, bare_threshold, failed_windows, probation
from benchmarks.gate_worlds import MADE_AT, World, draw_pairs, independent, made_outcomes
from monitoring.betting import log_evidence_of_fall
from monitoring.comparison import compare
from monitoring.config import GateConfig, ProbationConfig
from monitoring.gate import judge
from monitoring.probation import replay

CONFIG = ProbationConfig(max_pairs=3000)
STREAMS = 600
NOISE = 3 * (0.02 * 0.98 / STREAMS) ** 0.5
"""Three standard errors of a rate of 2 % over so many streams."""


def world(fall: float, discordance: float = 0.08) -> World:
    return World(accuracy=0.8, fall=fall, discordance=discordance)


def test_the_streams_of_the_benchmark_are_judged_as_the_product_judges() -> None:
    for seed, fall in enumerate((0.0, 0.05, 0.3)):
        old, new = draw_pairs(world(fall, 0.3), (8, 400), np.random.default_rng(seed))
        fast = probation(old, new, CONFIG)
        for stream in range(8):
            state = replay(CONFIG, zip(map(bool, new[stream]), map(bool, old[stream]), strict=True))
            assert (state.verdict == "rollback") == (fast.rolled_back_after[stream] < NEVER)
            assert (state.verdict == "accept") == (fast.accepted_after[stream] < NEVER)
            decided = min(fast.rolled_back_after[stream], fast.accepted_after[stream])
            assert state.num_pairs == min(decided, 400)


@pytest.mark.parametrize("discordance", [0.05, 0.08, 0.2])
def test_equal_versions_are_rarely_rolled_back(discordance: float) -> None:
    old, new = draw_pairs(world(0.0, discordance), (STREAMS, 3000), np.random.default_rng(0))
    result = probation(old, new, CONFIG)
    assert result.rollback_rate <= 0.02 + NOISE
    assert result.accept_rate >= 0.95


def test_a_fall_of_five_percent_is_caught_soon() -> None:
    old, new = draw_pairs(world(0.05), (STREAMS, 3000), np.random.default_rng(1))
    result = probation(old, new, CONFIG)
    assert result.rollback_rate >= 0.95
    assert result.median_rollback <= 380
    assert result.accept_rate <= 0.02 + NOISE


def test_a_disaster_is_caught_in_tens_of_pairs() -> None:
    for points, pairs in ((20, 60), (50, 25)):
        old, new = draw_pairs(world(points / 80, points / 100 + 0.04), (STREAMS, 300), np.random.default_rng(points))
        assert probation(old, new, CONFIG).median_rollback <= pairs


def test_versions_with_unrelated_errors_are_still_safe() -> None:
    old, new = draw_pairs(independent(0.8, 0.0), (STREAMS, 3000), np.random.default_rng(2))
    assert probation(old, new, CONFIG).rollback_rate <= 0.02 + NOISE


def test_the_rules_that_people_use_flip_on_noise() -> None:
    _, new = draw_pairs(world(0.0), (STREAMS, 2000), np.random.default_rng(3))
    assert bare_threshold(0.8, new, 0.05).rollback_rate > 0.2
    assert failed_windows(0.8, new, 0.05).rollback_rate > 0.7


def test_the_chance_of_ever_establishing_a_fall_of_equal_versions_is_bounded_exactly() -> None:
    """Dynamic programming over all sequences of 1,000 discordant pairs, looked at after each: below 2 %."""
    num_pairs, crossed = 1000, 0.0
    chance = np.zeros(num_pairs + 1)
    chance[0] = 1.0
    for n in range(1, num_pairs + 1):
        chance[1 : n + 1] = 0.5 * (chance[1 : n + 1] + chance[:n])
        chance[0] *= 0.5
        lost = np.arange(n + 1)
        hit = log_evidence_of_fall(lost, n - lost) >= -np.log(0.02)
        crossed += float(chance[: n + 1][hit].sum())
        chance[: n + 1][hit] = 0.0
    assert 0.01 < crossed < 0.02


def decisions(made: World, num_samples: int, repeats: int) -> list[str]:
    return [
        judge(
            compare(made_outcomes(made, num_samples, np.random.default_rng((num_samples, seed))), resamples=200),
            GateConfig(),
            now=MADE_AT,
            serving_version=1,
        ).decision
        for seed in range(repeats)
    ]


@pytest.mark.parametrize("num_samples", [100, 300])
def test_the_gate_rarely_accepts_a_candidate_at_the_limit(num_samples: int) -> None:
    accepted = decisions(world(0.05, 0.1), num_samples, 250).count("accept")
    assert accepted / 250 <= 0.05 + 3 * (0.05 * 0.95 / 250) ** 0.5


@pytest.mark.parametrize("num_samples", [100, 300])
def test_the_gate_rarely_rejects_an_equal_candidate(num_samples: int) -> None:
    assert decisions(world(0.0, 0.1), num_samples, 200).count("reject") <= 6


def test_the_gate_accepts_a_better_candidate_on_a_small_set() -> None:
    better = World(accuracy=0.8, fall=-0.0625, discordance=0.1)
    assert decisions(better, 100, 100).count("accept") >= 75
    assert decisions(better, 300, 50).count("accept") >= 48


def test_the_gate_refuses_a_clearly_worse_candidate() -> None:
    worse = decisions(world(0.2, 0.2), 300, 60)
    assert worse.count("reject") >= 55
    assert worse.count("accept") == 0


def test_the_gate_never_accepts_five_points_worse_on_a_large_set() -> None:
    assert decisions(world(0.0625, 0.1), 4000, 15).count("accept") == 0


def test_streams_of_real_answers_have_the_truth_that_they_claim() -> None:
    from benchmarks.gate_versions import exchanged, fallen

    rng = np.random.default_rng(0)
    old, new, worse = rng.random(500) < 0.9, rng.random(500) < 0.88, rng.random(500) < 0.5
    first, second = exchanged(old, new, (50, 4000), rng)
    assert first.mean() == pytest.approx(second.mean(), abs=0.005)
    first, second = fallen(old, new, worse, 0.05, (50, 4000), rng)
    assert 1 - second.mean() / first.mean() == pytest.approx(0.05, abs=0.006)
    with pytest.raises(ValueError, match="Give a worse one"):
        fallen(old, new, old, 0.05, (1, 10), rng)
