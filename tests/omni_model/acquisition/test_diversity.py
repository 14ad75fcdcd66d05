"""BADGE and core-set against slow, plain forms of their algorithms."""

from dataclasses import replace

import numpy as np
import pytest
import scipy.stats

from omni_model.acquisition import ACQUISITIONS, Pool, SelectionConfig, select
from omni_model.acquisition.candidates import FloatArray
from omni_model.acquisition.diversity import choose_badge, choose_core_set, gradient_length
from omni_model.acquisition.limits import Limits, OpenRows
from tests.omni_model.acquisition.streams import distributions, make_batch

NO_LIMITS = SelectionConfig(max_near_duplicates=None)


def make_pool(num_rows: int, seed: int = 0) -> Pool:
    batch = make_batch(num_rows, seed=seed)
    return Pool(scores=gradient_length(batch.probs, batch.fused), fused=batch.fused, probs=batch.probs)


def all_open(pool: Pool) -> OpenRows:
    domains = np.full(len(pool.scores), "en", dtype=object)
    return OpenRows(pool.fused, Limits.of(NO_LIMITS, domains, len(domains)))


def gradients(pool: Pool) -> FloatArray:
    """[P, A * D] the gradient embeddings, written out."""
    error_PA = pool.probs - np.eye(pool.probs.shape[1])[pool.probs.argmax(axis=1)]
    return np.asarray((error_PA[:, :, None] * pool.fused[:, None, :]).reshape(len(error_PA), -1))


def test_the_gradient_length_is_that_of_the_outer_product() -> None:
    pool = make_pool(50)
    np.testing.assert_allclose(pool.scores, np.linalg.norm(gradients(pool), axis=1), rtol=1e-5)


def test_badge_starts_with_the_longest_gradient() -> None:
    pool = make_pool(50)
    picks, scores = choose_badge(pool, 3, all_open(pool), rng=np.random.default_rng(0), labelled_fused=None)
    assert picks[0] == np.linalg.norm(gradients(pool), axis=1).argmax()
    assert scores == pool.scores[picks].tolist()


def test_badge_draws_by_the_squared_distance_of_the_written_out_gradients() -> None:
    pool, num_draws = make_pool(12), 3_000
    g_PG = gradients(pool)
    square_P = ((g_PG - g_PG[np.linalg.norm(g_PG, axis=1).argmax()]) ** 2).sum(axis=1)
    seconds = [
        choose_badge(pool, 2, all_open(pool), rng=np.random.default_rng(seed), labelled_fused=None)[0][1]
        for seed in range(num_draws)
    ]
    counts = np.bincount(seconds, minlength=12)
    likely = square_P > square_P.sum() / 1_000
    assert counts[~likely].sum() < 0.02 * num_draws
    expected = square_P[likely] / square_P[likely].sum() * counts[likely].sum()
    assert scipy.stats.chisquare(counts[likely], expected).pvalue > 0.001


def test_badge_does_not_draw_a_copy_of_what_it_has() -> None:
    pool = make_pool(4)
    copies = Pool(
        scores=np.tile(pool.scores, 50), fused=np.tile(pool.fused, (50, 1)), probs=np.tile(pool.probs, (50, 1))
    )
    for seed in range(20):
        picks, _ = choose_badge(copies, 4, all_open(copies), rng=np.random.default_rng(seed), labelled_fused=None)
        assert sorted(pick % 4 for pick in picks) == [0, 1, 2, 3]


def test_badge_on_its_reservoir_covers_the_stream_as_badge_on_all_of_it_does() -> None:
    batch = make_batch(4_000)
    g_PG = gradients(Pool(scores=np.zeros(4_000), fused=batch.fused, probs=batch.probs))

    def uncovered(overfetch: int, seed: int) -> float:
        config = SelectionConfig(acquisition="badge", budget=40, overfetch=overfetch, control_share=0.0, seed=seed)
        picks = [int(row.id[1:]) for row in select([batch], config).rows]
        return float(sum(((g_PG[:, None] - g_PG[picks][None]) ** 2).sum(axis=2).min(axis=1)))

    sampled, whole = (np.mean([uncovered(overfetch, seed) for seed in range(4)]) for overfetch in (10, 100))
    assert sampled == pytest.approx(whole, rel=0.05)


