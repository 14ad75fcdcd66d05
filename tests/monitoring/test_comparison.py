import copy
import json
from dataclasses import fields, replace

import numpy as np
import pytest

from monitoring.comparison import GUARDED_METRICS, Comparison, compare, from_json, to_json
from monitoring.config import GateConfig
from monitoring.measures.catalogue import MEASURES
from monitoring.outcomes import Answers, PairedOutcomes
from tests.monitoring.made import BETTER, EQUAL, damaged, outcomes, with_new


def rows(paired: PairedOutcomes, **other: int) -> dict[tuple[str, str], Comparison]:
    return {(row.metric, row.slice): row for row in compare(paired, resamples=200, **other)}


def test_every_metric_is_compared_on_all_samples() -> None:
    metrics = {metric for metric, name in rows(outcomes(EQUAL, 120)) if name == "all"}
    assert metrics == set(MEASURES) - {"modality_balance"}


def test_accuracy_is_compared_on_every_slice() -> None:
    made = outcomes(EQUAL, 300)
    table = rows(replace(made, without={"audio": (made.old, made.new)}))
    slices = {name for metric, name in table if metric == "accuracy"}
    assert {"task=digit", "domain=fr2", "modalities=audio+image+text", "with=audio", "without=audio"} <= slices
    assert "without=text" not in slices
    assert sum(table["accuracy", f"domain={name}"].num_samples for name in np.unique(made.domains)) == 300


def test_a_modality_is_taken_away_only_from_samples_that_keep_another() -> None:
    made = outcomes(EQUAL, 300)
    table = rows(replace(made, without={"audio": (made.old, made.new)}))
    has = np.array(["audio" in names.split("+") for names in made.modalities])
    alone = made.modalities == "audio"
    assert table["accuracy", "without=audio"].num_samples == (has & ~alone).sum()
    assert table["accuracy", "with=audio"].num_samples == has.sum()


def test_the_ablated_answers_are_the_ones_compared() -> None:
    made = outcomes(EQUAL, 300)
    table = rows(replace(made, without={"audio": (made.old, damaged(made))}))
    assert table["accuracy", "without=audio"].new == 0.0
    assert table["accuracy", "with=audio"].new > 0.5


def test_changes_are_relative_to_the_version_in_service() -> None:
    row = rows(outcomes(BETTER, 400))["accuracy", "all"]
    assert row.relative_change == pytest.approx(row.new / row.old - 1)
    assert row.low < row.relative_change < row.high


def test_a_comparison_is_a_function_of_its_seed_and_leaves_the_evidence_alone() -> None:
    made = outcomes(EQUAL, 150)
    before = copy.deepcopy(made)
    first, second, other = (to_json(compare(made, resamples=100, seed=seed)) for seed in (3, 3, 4))
    assert first == second != other
    assert all(
        np.array_equal(getattr(made.new, entry.name), getattr(before.new, entry.name), equal_nan=True)
        for entry in fields(Answers)
        if entry.name != "hits"
    )


def test_comparisons_survive_strict_json() -> None:
    made = outcomes(EQUAL, 80)
    before = compare(with_new(made, confidence=np.full(80, np.nan)), resamples=50)
    text = to_json(before)
    json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    after = from_json(text)
    assert to_json(after) == text
    assert [row.num_items for row in after] == [row.num_items for row in before]
    assert after[0].provenance == before[0].provenance


def test_other_json_is_refused() -> None:
    for text in ("", "{}1", '[{"metric": "accuracy"}]', "[3]"):
        with pytest.raises(ValueError, match="cannot be read"):
            from_json(text)


def test_unlabelled_samples_count_only_where_no_label_is_needed() -> None:
    made = outcomes(EQUAL, 200)
    half = replace(made, target=np.where(np.arange(200) < 100, made.target, -1))
    table = rows(half)
    assert table["accuracy", "all"].num_samples == 100
    assert table["instruction_following", "all"].num_samples == 200


def test_equal_times_are_one_measurement() -> None:
    made = outcomes(EQUAL, 128)
    batches = np.repeat([0.01, 0.02], 64)
    batched = replace(made, old=replace(made.old, latency_s=batches), new=replace(made.new, latency_s=batches))
    assert rows(batched)["latency_p50", "all"].num_items == 2


def test_samples_that_were_not_timed_are_no_latency() -> None:
    row = rows(with_new(outcomes(EQUAL, 60), latency_s=np.full(60, np.nan)))["latency_p50", "all"]
    assert row.num_samples == 0
    assert np.isnan(row.new)


def test_the_flag_says_what_the_gate_guards_by_default() -> None:
    config = GateConfig()
    assert {*config.primary, *config.guarded, *config.watched} == GUARDED_METRICS


def test_nothing_compared_is_nothing_said() -> None:
    table = rows(outcomes(EQUAL, 0))
    assert all(row.num_samples == 0 and np.isnan(row.new) for row in table.values())
