"""What every acquisition function must stand, run for each entry of the registry."""

import copy
from dataclasses import replace

import numpy as np
import pytest

from omni_model.acquisition import ACQUISITIONS, CandidateBatch, Selection, SelectionConfig, select
from omni_model.acquisition.candidates import FloatArray, ObjectArray
from tests.omni_model.acquisition.streams import NUM_ANSWERS, NUM_PASSES, SUBSETS, WIDTH, cut, make_batch

pytestmark = pytest.mark.parametrize("name", sorted(ACQUISITIONS))


def run(name: str, *batches: CandidateBatch, **options: object) -> Selection:
    config = SelectionConfig(**{"acquisition": name, "budget": 10, "control_share": 0.2, **options})  # type: ignore[arg-type]
    return select(iter(batches), config)


def test_its_input_is_not_changed(name: str) -> None:
    batch = make_batch(50)
    before = copy.deepcopy(batch)
    run(name, batch)
    for column in ("probs", "fused", "mc_probs"):
        np.testing.assert_array_equal(getattr(batch, column), getattr(before, column))
    for subset in SUBSETS:
        assert batch.subset_probs is not None
        assert before.subset_probs is not None
        np.testing.assert_array_equal(batch.subset_probs[subset], before.subset_probs[subset])
    assert (batch.ids, batch.domains) == (before.ids, before.domains)


def test_the_same_seed_gives_the_same_selection(name: str) -> None:
    batch = make_batch(300)
    assert run(name, batch, seed=4) == run(name, batch, seed=4)


def test_another_seed_gives_another_control_arm(name: str) -> None:
    batch = make_batch(300)
    assert run(name, batch, seed=4).arm("control") != run(name, batch, seed=5).arm("control")


def test_the_selection_does_not_depend_on_where_the_stream_is_cut(name: str) -> None:
    batch = make_batch(700)
    whole = run(name, batch, overfetch=2)
    assert run(name, *cut(batch, [1, 0, 3, 150, 7, 9, 333]), overfetch=2) == whole
    assert run(name, *cut(batch, [16] * 43), overfetch=2) == whole


def test_both_arms_have_their_share_and_no_row_in_common(name: str) -> None:
    selection = run(name, make_batch(300))
    assert len(selection.arm("uncertainty")) == 8
    assert len(selection.arm("control")) == 2
    assert len(set(selection.ids)) == 10
    assert [row.rank for row in selection.arm("uncertainty")] == list(range(1, 9))
    assert [row.rank for row in selection.arm("control")] == [1, 2]
    assert selection.num_short == 0


def test_no_batches_give_an_empty_selection(name: str) -> None:
    assert run(name) == Selection(
        acquisition=name,
        rows=(),
        num_seen=0,
        num_invalid=0,
        num_duplicates_skipped=0,
        num_over_quota=0,
        num_repeated_ids=0,
        num_short=10,
    )


def test_empty_batches_change_nothing(name: str) -> None:
    batch, empty = make_batch(40), make_batch(0)
    assert run(name, empty).rows == ()
    assert run(name, empty, batch, empty) == run(name, batch)


def test_one_row_is_selected(name: str) -> None:
    selection = run(name, make_batch(1))
    assert selection.ids == ("s00000",)
    assert selection.num_short == 9


def test_a_budget_above_the_pool_takes_the_pool(name: str) -> None:
    batch = make_batch(30)
    selection = run(name, batch, budget=100_000)
    assert sorted(selection.ids) == sorted(batch.ids)
    assert len(selection.arm("control")) == 6


def test_duplicates_only_give_what_the_cap_allows(name: str) -> None:
    selection = run(name, make_batch(200, num_directions=1), max_near_duplicates=3)
    assert len(selection.arm("uncertainty")) == 3
    assert len(selection.arm("control")) == 2
    assert selection.num_duplicates_skipped > 0
    assert selection.num_short == 5


def test_duplicates_only_fill_the_budget_without_a_cap(name: str) -> None:
    selection = run(name, make_batch(200, num_directions=1), max_near_duplicates=None)
    assert selection.num_short == selection.num_duplicates_skipped == 0