def slow_core_set(x_PD: FloatArray, centres_LD: FloatArray, budget: int) -> tuple[list[int], list[float]]:
    picks: list[int] = []
    radii: list[float] = []
    while len(picks) < budget:
        centres = (
            x_PD.mean(axis=0, keepdims=True)
            if not picks and not len(centres_LD)
            else np.vstack([centres_LD, x_PD[picks]])
        )
        nearest_P = np.linalg.norm(x_PD[:, None] - centres[None], axis=2).min(axis=1)
        nearest_P[picks] = -1.0
        picks.append(int(nearest_P.argmax()))
        radii.append(float(nearest_P.max()))
    return picks, radii


@pytest.mark.parametrize("num_labelled", [0, 7, 2_500])
def test_core_set_is_farthest_first(num_labelled: int) -> None:
    pool = make_pool(80)
    labelled = np.random.default_rng(1).normal(size=(num_labelled, pool.fused.shape[1])).astype(np.float32)
    picks, radii = choose_core_set(pool, 12, all_open(pool), rng=np.random.default_rng(0), labelled_fused=labelled)
    slow_picks, slow_radii = slow_core_set(pool.fused.astype(np.float64), labelled, 12)
    assert picks == slow_picks
    np.testing.assert_allclose(radii, slow_radii, rtol=1e-3)


def test_core_set_leaves_out_what_is_labelled() -> None:
    batch = make_batch(60)
    config = SelectionConfig(acquisition="core_set", budget=20, control_share=0.0)
    selection = select([batch], config, labelled_fused=batch.fused[:40])
    assert {int(row.id[1:]) for row in selection.rows} == set(range(40, 60))


@pytest.mark.parametrize(
    ("labelled", "message"),
    [
        (np.zeros((3, 5)), r"labelled_fused must be \[L, 6\], got \(3, 5\)"),
        (np.full((3, 6), np.nan), "labelled_fused holds 3 rows with NaN"),
    ],
)
def test_labelled_rows_that_do_not_fit_are_refused(labelled: FloatArray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        select([make_batch(9)], SelectionConfig(acquisition="core_set"), labelled_fused=labelled)


def test_core_set_covers_better_than_chance() -> None:
    batch = make_batch(1_000)

    def radius(name: str, seed: int) -> float:
        config = SelectionConfig(acquisition=name, budget=40, overfetch=25, control_share=0.0, seed=seed)
        rows = [int(row.id[1:]) for row in select([batch], config).rows]
        return float(np.linalg.norm(batch.fused[:, None] - batch.fused[rows][None], axis=2).min(axis=1).max())

    assert np.mean([radius("core_set", seed) for seed in range(5)]) < np.mean(
        [radius("random", seed) for seed in range(5)]
    )


@pytest.mark.parametrize("name", ["badge", "core_set"])
def test_the_quota_binds_the_set_functions_too(name: str) -> None:
    batch = replace(make_batch(300), domains=["en"] * 280 + ["fr"] * 20)
    config = SelectionConfig(acquisition=name, budget=20, control_share=0.0, domain_quota=0.5)
    domains = [row.domain for row in select([batch], config).rows]
    assert domains.count("en") == domains.count("fr") == 10


def test_the_set_functions_say_so() -> None:
    assert {name for name, entry in ACQUISITIONS.items() if entry.choose is not None} == {"badge", "core_set"}


def test_a_pool_of_sure_answers_still_fills_badges_budget() -> None:
    batch = make_batch(50)
    sure = np.eye(5, dtype=np.float32)[distributions((50,), np.random.default_rng(0)).argmax(axis=1)]
    assert select([replace(batch, probs=sure)], SelectionConfig(acquisition="badge", budget=20)).num_short == 0
