"""What holds for every choice, whatever was measured and whatever the tree says."""

from __future__ import annotations

import json
import subprocess
import sys
import time

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from omni_model.msn.choice import Budget
from omni_model.msn.selector import MeasuredSelector, fit_selector, selector_from, subsets_of
from omni_model.msn.table import Situation, Table
from omni_model.msn.tree import Leaf, lessons_of
from tests.omni_model.msn import made
from tests.omni_model.msn.made import ALL, MODALITIES


@given(made.selectors, made.tasks, made.availables, made.budgets)
@settings(deadline=None)
def test_a_choice_is_a_subset_of_what_is_there_and_empty_only_if_nothing_is(
    selector: MeasuredSelector, task: str, available: frozenset[str], budget: Budget
) -> None:
    choice = selector.choose(task, available, budget)
    assert choice.subset <= available
    assert bool(choice.subset) == bool(available)
    assert bool(choice.why) == (choice.subset != available)


@given(made.selectors, made.tasks, made.availables, made.budgets)
@settings(deadline=None)
def test_the_budget_is_kept_whenever_any_subset_keeps_it(
    selector: MeasuredSelector, task: str, available: frozenset[str], budget: Budget
) -> None:
    known = available & ALL
    costs = selector.table.costs_of(task)
    assume(known and costs is not None)
    assert costs is not None
    fitting = [subset for subset in subsets_of(known) if costs.keeps(subset, known, budget)]
    chosen = selector.choose(task, available, budget).subset
    if budget == Budget():
        assert chosen == available
    elif fitting:
        assert chosen in fitting
    else:
        nearest = min(costs.excess(subset, known, budget) for subset in subsets_of(known))
        assert costs.excess(chosen, known, budget) == nearest


@given(made.measured(), st.tuples(made.shares, made.shares).map(sorted), st.floats(0.01, 50))
@settings(deadline=None)
def test_a_larger_share_never_gives_a_lower_expected_accuracy(
    found: tuple[MeasuredSelector, Situation], shares: list[float], latency_s: float
) -> None:
    selector, situation = found
    task, available = situation.task, situation.available
    less, more = (selector.choose(task, available, Budget(share=share)).subset for share in shares)
    assert situation.accuracy[less] <= situation.accuracy[more]
    tight, wide = (Budget(share=share, latency_s=latency_s) for share in shares)
    if any(selector.table.costs[task].keeps(row.subset, available, tight) for row in situation.scored):
        less, more = (selector.choose(task, available, budget).subset for budget in (tight, wide))
        assert situation.accuracy[less] <= situation.accuracy[more]


@given(made.measured(), st.tuples(st.floats(1e-3, 50), st.floats(1e-3, 50)).map(sorted))
@settings(deadline=None)
def test_more_time_never_gives_a_lower_expected_accuracy(
    found: tuple[MeasuredSelector, Situation], latencies: list[float]
) -> None:
    selector, situation = found
    less, more = (
        selector.choose(situation.task, situation.available, Budget(latency_s=one)).subset for one in latencies
    )
    assert situation.accuracy[less] <= situation.accuracy[more]


@given(made.selectors, made.tasks, made.availables, made.budgets)
@settings(deadline=None)
def test_a_selector_reads_back_as_it_was_written_and_chooses_the_same(
    selector: MeasuredSelector, task: str, available: frozenset[str], budget: Budget
) -> None:
    again = selector_from(selector.to_json())
    assert again == selector
    assert again.to_json() == selector.to_json()
    assert again.choose(task, available, budget) == selector.choose(task, available, budget)
    assert again.rules() == selector.rules()


@given(made.tables(least=1))
@settings(max_examples=25, deadline=None)
def test_a_tree_with_leaves_enough_says_what_the_table_says_and_fitting_twice_gives_the_same(table: Table) -> None:
    selector = fit_selector(table, max_leaves=4096)
    assert selector.num_leaves <= 4096
    assert selector.agreement >= 0.9
    assert fit_selector(table, max_leaves=4096) == selector


def test_a_tree_of_two_leaves_is_made_good_by_the_table() -> None:
    table = made.small_table()
    rough, fine = fit_selector(table, max_leaves=2), fit_selector(table, max_leaves=4096)
    assert rough.num_leaves == 2
    assert rough.agreement < fine.agreement == 1.0
    for features, best in lessons_of(table):
        available = frozenset(name for name in MODALITIES if features.get(f"has:{name}"))
        budget = Budget(share=features["share"], latency_s=features["latency_s"])
        assert rough.choose("digit", available, budget).subset == best


