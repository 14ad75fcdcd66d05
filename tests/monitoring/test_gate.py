import json
from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest

from monitoring.comparison import compare, from_json, to_json
from monitoring.gate import GateConfig, judge, judge_again
from monitoring.moments import nothing
from monitoring.outcomes import PairedOutcomes
from monitoring.rules import holm
from tests.monitoring.made import BETTER, EQUAL, NOW, WORSE, damaged, identical, outcomes, verdict, with_new


def test_a_clearly_better_candidate_is_accepted_on_a_small_set() -> None:
    assert verdict(outcomes(BETTER, 150)).decision == "accept"


def test_identical_predictions_are_accepted() -> None:
    assert verdict(identical(outcomes(EQUAL, 200))).decision == "accept"


def test_a_damaged_candidate_is_rejected_with_its_figures() -> None:
    result = verdict(outcomes(WORSE, 300))
    assert result.decision == "reject"
    assert "accuracy went from 0." in result.reasons[0]
    assert "300 samples" in result.reasons[0]
    assert "established" in result.reasons[0]


def test_five_points_worse_on_a_large_set_is_rejected() -> None:
    assert verdict(outcomes(replace(EQUAL, fall=0.0625), 20_000)).decision == "reject"


def test_too_few_samples_never_pass() -> None:
    result = verdict(outcomes(BETTER, 50))
    assert result.decision == "inconclusive"
    assert "not enough data" in result.reasons[0]


def test_rows_of_few_items_are_too_few() -> None:
    many_rows = outcomes(BETTER, 300, rows_per_item=10)
    assert verdict(many_rows).decision == "inconclusive"


@pytest.mark.parametrize("column", ["confidence", "target_probability"])
def test_a_nan_metric_never_passes(column: str) -> None:
    made = outcomes(BETTER, 300)
    broken = getattr(made.new, column).copy()
    broken[7] = np.nan
    config = GateConfig(watched=("ece", "nll", "alignment_error", "latency_p50"))
    result = verdict(with_new(made, **{column: broken}), config)
    assert result.decision == "inconclusive"
    assert any("could not be measured" in reason for reason in result.reasons)


@pytest.mark.parametrize("metric", ["accuracy", "balanced_accuracy", "instruction_following", "ece"])
def test_a_guarded_figure_that_is_nan_never_passes(metric: str) -> None:
    rows = compare(outcomes(BETTER, 300), resamples=100)
    nan = float("nan")
    broken = [
        replace(row, new=nan, moments=replace(row.moments, new=nan))
        if (row.metric, row.slice) == (metric, "all")
        else row
        for row in rows
    ]
    assert verdict(broken).decision == "inconclusive"


@pytest.mark.parametrize("metric", ["accuracy", "balanced_accuracy", "instruction_following"])
def test_a_missing_metric_never_passes(metric: str) -> None:
    rows = [row for row in compare(outcomes(BETTER, 300), resamples=100) if row.metric != metric]
    result = verdict(rows)
    assert result.decision == "inconclusive"
    assert any(metric in reason for reason in result.reasons)


def test_no_comparison_at_all_never_passes() -> None:
    assert verdict([]).decision == "inconclusive"


def test_stale_evidence_never_passes_and_never_rejects() -> None:
    late = NOW + timedelta(days=8)
    for world in (BETTER, WORSE):
        rows = compare(outcomes(world, 300), resamples=100)
        result = judge(rows, GateConfig(), now=late, serving_version=1)
        assert result.decision == "inconclusive"
        assert "hours old" in result.reasons[0]


def test_evidence_from_the_future_never_passes() -> None:
    rows = compare(outcomes(BETTER, 300), resamples=100)
    assert judge(rows, GateConfig(), now=NOW - timedelta(days=2), serving_version=1).decision == "inconclusive"


@pytest.mark.parametrize("serving", [None, 2, 3])
def test_evidence_against_another_version_never_passes(serving: int | None) -> None:
    result = verdict(outcomes(BETTER, 300), serving_version=serving)
    assert result.decision == "inconclusive"
    assert "in service" in result.reasons[0]


def test_unpaired_samples_never_pass() -> None:
    made = outcomes(BETTER, 300)
    result = verdict(replace(made, provenance=replace(made.provenance, num_unpaired=1)))
    assert result.decision == "inconclusive"
    assert "only one of the two" in result.reasons[0]


def test_two_validations_cannot_be_mixed() -> None:
    made = outcomes(BETTER, 300)
    other = replace(made, provenance=replace(made.provenance, new_version=9))
    assert verdict(compare(made, resamples=50) + compare(other, resamples=50)).decision == "inconclusive"


def test_a_domain_that_collapses_rejects_though_the_mean_rises() -> None:
    made = outcomes(BETTER, 900)
    in_domain = made.domains == "ru"
    result = verdict(with_new(made, answer=np.where(in_domain, (made.target + 1) % 10, made.new.answer)))
    assert result.decision == "reject"
    assert any("domain=ru" in reason for reason in result.reasons)


