"""When a round is asked for: what each trigger finds, what it does not, and how often it errs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from monitoring.config import TriggerConfig
from monitoring.mixes import MOST_CATEGORIES, REST, added, count, folded, mix_shift, new_categories, total_variation
from monitoring.traffic import Traffic, confidence_shift, judge_drift, traffic
from monitoring.triggers import (
    ASK,
    NOT_ENOUGH,
    NOT_MEASURED,
    OFF,
    QUIET,
    Judgement,
    alpha_of_look,
    judge_new_labels,
    judge_performance,
    rows_of_look,
    upper_ratio,
)

CONFIG = TriggerConfig()
MIX = {"en": 0.7, "es": 0.3}


def drawn(
    num: int, rng: np.random.Generator, mix: dict[str, float] = MIX, sureness: float = 4.0, modality: str = "text"
) -> Traffic:
    """Traffic of independent rows: domains by their shares, confidences from a beta distribution."""
    domains = rng.choice(list(mix), size=num, p=list(mix.values()))
    return Traffic(confidence=rng.beta(sureness, 1, num), domains=tuple(domains.tolist()), modalities=(modality,) * num)


def found(judgement: Judgement) -> set[str]:
    """Names of the findings that ask."""
    return {each.name for each in judgement.findings if each.verdict == ASK}


def mixes(of: Traffic) -> dict[str, dict[str, int]]:
    return {"domains": count(of.domains), "modalities": count(of.modalities)}


def drift(now: Traffic, baseline: Traffic | None, before: Traffic | None = None, look: int = 1) -> Judgement:
    return judge_drift(now, baseline, {} if before is None else mixes(before), CONFIG, look=look)


# New labels


@pytest.mark.parametrize(("num_new", "verdict"), [(0, QUIET), (199, QUIET), (200, ASK), (5000, ASK)])
def test_new_labels_ask_from_the_threshold_on(num_new: int, verdict: str) -> None:
    assert judge_new_labels(num_new, 200).verdict == verdict


def test_a_threshold_of_zero_switches_new_labels_off() -> None:
    assert judge_new_labels(10**6, 0).verdict == OFF


# Looks


@pytest.mark.parametrize("alpha", [0.01, 0.05])
def test_all_looks_together_have_the_false_alarms_of_one(alpha: float) -> None:
    assert sum(alpha_of_look(look, alpha) for look in range(1, 100_000)) <= alpha


def test_a_look_never_waits_for_fewer_rows_than_the_one_before() -> None:
    rows = [rows_of_look(look, 100, 1000) for look in range(1, 200)]
    assert all(one <= other for one, other in pairwise(rows))
    assert rows[-1] == 1000


# Drift


def test_the_same_traffic_as_at_validation_is_quiet() -> None:
    rng = np.random.default_rng(0)
    judgement = drift(drawn(200, rng), drawn(300, rng), drawn(300, rng))
    assert judgement.verdict == QUIET
    assert "None of 5 tests" in judgement.sentence


def test_another_mix_than_at_validation_alone_is_no_drift() -> None:
    rng = np.random.default_rng(0)
    other = {"en": 0.1, "es": 0.9}
    assert drift(drawn(1000, rng, other), drawn(300, rng), drawn(1000, rng, other)).verdict == QUIET


def test_domains_that_validation_did_not_know_are_drift() -> None:
    rng = np.random.default_rng(0)
    judgement = drift(drawn(100, rng, {"en": 0.5, "fr": 0.5}), drawn(300, rng))
    assert judgement.asks
    assert found(judgement) == {"new domains"}
    assert "fr" in judgement.sentence


def test_a_domain_with_a_handful_of_validation_samples_is_still_new() -> None:
    rng = np.random.default_rng(0)
    validation = traffic([0.9] * 304, ["en"] * 300 + ["fr"] * 4, ["text"] * 304)
    assert "new domains" in found(drift(drawn(100, rng, {"en": 0.5, "fr": 0.5}), validation))


def test_a_modality_that_stays_away_is_drift() -> None:
    rng = np.random.default_rng(0)
    judgement = drift(drawn(100, rng, modality="text"), drawn(300, rng, modality="image+text"))
    assert found(judgement) == {"new modalities"}


def test_falling_confidence_within_a_domain_is_drift() -> None:
    rng = np.random.default_rng(0)
    judgement = drift(drawn(200, rng, sureness=1.5), drawn(300, rng))
    assert found(judgement) == {"confidence"}
    assert "domain=" in judgement.sentence


def test_one_domain_of_several_is_enough() -> None:
    rng = np.random.default_rng(0)
    good, bad = drawn(200, rng, {"en": 1.0}), drawn(60, rng, {"es": 1.0}, sureness=1.0)
    both = traffic([*good.confidence, *bad.confidence], [*good.domains, *bad.domains], ["text"] * 260)
    assert found(drift(both, drawn(300, rng))) == {"confidence"}


def test_a_small_difference_is_no_drift_however_certain() -> None:
    rng = np.random.default_rng(0)
    now, baseline = drawn(20_000, rng, sureness=3.5), drawn(20_000, rng)
    finding = confidence_shift(now, baseline, CONFIG, 0.01)
    assert finding.p_value < 1e-6
    assert finding.verdict == QUIET
    assert mix_shift("domains", {"en": 5500, "es": 4500}, {"en": 5000, "es": 5000}, CONFIG, 0.01).verdict == QUIET


def test_another_mix_than_before_is_drift() -> None:
    rng = np.random.default_rng(0)
    now, before = drawn(200, rng, {"en": 0.2, "es": 0.8}), drawn(300, rng)
    assert found(drift(now, drawn(300, rng), before)) == {"mix of domains"}


# Too little, nan, off


def test_without_a_baseline_nothing_is_called_fine() -> None:
    rng = np.random.default_rng(0)
    judgement = drift(drawn(1000, rng), None, drawn(1000, rng))
    assert judgement.verdict == NOT_ENOUGH
    assert not found(judgement)


@pytest.mark.parametrize("num", [0, 1, 19])
def test_few_predictions_are_not_enough_data_never_no_drift(num: int) -> None:
    rng = np.random.default_rng(0)
    judgement = drift(drawn(num, rng, sureness=0.5), drawn(300, rng), drawn(300, rng))
    assert judgement.verdict == NOT_ENOUGH
    assert {each.verdict for each in judgement.findings} == {NOT_ENOUGH}


def test_a_first_look_cannot_tell_about_the_mix_and_says_so() -> None:
    rng = np.random.default_rng(0)
    judgement = drift(drawn(200, rng), drawn(300, rng))
    assert judgement.verdict == NOT_ENOUGH
    assert "mix of domains" in judgement.sentence


def test_a_test_on_a_small_part_of_the_traffic_does_not_clear_the_rest() -> None:
    rng = np.random.default_rng(0)
    validation = traffic([0.9] * 45, ["en"] * 30 + ["es"] * 15, ["text"] * 45)
    finding = confidence_shift(drawn(200, rng, {"en": 0.2, "es": 0.8}, sureness=9.0), validation, CONFIG, 1e-9)
    assert finding.verdict == NOT_ENOUGH


@pytest.mark.parametrize("which", ["now", "baseline"])
def test_a_confidence_that_is_no_number_is_never_fine(which: str) -> None:
    rng = np.random.default_rng(0)
    now, baseline, before = drawn(200, rng), drawn(300, rng), drawn(300, rng)
    (now if which == "now" else baseline).confidence[7] = np.nan
    judgement = drift(now, baseline, before)
    assert judgement.verdict == NOT_MEASURED
    assert "not a number" in judgement.sentence


def test_nan_does_not_hide_drift_that_is_plain_to_see() -> None:
    rng = np.random.default_rng(0)
    now = drawn(200, rng, {"fr": 1.0})
    now.confidence[:] = np.nan
    assert drift(now, drawn(300, rng)).verdict == ASK


def test_a_constant_confidence_is_compared_without_a_warning() -> None:
    same = traffic([1.0] * 50, ["en"] * 50, ["text"] * 50)
    assert drift(same, same, same).verdict == QUIET


def test_each_trigger_can_be_switched_off() -> None:
    off = TriggerConfig(drift_first_rows=0, feedback_first_rows=0)
    rng = np.random.default_rng(0)
    assert judge_drift(drawn(100, rng, {"fr": 1.0}), drawn(100, rng), {}, off).verdict == OFF
    assert judge_performance(0, 100, (100, 100), off).verdict == OFF


def test_judging_changes_nothing_and_gives_the_same_twice() -> None:
    rng = np.random.default_rng(0)
    now, baseline = drawn(200, rng), drawn(300, rng)
    before = now.confidence.copy()
    assert drift(now, baseline).sentence == drift(now, baseline).sentence
    assert np.array_equal(now.confidence, before)


def test_traffic_survives_json_with_nan() -> None:
    rng = np.random.default_rng(0)
    one = drawn(5, rng)
    one.confidence[2] = np.nan
    again = Traffic.from_json(one.to_json())
    assert np.array_equal(again.confidence, one.confidence, equal_nan=True)
    assert (again.domains, again.modalities) == (one.domains, one.modalities)


def test_columns_of_different_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match="one length"):
        traffic([0.5], ["en", "es"], ["text", "text"])


# Mixes


def test_a_mix_of_very_many_domains_stays_small_and_comparable() -> None:
    total: dict[str, int] = {}
    for start in range(0, 5000, 500):
        total = added(total, count([f"user-{number}" for number in range(start, start + 500)] + ["en"] * 500))
    assert sum(total.values()) == 10_000
    assert len(total) <= MOST_CATEGORIES + 1
    assert total["en"] == 5000
    now = count([f"other-{number}" for number in range(250)] + ["en"] * 250)
    assert total_variation(folded(now, total), total) < 0.02 + total[REST] / 10_000 * 0.05
    assert mix_shift("domains", now, total, CONFIG, 0.05).verdict == QUIET


def test_rare_categories_do_not_upset_the_mix() -> None:
    before = {"en": 900, **{f"rare-{number}": 1 for number in range(40)}}
    now = {"en": 95, **{f"other-{number}": 1 for number in range(5)}}
    assert mix_shift("domains", now, before, CONFIG, 0.05).verdict == QUIET


@pytest.mark.parametrize(("num_new", "verdict"), [(10, QUIET), (15, QUIET), (30, ASK), (100, ASK)])
def test_a_few_strangers_are_no_drift(num_new: int, verdict: str) -> None:
    now = ["xx"] * num_new + ["en"] * (100 - num_new)
    assert new_categories("domains", now, ["en"] * 50, CONFIG, 0.005).verdict == verdict


# Performance


def test_an_established_fall_asks() -> None:
    judgement = judge_performance(140, 200, (270, 300), CONFIG)
    assert judgement.asks
    assert judgement.numbers["relative_change"] == pytest.approx(0.7 / 0.9 - 1)
    assert "0.700" in judgement.sentence
    assert "0.900" in judgement.sentence


@pytest.mark.parametrize("right", [180, 172, 200])
def test_a_fall_within_the_limit_or_a_rise_does_not(right: int) -> None:
    assert judge_performance(right, 200, (270, 300), CONFIG).verdict == QUIET


def test_few_rows_on_either_side_are_not_enough_data() -> None:
    assert judge_performance(0, 19, (270, 300), CONFIG).verdict == NOT_ENOUGH
    assert judge_performance(0, 200, (19, 19), CONFIG).verdict == NOT_ENOUGH
    assert judge_performance(0, 0, (0, 0), CONFIG).verdict == NOT_ENOUGH


def test_without_a_validation_accuracy_performance_is_not_called_fine() -> None:
    assert judge_performance(200, 200, None, CONFIG).verdict == NOT_MEASURED


def test_later_looks_need_more_evidence() -> None:
    assert judge_performance(154, 200, (270, 300), CONFIG, look=1).asks
    assert not judge_performance(154, 200, (270, 300), CONFIG, look=30).asks


@pytest.mark.parametrize("rows", [(0, 100), (100, 100), (0, 1)])
@pytest.mark.parametrize("baseline", [(0, 100), (100, 100), (1, 100)])
def test_shares_of_none_and_all_give_bounds_and_no_error(rows: tuple[int, int], baseline: tuple[int, int]) -> None:
    ratio, bound = upper_ratio(*rows, *baseline, 0.01)
    assert np.isnan(ratio) or ratio <= bound
    judge_performance(*rows, baseline, CONFIG)


# Error rates


def alarms(num_lives: int, life: Callable[[np.random.Generator], bool], seed: int) -> float:
    """Share of the simulated lives of a version in which a round was asked for."""
    return float(np.mean([life(rng) for rng in np.random.default_rng(seed).spawn(num_lives)]))


def life_of_drift(num_looks: int, sureness: float = 4.0) -> Callable[[np.random.Generator], bool]:
    """Does any of the looks at a version's traffic report drift? The version's mix is another than at validation."""

    def life(rng: np.random.Generator) -> bool:
        config, mix = replace(CONFIG, min_distance=1e-9, min_mix_shift=1e-9, max_new_share=0.01), {"en": 0.4, "es": 0.6}
        baseline, before = drawn(300, rng), dict[str, dict[str, int]]()
        for look in range(1, num_looks + 1):
            now = drawn(rows_of_look(look, 100, 400), rng, mix, sureness)
            if judge_drift(now, baseline, before, config, look=look).asks:
                return True
            before = {name: added(before.get(name, {}), rows) for name, rows in mixes(now).items()}
        return False

    return life


def life_of_performance(num_looks: int, fall: float) -> Callable[[np.random.Generator], bool]:
    """Does any of the looks at a version's feedback report a fall beyond the limit?"""

    def life(rng: np.random.Generator) -> bool:
        baseline = int(rng.binomial(300, 0.9)), 300
        for look in range(1, num_looks + 1):
            num = rows_of_look(look, 100, 1000)
            right = int(rng.binomial(num, 0.9 * (1 - fall)))
            if judge_performance(right, num, baseline, CONFIG, look=look).asks:
                return True
        return False

    return life