def test_more_budget_buys_more_modalities_and_the_reason_is_told() -> None:
    selector = fit_selector(made.small_table(), max_leaves=64)
    chosen = {share: selector.choose("digit", ALL, Budget(share=share)) for share in (0.0, 0.1, 0.4, 0.7, 1.0)}
    assert [sorted(choice.subset) for choice in chosen.values()] == [
        ["text"],
        ["text"],
        ["image", "text"],
        ["image", "text"],
        ["audio", "image", "text"],
    ]
    assert chosen[0.4].why == "the budget of 40% of the work allows image + text"
    assert chosen[0.0].why == "the budget of 0% of the work allows nothing, and text comes nearest"
    assert selector.choose("digit", ALL, Budget(latency_s=0.0061)).why == "the budget of 6.1 ms allows image + text"


def test_what_does_as_well_with_less_is_chosen_even_with_budget_for_all() -> None:
    table = made.small_table()
    whole = table.by_situation["digit", ALL]
    worse = tuple(row if row.subset != ALL else type(row)(subset=ALL, accuracy=0.9, error=0.03) for row in whole.scored)
    changed = type(whole)(task="digit", available=ALL, num_rows=100, num_exact=20, scored=worse)
    selector = fit_selector(Table(modalities=table.modalities, costs=table.costs, situations=(changed,)), max_leaves=64)
    choice = selector.choose("digit", ALL, Budget(share=1.0))
    assert sorted(choice.subset) == ["image", "text"]
    assert choice.why == "image + text does as well without it (92% right when measured)"


def test_without_a_bound_nothing_is_left_out() -> None:
    selector = fit_selector(made.small_table(), max_leaves=64)
    assert selector.choose("digit", ALL, Budget()).subset == ALL


def test_a_modality_that_was_never_measured_is_only_used_where_nothing_else_is_there() -> None:
    selector = fit_selector(made.small_table(), max_leaves=64)
    assert selector.choose("digit", frozenset({"smell", "text"}), Budget(share=0.9)).subset == {"text"}
    assert selector.choose("digit", frozenset({"smell"}), Budget(share=0.1)).subset == {"smell"}


def test_a_choice_takes_microseconds() -> None:
    selector = fit_selector(made.small_table(), max_leaves=64)
    budget, num = Budget(share=0.5), 2000
    began = time.process_time()
    for _ in range(num):
        selector.choose("digit", ALL, budget)
    assert (time.process_time() - began) / num < 0.0005


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"schema_version": 2}',
        '{"schema_version": 3}',
        '{"schema_version": 1, "table": {}, "tree": {}}',
        "null",
        "\x00",
    ],
)
def test_anything_else_is_refused_with_the_mend(text: str) -> None:
    with pytest.raises(ValueError, match="omniloop msn fit"):
        selector_from(text)


def test_nothing_measured_is_nothing_to_fit() -> None:
    with pytest.raises(ValueError, match="Label more"):
        fit_selector(Table(modalities=(), costs={}, situations=()), max_leaves=8)


def test_one_answer_for_everything_is_a_tree_of_one_leaf() -> None:
    table = made.small_table()
    only = table.by_situation["digit", frozenset({"text"})]
    selector = fit_selector(Table(modalities=table.modalities, costs=table.costs, situations=(only,)), max_leaves=8)
    assert selector.tree == Leaf(subset=frozenset({"text"}))
    assert selector.rules() == "use text"


def test_choosing_needs_neither_torch_nor_scikit_learn(tmp_path: pytest.TempPathFactory) -> None:
    text = fit_selector(made.small_table(), max_leaves=64).to_json()
    program = (
        "import json, sys\n"
        "from omni_model.msn.choice import Budget\n"
        "from omni_model.msn.selector import selector_from\n"
        "choice = selector_from(sys.stdin.read()).choose('digit', frozenset({'text', 'image'}), Budget(share=0.3))\n"
        "heavy = [name for name in ('torch', 'sklearn', 'scipy', 'numpy', 'pandas') if name in sys.modules]\n"
        "print(json.dumps([sorted(choice.subset), heavy]))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], input=text, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == [["text"], []]
