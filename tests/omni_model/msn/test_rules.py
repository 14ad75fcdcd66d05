"""The article's static table, for any modalities."""

from __future__ import annotations

import pytest
from hypothesis import given, settings

from omni_model.msn.choice import Budget
from omni_model.msn.rules import LIGHTEST_FIRST, STATIC_RULES
from tests.omni_model.msn import made

EVERYTHING = frozenset(LIGHTEST_FIRST)


@pytest.mark.parametrize(
    ("task", "share", "expected"),
    [
        ("easy-vqa", 0.71, {"image", "text"}),
        ("easy-vqa", 0.7, {"text"}),
        ("visual_question_answering", 0.9, {"image", "text"}),
        ("summarise_podcast", 0.2, {"text", "audio"}),
        ("Summary", 0.2, {"text", "image"}),
        ("digit", 0.99, {"text"}),
        ("digit", 1.0, EVERYTHING),
    ],
)
def test_the_printed_table(task: str, share: float, expected: frozenset[str]) -> None:
    assert STATIC_RULES.choose(task, EVERYTHING, Budget(share=share)).subset == expected


@pytest.mark.parametrize(
    ("available", "expected"),
    [({"image", "audio"}, {"image"}), ({"video", "audio"}, {"audio"}), ({"depth"}, {"depth"}), (set(), set())],
)
def test_where_nothing_of_it_is_there_the_lightest_is_used(available: set[str], expected: set[str]) -> None:
    assert STATIC_RULES.choose("digit", frozenset(available), Budget(share=0.5)).subset == expected


def test_a_latency_counts_as_a_tight_budget() -> None:
    assert STATIC_RULES.choose("easy-vqa", EVERYTHING, Budget(share=1.0, latency_s=5.0)).subset == {"text"}


@given(made.tasks, made.availables, made.budgets)
@settings(deadline=None)
def test_a_choice_is_a_subset_of_what_is_there_and_empty_only_if_nothing_is(
    task: str, available: frozenset[str], budget: Budget
) -> None:
    choice = STATIC_RULES.choose(task, available, budget)
    assert choice.subset <= available
    assert bool(choice.subset) == bool(available)
    assert bool(choice.why) == (choice.subset != available)