def test_drift_is_rarely_reported_of_unchanged_traffic_however_often_it_is_looked_at() -> None:
    """Even without any floor on the size of the effect."""
    assert alarms(60, life_of_drift(6), seed=1) <= 0.05


def test_a_fall_at_the_limit_is_rarely_reported_however_often_it_is_looked_at() -> None:
    assert alarms(400, life_of_performance(20, fall=0.05), seed=2) <= 0.05


def test_no_fall_is_hardly_ever_reported() -> None:
    assert alarms(400, life_of_performance(20, fall=0.0), seed=3) <= 0.005


def test_real_drift_is_found_within_three_looks() -> None:
    assert alarms(100, life_of_drift(3, sureness=1.5), seed=4) >= 0.99


def test_a_fall_of_a_fifth_is_found_within_three_looks() -> None:
    assert alarms(300, life_of_performance(3, fall=0.2), seed=5) >= 0.95


# Config


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_false_alarm": 0.0},
        {"max_relative_fall": 5},
        {"min_distance": float("nan")},
        {"drift_first_rows": 10},
        {"feedback_first_rows": 2000},
        {"drift_first_rows": -1},
        {"known_rows": 0},
        {"ask_again_s": -1.0},
        {"min_rows": 0},
    ],
)
def test_a_limit_that_means_nothing_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="triggers"):
        TriggerConfig(**wrong)  # type: ignore[arg-type]
