"""Chains: what is promised of any, and what is fitted where the truth is known."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omni_model.model import OmniModel
from omni_model.msn.chaining import Answered, candidates, fit_chain, orders, row_losses
from omni_model.msn.chains import Chain, walked
from omni_model.msn.choice import Budget, Stage, has_chains
from omni_model.msn.config import MsnConfig
from omni_model.msn.measuring import measure
from omni_model.msn.measuring_chains import chained
from omni_model.msn.selector import MeasuredSelector, fit_selector, selector_from, subsets_of
from omni_model.msn.table import Costs, Parts, Subset
from omni_model.sample import Sample
from tests.omni_model.conftest import make_sample
from tests.omni_model.msn import made
from tests.omni_model.msn.made import ALL, MODALITIES, TASKS

TEXT, SEEN = frozenset({"text"}), frozenset({"image", "text"})
QUICK = MsnConfig(min_rows=1, cost_rows=2, batch_rows=4, cost_repeats=1, max_loss=0.1, chain_rows=10)
EACH_S = {"text": 0.001, "image": 0.003, "audio": 0.006}
COSTS = Costs(
    alone=Parts(fixed_s=0.001, each_s=EACH_S),
    batched=Parts(fixed_s=0.0, each_s=EACH_S),
    again_alone=Parts(fixed_s=0.0005, each_s=dict.fromkeys(MODALITIES, 0.0)),
    again_batched=Parts(fixed_s=0.0005, each_s=dict.fromkeys(MODALITIES, 0.0)),
)


@st.composite
def chains(draw: st.DrawFn, task: str, subset: Subset) -> Chain:
    """Some stages of some order of a set."""
    order = draw(st.permutations(sorted(subset)))
    sizes = sorted(draw(st.sets(st.integers(1, len(subset) - 1))))
    early = tuple(Stage(frozenset(order[:size]), draw(st.floats(0, 1))) for size in sizes)
    stops = (1.0,) * (len(early) + 1)
    return Chain(
        task=task, subset=subset, early=early, stops=stops, work=0.5, loss=draw(made.shares), error=0.01, num_rows=100
    )


@st.composite
def selectors(draw: st.DrawFn) -> MeasuredSelector:
    """Any table, any tree, any chains; what fusing costs may be known or not."""
    table = draw(made.tables())
    if draw(st.booleans()):
        costs = {
            task: replace(cost, again_alone=draw(made.parts), again_batched=draw(made.parts))
            for task, cost in table.costs.items()
        }
        table = replace(table, costs=costs)
    keys = [(task, subset) for task in TASKS for subset in subsets_of(MODALITIES) if len(subset) > 1]
    with_chain = draw(st.lists(st.sampled_from(keys), unique=True))
    return MeasuredSelector(
        table=table, tree=draw(made.trees()), chains=tuple(draw(chains(task, subset)) for task, subset in with_chain)
    )


@given(selectors(), made.tasks, made.availables, made.budgets)
@settings(deadline=None)
def test_stages_are_growing_parts_of_what_is_chosen_and_a_chain_changes_no_choice(
    selector: MeasuredSelector, task: str, available: Subset, budget: Budget
) -> None:
    choice = selector.choose(task, available, budget)
    parts = [*(stage.subset for stage in choice.early), choice.subset]
    assert all(one and one < other for one, other in pairwise(parts))
    assert choice.subset <= available
    assert replace(choice, early=()) == replace(selector, chains=()).choose(task, available, budget)


@given(selectors(), made.tasks, made.availables, made.budgets)
@settings(deadline=None)
def test_no_budget_is_broken_even_if_no_answer_is_ever_sure(
    selector: MeasuredSelector, task: str, available: Subset, budget: Budget
) -> None:
    early = (choice := selector.choose(task, available, budget)).early
    if early:
        costs = selector.table.costs[task]
        batched_s, alone_s = walked(early, choice.subset, costs)
        if budget.share is not None:
            assert batched_s <= budget.share * costs.batched.of(available & ALL) * (1 + 1e-6)
        if budget.latency_s is not None:
            assert alone_s <= budget.latency_s * (1 + 1e-6)


@given(selectors(), made.tasks, made.availables, made.budgets)
@settings(deadline=None)
def test_a_selector_with_chains_reads_back_as_it_was_written(
    selector: MeasuredSelector, task: str, available: Subset, budget: Budget
) -> None:
    again = selector_from(selector.to_json())
    assert again == selector
    assert again.choose(task, available, budget) == selector.choose(task, available, budget)
    assert has_chains(again) == bool(selector.chains)


def test_a_selector_without_chains_is_written_as_before_there_were_any() -> None:
    raw = json.loads(fit_selector(made.small_table(), max_leaves=8).to_json())
    assert raw["schema_version"] == 1
    assert set(raw) == {"schema_version", "table", "tree"}
    assert set(raw["table"]["costs"]["digit"]) == {"alone", "batched"}
    assert selector_from(json.dumps(raw)).chains == ()


def test_a_tight_budget_shortens_the_chain_and_a_tighter_one_walks_none() -> None:
    table = replace(made.small_table(), costs={"digit": COSTS})
    chain = Chain(
        task="digit",
        subset=ALL,
        early=(Stage(TEXT, 0.9), Stage(SEEN, 0.9)),
        stops=(0.5, 0.3, 0.2),
        work=0.5,
        loss=0.0,
        error=0.01,
        num_rows=100,
    )
    selector = replace(fit_selector(table, max_leaves=64), chains=(chain,))
    lengths = [len(selector.choose("digit", ALL, Budget(latency_s=ms / 1e3)).early) for ms in (12.01, 11.51, 11.01)]
    assert lengths == [2, 1, 0]
    assert selector.choose("digit", ALL, Budget()).early == chain.early
    assert selector.choose("digit", ALL, Budget(share=1.0)).early == ()


# Fitting


def answered(num_rows: int, seed: int = 0) -> dict[Subset, Answered]:
    """Text is sure of 60 % of the rows, and right there; elsewhere it is as good as a guess. The image the same."""
    rng = np.random.default_rng(seed)
    hard = {
        "text": rng.random(num_rows) < 0.4,
        "image": rng.random(num_rows) < 0.4,
        "audio": rng.random(num_rows) < 0.8,
    }
    found = {}
    for subset in subsets_of(MODALITIES):
        is_hard = np.logical_and.reduce([hard[name] for name in subset]) & (subset != ALL)
        sure = np.where(is_hard, rng.uniform(0.2, 0.5, num_rows), rng.uniform(0.9, 1.0, num_rows))
        found[subset] = Answered(confidence=sure, loss=np.where(is_hard, 0.8, 0.0))
    return found


def test_the_cheap_part_comes_first_and_stops_where_it_is_sure() -> None:
    chain = fit_chain("digit", ALL, answered(500), COSTS, 0.01)
    assert chain is not None
    assert [stage.subset for stage in chain.early] == [TEXT, SEEN]
    assert all(0.2 < stage.threshold < 0.95 for stage in chain.early)
    assert chain.stops == pytest.approx((0.6, 0.24, 0.16), abs=0.06)
    assert sum(chain.stops) == pytest.approx(1.0)
    assert chain.work < 0.5
    assert chain.loss <= 0.01
    assert chain.num_rows == 500


@pytest.mark.parametrize("max_loss", [0.005, 0.01, 0.02, 0.05])
def test_what_is_lost_on_other_rows_is_about_what_may_be_lost(max_loss: float) -> None:
    """Over many fits on few rows; the confidences say nothing here, so that thresholds fit noise."""
    lost = []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        noise = {
            subset: Answered(
                confidence=rng.uniform(0, 1, 1200),
                loss=np.where((rng.random(1200) < 0.1) & (subset != ALL), 1.0, 0.0),
            )
            for subset in subsets_of(SEEN)
        }
        noise[SEEN] = replace(noise[SEEN], loss=np.zeros(1200))
        few = {part: Answered(confidence=one.confidence[:200], loss=one.loss[:200]) for part, one in noise.items()}
        chain = fit_chain("digit", SEEN, few, COSTS, max_loss)
        if chain is None:
            lost.append(0.0)
            continue
        (stage,) = chain.early
        stops = noise[stage.subset].confidence[200:] >= stage.threshold
        lost.append(float(np.where(stops, noise[stage.subset].loss[200:], 0.0).mean()))
    assert np.mean(lost) <= 1.5 * max_loss


def test_where_nothing_can_be_saved_there_is_no_chain() -> None:
    whole = answered(200)
    useless = {part: replace(one, loss=np.where(part == ALL, 0.0, 1.0) * np.ones(200)) for part, one in whole.items()}
    assert fit_chain("digit", ALL, useless, COSTS, 0.02) is None


def test_of_many_modalities_only_the_cheapest_first_is_tried() -> None:
    each_s = {name: float(place + 1) for place, name in enumerate("fedcba")}
    costs = Costs(alone=Parts(fixed_s=0, each_s=each_s), batched=Parts(fixed_s=0, each_s=each_s))
    assert orders(frozenset("abcdef"), costs) == [tuple("fedcba")]
    assert len(orders(ALL, COSTS)) == 6
    assert len(candidates(ALL, answered(50), COSTS).early) > 100


def test_losses_mean_the_label_and_the_probabilities() -> None:
    whole, part = np.array([[0.9, 0.1]] * 3), np.array([[0.2, 0.8], [0.2, 0.8], [0.7, 0.3]])
    assert row_losses(part, whole, np.array([0, 1, 0])).tolist() == pytest.approx([0.9, -0.1, 0.0])


def test_chains_are_fitted_to_a_model_only_if_a_loss_is_allowed(model: OmniModel) -> None:
    rows: Sequence[Sample] = [make_sample(number) for number in range(24)]
    plain = fit_selector(measure(model, rows, QUICK), max_leaves=8)
    model.train()
    assert chained(model, rows, plain, replace(QUICK, max_loss=0.0)) is plain
    found = chained(model, rows, plain, replace(QUICK, max_loss=0.9))
    assert model.training
    assert found.chains
    assert found.table.costs["shape"].again_batched is not None
    assert found.table.situations == plain.table.situations
    assert chained(model, rows, plain, replace(QUICK, chain_rows=25)).chains == ()
    assert selector_from(found.to_json()) == found
    model.eval()


@pytest.mark.parametrize("loss", [-0.1, 1.0, float("nan")])
def test_a_loss_that_is_no_share_is_refused(loss: float) -> None:
    with pytest.raises(ValueError, match="OMNI_MSN__MAX_LOSS"):
        MsnConfig(max_loss=loss)