def test_constant_input_fills_the_budget_and_leans_to_no_end_of_the_stream(name: str) -> None:
    rows = 400
    uniform = np.full((rows, NUM_ANSWERS), 1 / NUM_ANSWERS, dtype=np.float32)
    batch = replace(
        make_batch(rows),
        probs=uniform,
        fused=np.ones((rows, WIDTH), dtype=np.float32),
        mc_probs=np.stack([uniform] * NUM_PASSES),
        subset_probs=dict.fromkeys(SUBSETS, uniform),
    )
    selection = run(name, batch, max_near_duplicates=None, budget=100, overfetch=2)
    assert selection.num_short == 0
    places = np.array([int(row.id[1:]) for row in selection.arm("uncertainty")])
    assert 150 < places.mean() < 250  # 200 +- 3 standard errors is 162 to 238


def test_a_zero_embedding_is_no_duplicate_of_another(name: str) -> None:
    selection = run(name, replace(make_batch(60), fused=np.zeros((60, WIDTH), dtype=np.float32)))
    assert selection.num_short == selection.num_duplicates_skipped == 0


@pytest.mark.parametrize("value", [np.nan, np.inf, -1.0, 1e30])
def test_a_broken_distribution_is_counted_and_never_selected(name: str, value: float) -> None:
    batch = make_batch(40)
    probs = np.array(batch.probs)
    probs[::2, 1] = value
    scores: list[FloatArray] = []
    selection = select(
        [replace(batch, probs=probs)],
        SelectionConfig(acquisition=name, budget=40),
        on_scored=lambda ids, scores_N: scores.append(scores_N),
    )
    assert selection.num_invalid == 20
    assert set(selection.ids) == set(batch.ids[1::2])
    np.testing.assert_array_equal(np.isnan(scores[0]), [True, False] * 20)


def test_a_broken_embedding_is_counted_and_never_selected(name: str) -> None:
    batch = make_batch(40)
    fused = np.array(batch.fused)
    fused[3, 2] = np.nan
    fused[5, 0] = np.inf
    selection = run(name, replace(batch, fused=fused), budget=40)
    assert selection.num_invalid == 2
    assert not {"s00003", "s00005"} & set(selection.ids)


def test_a_stream_of_nothing_but_nan_gives_nothing(name: str) -> None:
    selection = run(name, replace(make_batch(20), probs=np.full((20, NUM_ANSWERS), np.nan)))
    assert (selection.rows, selection.num_seen, selection.num_invalid) == ((), 20, 20)


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_embeddings_may_be_huge_or_tiny(name: str, scale: float) -> None:
    batch = make_batch(100)
    selection = run(name, replace(batch, fused=(batch.fused * np.float32(scale))))
    assert selection.num_short == 0
    assert all(np.isfinite(row.score) for row in selection.rows)


def test_many_answers_and_a_wide_embedding_are_no_trouble(name: str) -> None:
    rng = np.random.default_rng(0)
    probs = rng.dirichlet(np.full(2_000, 0.01), size=64)
    batch = CandidateBatch(
        ids=[str(row) for row in range(64)],
        domains=["en"] * 64,
        probs=probs,
        fused=rng.normal(size=(64, 2_048)),
        mc_probs=np.stack([probs, probs[::-1]]),
        subset_probs={"image": probs, "audio": probs[::-1]},
    )
    assert run(name, batch).num_short == 0


def test_half_precision_is_accepted(name: str) -> None:
    batch = make_batch(60)
    assert batch.mc_probs is not None
    assert batch.subset_probs is not None
    half = replace(
        batch,
        probs=batch.probs.astype(np.float16),
        fused=batch.fused.astype(np.float16),
        mc_probs=batch.mc_probs.astype(np.float16),
        subset_probs={subset: probs.astype(np.float16) for subset, probs in batch.subset_probs.items()},
    )
    assert run(name, half).num_invalid == 0


def test_the_sink_gets_the_score_of_every_row(name: str) -> None:
    batch = make_batch(90)
    seen: dict[str, float] = {}

    def keep(ids: ObjectArray, scores_N: FloatArray) -> None:
        seen.update(zip(ids, scores_N.tolist(), strict=True))

    selection = select(cut(batch, [50]), SelectionConfig(acquisition=name, budget=20), on_scored=keep)
    assert list(seen) == list(batch.ids)
    assert all(seen[row.id] == row.score for row in selection.arm("control"))
    if name != "core_set":  # its own arm shows the distance to the nearest centre
        assert all(seen[row.id] == row.score for row in selection.arm("uncertainty"))


def test_scores_are_kept_as_plain_numbers(name: str) -> None:
    for row in run(name, make_batch(50)).rows:
        assert type(row.score) is float
        assert type(row.id) is str
        assert type(row.domain) is str
