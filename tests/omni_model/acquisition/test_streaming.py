"""One pass: exact, bounded, even-handed in the control arm, honest in its counts."""

import tracemalloc
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from omni_model.acquisition import CandidateBatch, SelectionConfig, select
from omni_model.acquisition.uncertainty import entropy
from tests.omni_model.acquisition.streams import cut, make_batch


@settings(max_examples=50, deadline=None)
@given(
    name=st.sampled_from(
        ["random", "least_confidence", "margin", "entropy", "bald", "disagreement", "badge", "core_set"]
    ),
    sizes=st.lists(st.integers(0, 90), max_size=12),
    num_directions=st.sampled_from([None, 5, 40]),
    quota=st.sampled_from([None, 0.4]),
)
def test_any_cut_of_the_stream_gives_the_same_selection(
    name: str, sizes: list[int], num_directions: int | None, quota: float | None
) -> None:
    batch = make_batch(400, num_directions=num_directions)
    config = SelectionConfig(acquisition=name, budget=15, overfetch=2, domain_quota=quota)
    assert select(cut(batch, sizes), config) == select([batch], config)


def test_the_arm_is_the_head_of_the_whole_stream_sorted() -> None:
    batch = make_batch(5_000)
    selection = select(cut(batch, [100] * 50), SelectionConfig(acquisition="entropy", budget=50, control_share=0.0))
    assert [int(row.id[1:]) for row in selection.rows] == np.argsort(-entropy(batch.probs))[:50].tolist()


@pytest.mark.parametrize("direction", [1, -1])
def test_a_sorted_stream_changes_nothing(direction: int) -> None:
    batch = make_batch(2_000)
    order = np.argsort(direction * entropy(batch.probs))
    config = SelectionConfig(acquisition="entropy", budget=30, control_share=0.0, overfetch=2)
    assert select([batch.take(order)], config).ids == select([batch], config).ids


@pytest.mark.parametrize("name", ["entropy", "random", "badge"])
def test_every_row_has_the_same_chance_of_the_control_arm(name: str) -> None:
    batch = make_batch(60, num_directions=20)
    counts = np.zeros(60)
    num_draws = 800
    for seed in range(num_draws):
        config = SelectionConfig(
            acquisition=name,
            budget=12,
            control_share=0.5,
            overfetch=2,
            domain_quota=0.5,
            max_near_duplicates=1,
            seed=seed,
        )
        for row in select([batch], config).arm("control"):
            counts[int(row.id[1:])] += 1
    assert counts.sum() == num_draws * 6
    # 6 of 60 without replacement: the variance of a count is (1 - 0.1) * 60 / 59 of the multinomial's
    statistic = ((counts - counts.mean()) ** 2 / counts.mean()).sum() / 0.9
    assert scipy.stats.chi2.sf(statistic, df=59) > 0.001


@pytest.mark.parametrize("budget", [2, 3, 5])
@pytest.mark.parametrize("share", [0.01, 0.5, 0.99])
def test_a_small_budget_still_has_both_arms(budget: int, share: float) -> None:
    selection = select([make_batch(50)], SelectionConfig(budget=budget, control_share=share))
    assert selection.arm("control")
    assert selection.arm("uncertainty")
    assert len(selection.rows) == budget


def test_the_control_arm_does_not_look_at_the_scores() -> None:
    batch = make_batch(300)
    arms = {
        tuple(row.id for row in select([batch], SelectionConfig(acquisition=name, budget=30, seed=3)).arm("control"))
        for name in ("entropy", "margin", "badge", "bald", "random")
    }
    assert len(arms) == 1


def test_an_invalid_row_moves_no_other_row_in_or_out_of_the_control_arm() -> None:
    batch = make_batch(300)
    config = SelectionConfig(budget=30, seed=3)
    whole = [row.id for row in select([batch], config).arm("control")]
    probs = np.array(batch.probs)
    broken = next(row for row in range(300) if batch.ids[row] not in whole)
    probs[broken] = np.nan
    assert [row.id for row in select([replace(batch, probs=probs)], config).arm("control")] == whole


def test_a_generator_of_ones_own_takes_the_place_of_the_seed() -> None:
    batch = make_batch(100)
    config = SelectionConfig(budget=20, seed=1)
    other = select([batch], config, rng=np.random.default_rng(2))
    assert other == select([batch], SelectionConfig(budget=20, seed=2))
    assert other != select([batch], config)


def test_an_id_that_comes_twice_is_selected_once() -> None:
    batch = make_batch(50)
    selection = select([batch, batch], SelectionConfig(budget=60, max_near_duplicates=None))
    assert len(set(selection.ids)) == len(selection.ids)
    assert selection.num_repeated_ids > 0


def test_the_counts_add_up() -> None:
    batch = make_batch(40, num_directions=5)
    probs = np.array(batch.probs)
    probs[:4] = np.nan
    selection = select([replace(batch, probs=probs)], SelectionConfig(budget=40, control_share=0.0))
    assert (selection.num_seen, selection.num_invalid) == (40, 4)
    assert len(selection.rows) == 5
    assert selection.num_duplicates_skipped == 31
    assert selection.num_short == 35


def test_invalid_rows_are_told_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    select([replace(make_batch(3), probs=np.full((3, 5), np.nan))], SelectionConfig())
    assert "3 of 3 candidates were invalid" in caplog.text


def made_stream(num_rows: int, batch_rows: int) -> Iterator[CandidateBatch]:
    block = make_batch(batch_rows)
    rng = np.random.default_rng(0)
    for start in range(0, num_rows, batch_rows):
        ids = [str(row) for row in range(start, start + batch_rows)]
        yield replace(block, ids=ids, probs=block.probs[rng.permutation(batch_rows)])


@pytest.mark.parametrize("name", ["margin", "badge", "core_set"])
def test_memory_does_not_grow_with_the_stream(name: str) -> None:
    def peak(num_rows: int) -> int:
        config = SelectionConfig(acquisition=name, budget=50, max_near_duplicates=None)
        tracemalloc.start()
        select(made_stream(num_rows, 1_000), config)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    peak(1_000)
    assert peak(60_000) < 1.15 * peak(6_000)


def test_a_batch_of_another_model_is_refused() -> None:
    narrow = replace(make_batch(5), fused=np.zeros((5, 2), dtype=np.float32))
    with pytest.raises(ValueError, match=r"answers and width are \(5, 2\), were \(5, 6\)"):
        select([make_batch(5), narrow], SelectionConfig())


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"domains": ["en"]}, "domains has 1 rows, ids has 5"),
        ({"probs": np.ones((4, 1))}, "probs has 4 rows, ids has 5"),
        ({"probs": np.ones(5)}, r"probs must be \[N, A\]"),
        ({"fused": np.ones(5)}, r"fused must be \[N, D\]"),
        ({"mc_probs": np.ones((5, 2))}, r"mc_probs must be \[S, N, A\]"),
        ({"mc_probs": np.ones((3, 4, 2))}, "mc_probs has 4 rows"),
        ({"subset_probs": {"image": np.ones((4, 2))}}, r"subset_probs\['image'\] has 4 rows"),
    ],
)
def test_a_wrong_shape_is_named(columns: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(make_batch(5), **columns)  # type: ignore[arg-type]
