"""Rules as data: the default table is the article's, faults are told by rule, and a value is held to its bound."""

from datetime import UTC, datetime, timedelta
from math import inf, nan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitoring.alerting.backtest import backtest
from monitoring.alerting.evaluating import Reading, combine, evaluate
from monitoring.alerting.machine import Policy
from monitoring.alerting.reading import RulesError, default_text, duration, parse_rules
from monitoring.alerting.rule import Bound, Rule

BASE = Reading(value=0.8, num_samples=200, spread=0.01)
LOW = Rule(
    name="low",
    metric="accuracy",
    bound=Bound(kind="relative", side="lower", limit=0.1, hysteresis=0.05),
    min_samples=50,
    confidence=0.0,
)
SURE = Rule(name="low", metric="accuracy", bound=Bound(kind="relative", side="lower", limit=0.1), min_samples=50)
NUMBERS = st.one_of(st.none(), st.floats(allow_nan=True, allow_infinity=True))


def one(**changes: object) -> str:
    values = {"name": "x", "metric": "accuracy", "bound": "relative", "side": "lower", "limit": 0.1} | changes
    return "rules:\n  - {" + ", ".join(f"{key}: {value}" for key, value in values.items() if value is not None) + "}"


def test_the_default_rules_are_the_articles_table() -> None:
    rules = {rule.name: rule for rule in parse_rules(default_text(), receivers=("log",)).rules}
    for name in ("alignment error high", "latency high"):
        assert (rules[name].bound.kind, rules[name].bound.side, rules[name].bound.limit) == ("relative", "upper", 0.15)
    for name in ("modality balance low", "instructions not followed"):
        assert (rules[name].bound.kind, rules[name].bound.side, rules[name].bound.limit) == ("relative", "lower", 0.1)
    for high, low in (("device busy", "device idle"), ("memory fragmented", "memory compact")):
        assert (rules[high].bound.at(None), rules[low].bound.at(None)) == (0.85, 0.30)
        assert rules[low].receivers == ()
    assert all(rule.mend and rule.summary for rule in rules.values())


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("rules: [", "no YAML"),
        ("[]", "mapping with a list under `rules`"),
        ("rules: []\nrule: []", "no key 'rule'"),
        ("version: 2\nrules: []", "version must be 1"),
        (one(metric="acuracy"), "'acuracy' is not measured"),
        (one(metric=None), "metric is missing"),
        (one(limit="high"), "limit must be a number"),
        (one(limit=-0.1), "not below 0"),
        (one(side="above"), "side must be one of upper, lower"),
        (one(window="15"), "window must be above 0|written like"),
        (one(window="soon"), "written like 30s, 15m or 4h"),
        (one(threshold=1), "no key threshold"),
        (one(receivers="[pager]"), "no receiver 'pager'"),
        (one(confidence=95), "confidence must be 0 or lie in"),
        (one(min_samples="true"), "min_samples must be a number"),
        (one() + "\n  - {name: x, metric: ece, bound: absolute, side: upper, limit: 1}", "two rules are called 'x'"),
        (one() + "\ninhibit: [{source: {}, target: {}}]", "needs a source and a target"),
        (one() + "\nrouting: {repeat: 4h}", "no key repeat"),
    ],
)
def test_a_fault_is_told(text: str, fault: str) -> None:
    text = text.replace("window: 15}", "window: '15'}")
    with pytest.raises(RulesError, match=fault):
        parse_rules(text, receivers=("log",))


def test_all_faults_are_told_at_once_each_with_its_rule() -> None:
    text = one(name="a", side="above") + "\n  - {name: b, metric: nothing, bound: absolute, side: upper, limit: 1}"
    with pytest.raises(RulesError) as caught:
        parse_rules(text)
    assert [fault.partition(":")[0] for fault in caught.value.faults] == ["rule 'a'", "rule 'b'"]


def test_durations_have_units() -> None:
    assert [duration(text) for text in ("500ms", "1h30m", "2d", 7)] == [0.5, 5400.0, 172800.0, 7.0]


def test_exactly_at_the_bound_is_no_breach() -> None:
    assert evaluate(LOW, Reading(value=0.72, num_samples=100), BASE).status == "ok"
    assert evaluate(LOW, Reading(value=0.7199, num_samples=100), BASE).status == "breach"


def test_a_breach_ends_only_inside_the_hysteresis() -> None:
    between = Reading(value=0.73, num_samples=100)
    assert evaluate(LOW, between, BASE).status == "ok"
    assert evaluate(LOW, between, BASE, is_breached=True).status == "breach"
    assert evaluate(LOW, Reading(value=0.77, num_samples=100), BASE, is_breached=True).status == "ok"


def test_a_value_that_noise_can_explain_begins_no_breach() -> None:
    assert evaluate(SURE, Reading(value=0.70, num_samples=100, spread=0.045), BASE).status == "ok"
    assert evaluate(SURE, Reading(value=0.50, num_samples=100, spread=0.045), BASE).status == "breach"


@pytest.mark.parametrize("value", [None, nan, inf, -inf])
def test_what_is_no_number_is_no_data(value: float | None) -> None:
    assert evaluate(LOW, Reading(value=value, num_samples=100), BASE).status == "no_data"
    assert evaluate(LOW, Reading(value=0.1, num_samples=100), Reading(value=value)).status == "no_data"


def test_too_few_samples_no_baseline_and_nothing_at_all_are_no_data() -> None:
    assert evaluate(LOW, Reading(value=0.1, num_samples=49), BASE).status == "no_data"
    assert evaluate(LOW, Reading(value=0.1, num_samples=100), None).status == "no_data"
    assert evaluate(LOW, None, BASE).status == "no_data"


@given(value=NUMBERS, base=NUMBERS, spread=NUMBERS, num=st.integers(0, 10**9), was=st.booleans())
def test_no_input_breaks_an_evaluation(
    value: float | None, base: float | None, spread: float | None, num: int, was: bool
) -> None:
    reading = Reading(value=value, num_samples=num, spread=spread)
    found = evaluate(SURE, reading, Reading(value=base, num_samples=5, spread=spread), is_breached=was)
    assert found.status in ("ok", "breach", "no_data")
    if value is None or base is None or num < 50:
        assert found.status == "no_data"


def test_a_mean_leaves_out_what_could_not_be_measured() -> None:
    readings = [Reading(value=value, num_samples=1) for value in (0.9, None, nan, 0.7)]
    found = combine(readings, "mean")
    assert found is not None
    assert found.value == pytest.approx(0.8)
    assert found.num_samples == 2
    nothing = combine(readings[1:3], "max")
    assert nothing is not None
    assert nothing.value is None


def test_a_back_test_counts_how_often_it_would_have_fired() -> None:
    start = datetime(2026, 3, 1, tzinfo=UTC)
    values = [0.8] * 5 + [0.5] * 5 + [0.8] * 5 + [0.5] * 5
    record = [(start + timedelta(minutes=at), Reading(value=v, num_samples=100)) for at, v in enumerate(values)]
    found = backtest(LOW, record, BASE, Policy(for_s=120))
    assert (found.num_evaluations, found.num_no_data, len(found.episodes)) == (20, 0, 2)
    assert found.episodes[0].fired_at == start + timedelta(minutes=7)
    assert found.episodes[0].ended_at == start + timedelta(minutes=10)
    assert found.episodes[1].ended_at is None
    assert backtest(LOW, record, None, Policy()).share_seen == 0.0
