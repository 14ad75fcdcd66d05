"""What a model card tells, from facts alone."""

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest

from monitoring.card_facts import CardFacts, Gate, Measured, Scored
from monitoring.measures.alignment import alignment
from monitoring.model_card import limits, render

MEASURED = Measured(
    overall=Scored(name="all", num_right=150, num_samples=200),
    domains=[Scored(name="en", num_right=90, num_samples=100), Scored(name="ru", num_right=6, num_samples=10)],
    subsets=[
        Scored(name="image", num_right=40, num_samples=100),
        Scored(name="audio+image", num_right=80, num_samples=90),
    ],
    following=0.98,
    ece=0.04,
    nll=0.6,
    brier=0.3,
    temperature=1.2,
    balance=0.8,
    shapley={"audio": 0.5, "image": -0.02},
    pairs=alignment({"audio": np.eye(4), "image": np.eye(4)[::-1]}).pairs,
)
FACTS = CardFacts(
    model="omniloop",
    version=3,
    state="serving_on_probation",
    made_at=datetime(2026, 3, 1, tzinfo=UTC),
    architecture="omni",
    digest="d" * 64,
    parent=2,
    ancestors=[3, 2, 1],
    parameters=1_234_567,
    stored_bytes=2_500_000,
    description={"modalities": ("audio", "image"), "layers": 1},
    tasks={"digit": tuple("0123456789")},
    trigger="drift",
    training={"epochs": 10, "seconds": 3.21, "best_val": None},
    roles={"selected": 9, "control": 1, "replay": 80},
    num_learnt=90,
    num_tainted=0,
    snapshot="s" * 32,
    samples={"en": {"train": 80, "val": 100}, "ru": {"train": 5}},
    measured=MEASURED,
    gate=Gate(
        verdict="accept",
        reasons=["Nothing is worse | really"],
        against=2,
        rows=[("accuracy", "all", 0.7, 0.75, -0.01, 0.1, 200)],
    ),
)


def test_a_card_gives_each_figure_with_its_interval_and_its_samples() -> None:
    card = render(FACTS)
    assert card.startswith("# Model card: omniloop v3\n")
    assert "| en | 0.900 (0.826–0.945) | 100 |" in card
    assert "| accuracy | all | 0.7 | 0.75 | -1.0% to +10.0% | 200 |" in card
    assert "| audio, image | 1.000 | 4 |" in card
    assert "| image | -0.020 |" in card
    assert "| best val |" not in card


def test_the_same_facts_give_the_same_card() -> None:
    assert render(FACTS) == render(replace(FACTS))


def test_limits_follow_from_the_figures() -> None:
    told = limits(FACTS)
    assert "Domain ru was measured on 10 samples: its accuracy is rough." in told
    assert "With image alone it answers 40% rightly, 75% overall." in told
    assert not any("Domain en" in limit or "quarantined" in limit or "off by" in limit for limit in told)
    worse = replace(FACTS, num_tainted=3, gate=None, measured=replace(MEASURED, ece=0.2, balance=None))
    assert len(limits(worse)) == len(told) + 4


@pytest.mark.parametrize("without", ["gate", "rows", "everything"])
def test_what_was_not_measured_is_a_dash_and_never_a_number(without: str) -> None:
    nothing = Measured(
        overall=Scored(name="all", num_right=0, num_samples=0),
        domains=[],
        subsets=[],
        following=None,
        ece=None,
        nll=None,
        brier=None,
        temperature=1.0,
        balance=None,
    )
    facts = {
        "gate": replace(FACTS, gate=None),
        "rows": replace(FACTS, gate=Gate(verdict="first", reasons=["Nothing to compare."], against=None, rows=[])),
        "everything": replace(FACTS, measured=nothing, gate=None, stored_bytes=None, samples={}, roles={}),
    }[without]
    card = render(facts)
    assert "nan" not in card
    assert "None" not in card
    if without == "everything":
        assert "| accuracy | – |" in card


def test_a_bar_in_a_reason_s_cell_does_not_break_the_table() -> None:
    rows = [line for line in render(replace(FACTS, description={"a": "x|y"})).splitlines() if "x\\|y" in line]
    assert len(rows) == 1
