"""What every rule of the gate must do, whatever its metric: one suite, run for each of them.

A rule is a metric on a slice with its limit. It must not touch its input, be a function of it, and survive empty,
constant, one-row, nan and huge input without ever letting a candidate pass on them.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from monitoring.comparison import Comparison, compare, to_json
from monitoring.config import GateConfig
from monitoring.measures.catalogue import MEASURES
from monitoring.outcomes import Answers, PairedOutcomes
from monitoring.rules import judge_row
from tests.monitoring.made import EQUAL, outcomes, verdict

CONFIG = GateConfig(
    primary=("accuracy", "balanced_accuracy", "instruction_following"),
    guarded=("ece", "negative_flip_rate", "alignment_error"),
    watched=("latency_p50", "latency_p95", "nll", "brier"),
)
RULES = [*CONFIG.primary, *CONFIG.guarded, *CONFIG.watched]


def with_hits(paired: PairedOutcomes, share: float = 0.6) -> PairedOutcomes:
    """The same outcomes with retrieval hits, alike for both versions."""
    rng = np.random.default_rng(1)
    hits = {name: (rng.random(len(paired)) < share).astype(float) for name in ("audio>text", "text>audio")}
    return replace(paired, old=replace(paired.old, hits=hits), new=replace(paired.new, hits=hits))


def constant(side: Answers) -> Answers:
    """Every row alike: all right, all sure, all equally fast."""
    ones = np.ones(len(side.answer))
    return replace(
        side,
        followed=ones.astype(bool),
        confidence=ones,
        target_probability=ones,
        brier=0 * ones,
        latency_s=ones,
        hits={name: ones for name in side.hits},
    )


def scaled(side: Answers, factor: float) -> Answers:
    return replace(side, **{name: getattr(side, name) * factor for name in ("confidence", "brier", "latency_s")})


def ruined(side: Answers) -> Answers:
    """The candidate's numbers are all nan, as after a training that diverged."""
    nan = np.full(len(side.answer), np.nan)
    hits = {name: nan for name in side.hits}
    return replace(side, confidence=nan, target_probability=nan, brier=nan, latency_s=nan, hits=hits)


INPUTS: dict[str, Callable[[], PairedOutcomes]] = {
    "ordinary": lambda: with_hits(outcomes(EQUAL, 300)),
    "empty": lambda: with_hits(outcomes(EQUAL, 0)),
    "one row": lambda: with_hits(outcomes(EQUAL, 1)),
    "one item": lambda: with_hits(outcomes(EQUAL, 200, rows_per_item=200)),
    "constant": lambda: constant_pair(200),
    "nan": lambda: (lambda made: replace(made, new=ruined(made.new)))(with_hits(outcomes(EQUAL, 200))),
    "unlabelled": lambda: (lambda made: replace(made, target=np.full(200, -1)))(with_hits(outcomes(EQUAL, 200))),
    "huge": lambda: (lambda made: replace(made, new=scaled(made.new, 1e300)))(with_hits(outcomes(EQUAL, 200))),
}


def constant_pair(num_rows: int) -> PairedOutcomes:
    made = with_hits(outcomes(EQUAL, num_rows))
    side = replace(constant(made.old), answer=made.target)
    return replace(made, old=side, new=side)


@pytest.fixture(scope="module")
def compared() -> dict[str, dict[str, Comparison]]:
    return {
        name: {row.metric: row for row in compare(made(), resamples=100) if row.slice == "all"}
        for name, made in INPUTS.items()
    }


def test_every_metric_has_a_rule_in_this_suite() -> None:
    assert set(RULES) == set(MEASURES) - {"modality_balance"}


@pytest.mark.parametrize("metric", RULES)
@pytest.mark.parametrize("name", INPUTS)
def test_a_rule_survives_its_input(name: str, metric: str, compared: dict[str, dict[str, Comparison]]) -> None:
    row = judge_row(compared[name][metric], CONFIG)
    assert row.finding in {"safe", "harm", "small fall", "suspect", "unclear", "not enough data", "not measured"}


@pytest.mark.parametrize("metric", RULES)
@pytest.mark.parametrize("name", ["empty", "one row", "one item"])
def test_a_rule_finds_nothing_safe_without_data(
    name: str, metric: str, compared: dict[str, dict[str, Comparison]]
) -> None:
    is_timing = metric.startswith("latency") and name == "one item"  # times are measured row by row
    assert is_timing or judge_row(compared[name][metric], CONFIG).finding in {"not enough data", "not measured"}


@pytest.mark.parametrize("metric", ["ece", "nll", "brier"])
def test_a_rule_finds_nan_not_measured(metric: str, compared: dict[str, dict[str, Comparison]]) -> None:
    row = judge_row(compared["nan"][metric], CONFIG)
    assert (row.finding, row.holds) == ("not measured", True)


@pytest.mark.parametrize("metric", RULES)
def test_a_rule_holds_constant_and_equal_versions_safe(metric: str, compared: dict[str, dict[str, Comparison]]) -> None:
    expected = "not enough data" if metric.startswith("latency") else "safe"  # one time is one measurement
    assert judge_row(compared["constant"][metric], CONFIG).finding == expected


@pytest.mark.parametrize("metric", RULES)
def test_a_rule_is_a_function_of_its_input_and_leaves_it_alone(
    metric: str, compared: dict[str, dict[str, Comparison]]
) -> None:
    comparison = compared["ordinary"][metric]
    before = copy.deepcopy(comparison)
    assert judge_row(comparison, CONFIG) == judge_row(comparison, CONFIG)
    assert comparison == before


@pytest.mark.parametrize("name", ["empty", "one row", "one item", "nan", "unlabelled"])
def test_the_gate_never_accepts_what_was_not_measured(name: str) -> None:
    assert verdict(compare(INPUTS[name](), resamples=100), CONFIG).decision != "accept"


@pytest.mark.parametrize("name", INPUTS)
def test_comparing_is_a_function_of_the_outcomes(name: str) -> None:
    first, second = (to_json(compare(INPUTS[name](), resamples=30)) for _ in range(2))
    assert first == second


@pytest.mark.parametrize("metric", RULES)
def test_a_rule_finds_harm_where_there_is_harm(metric: str) -> None:
    made = with_hits(outcomes(replace(EQUAL, fall=0.5, discordance=0.5), 600))
    ruined_side = replace(
        made.new,
        followed=np.arange(600) % 2 == 0,
        confidence=np.full(600, 0.999),
        target_probability=made.new.target_probability * 0.2,
        brier=made.new.brier + 0.5,
        latency_s=made.old.latency_s * 3,
        hits={name: np.zeros(600) for name in made.new.hits},
    )
    rows = {row.metric: row for row in compare(replace(made, new=ruined_side), resamples=100) if row.slice == "all"}
    assert judge_row(rows[metric], CONFIG).finding == "harm"