def test_a_slice_too_small_neither_accepts_nor_rejects() -> None:
    made = outcomes(BETTER, 300)
    domains = np.where(np.arange(300) < 12, "tiny", "rest")
    broken = with_new(
        replace(made, domains=domains), answer=np.where(domains == "tiny", (made.target + 1) % 10, made.target)
    )
    result = verdict(broken)
    assert result.decision == "accept"
    (tiny,) = [row for row in result.rows if row.comparison.slice == "domain=tiny" and row.role == "slice"]
    assert tiny.finding == "not enough data"


def test_a_slice_that_is_the_whole_is_not_judged_twice() -> None:
    (task,) = [
        row
        for row in verdict(outcomes(EQUAL, 300)).rows
        if row.comparison.slice == "task=digit" and row.comparison.metric == "accuracy"
    ]
    assert task.role == "reported"


def test_many_slices_of_noise_do_not_reject() -> None:
    rejected = 0
    for seed in range(40):
        domains = np.random.default_rng((1, seed)).integers(0, 40, 1500).astype(str)
        slices = replace(outcomes(EQUAL, 1500, seed), domains=domains)
        rejected += verdict(compare(slices, resamples=50)).decision == "reject"
    assert rejected <= 2


def test_ignored_instructions_reject() -> None:
    made = outcomes(BETTER, 300)
    assert verdict(with_new(made, followed=np.arange(300) % 5 > 0)).decision == "reject"


def test_lost_calibration_holds_the_candidate_for_a_person() -> None:
    made = outcomes(BETTER, 300)
    result = verdict(with_new(made, confidence=np.full(300, 0.4)))
    assert result.decision == "inconclusive"
    assert any(reason.startswith("ece went from") for reason in result.reasons)


def test_a_latency_that_triples_holds_the_candidate_for_a_person() -> None:
    made = outcomes(BETTER, 300)
    result = verdict(with_new(made, latency_s=made.old.latency_s * 3))
    assert result.decision == "inconclusive"
    assert any(reason.startswith("latency_p50") for reason in result.reasons)


def test_an_established_small_fall_is_for_a_person() -> None:
    world = replace(EQUAL, fall=0.025)
    made = outcomes(world, 8000)
    assert verdict(made).decision == "inconclusive"
    assert verdict(made, GateConfig(hold_small_falls=False)).decision == "accept"


def test_alignment_that_was_never_measured_does_not_stand_in_the_way() -> None:
    made = outcomes(BETTER, 300)
    assert not made.old.hits
    assert verdict(made).decision == "accept"


def test_stored_outcomes_judged_under_another_threshold_flip() -> None:
    data = outcomes(replace(EQUAL, fall=0.12, discordance=0.12), 2000).to_bytes()
    paired = PairedOutcomes.from_bytes(data)
    assert judge_again(paired, GateConfig()).decision == "reject"
    lenient = GateConfig(max_relative_fall=0.25, hold_small_falls=False)
    assert judge_again(paired, lenient).decision == "accept"


def test_stored_comparisons_judged_under_other_limits_flip() -> None:
    rows = from_json(to_json(compare(outcomes(WORSE, 600), resamples=200)))
    assert verdict(rows).decision == "reject"
    assert verdict(rows, GateConfig(max_relative_fall=0.5, hold_small_falls=False)).decision == "accept"


def test_stored_outcomes_can_be_judged_on_other_metrics() -> None:
    made = outcomes(BETTER, 600)
    paired = PairedOutcomes.from_bytes(with_new(made, confidence=np.full(600, 0.4)).to_bytes())
    assert judge_again(paired, GateConfig()).decision == "inconclusive"
    assert judge_again(paired, GateConfig(watched=())).decision == "accept"
    assert judge_again(paired, GateConfig(guarded=("instruction_following", "ece"), watched=())).decision == "reject"


def test_an_unreached_old_figure_does_not_hide_a_gain() -> None:
    made = outcomes(BETTER, 300)
    hopeless = replace(made, old=replace(made.old, answer=damaged(made).answer))
    assert verdict(hopeless).decision == "accept"


def test_the_summary_is_strict_json() -> None:
    made = outcomes(BETTER, 100)
    text = json.dumps(verdict(made).summary(), allow_nan=False)
    assert json.loads(text)["decision"] == "accept"


def test_holm_controls_what_bonferroni_does_and_rejects_no_less() -> None:
    p_values = [0.001, 0.011, 0.02, 0.04, 0.5]
    adjusted = holm(p_values)
    assert adjusted == pytest.approx([0.005, 0.044, 0.06, 0.08, 0.5])
    assert all(ours <= min(1.0, p * 5) for ours, p in zip(adjusted, p_values, strict=True))
    assert holm([]) == []


def test_nothing_measured_is_not_significant() -> None:
    assert nothing().p_below(0.95) == 1.0


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("max_relative_fall", 5),
        ("max_relative_fall", float("nan")),
        ("max_error_rise", 0.0),
        ("max_latency_rise", 0.0),
        ("confidence", 0.4),
        ("primary", ()),
        ("guarded", ("accuracy",)),
        ("min_items", 1),
        ("max_age_s", 0.0),
    ],
)
def test_a_config_that_makes_no_sense_is_refused(field: str, value: object) -> None:
    with pytest.raises(ValueError, match=r"gate\."):
        GateConfig(**{field: value})  # type: ignore[arg-type]
