"""The near-duplicate cap and the domain quota hold for any stream."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omni_model.acquisition import CandidateBatch, Selection, SelectionConfig, select
from omni_model.acquisition.limits import unit_rows
from tests.omni_model.acquisition.streams import cut, make_batch

NAMES = st.sampled_from(["random", "margin", "badge", "core_set"])
SIZES = st.integers(0, 300)


def places(selection: Selection) -> list[int]:
    return [int(row.id[1:]) for row in selection.arm("uncertainty")]


@settings(max_examples=60, deadline=None)
@given(
    name=NAMES,
    num_rows=SIZES,
    limit=st.integers(1, 4),
    cosine=st.sampled_from([0.2, 0.7, 0.95]),
    seed=st.integers(0, 99),
)
def test_no_row_has_more_near_duplicates_before_it_than_the_cap(
    name: str, num_rows: int, limit: int, cosine: float, seed: int
) -> None:
    batch = make_batch(num_rows, seed=seed)
    config = SelectionConfig(
        acquisition=name, budget=30, overfetch=2, near_duplicate_cosine=cosine, max_near_duplicates=limit, seed=seed
    )
    selection = select(cut(batch, [64] * 5), config)
    unit = unit_rows(batch.fused[places(selection)])
    near_before = np.tril(unit @ unit.T >= cosine - 1e-6, k=-1).sum(axis=1)
    assert near_before.max(initial=0) < limit
    assert selection.num_duplicates_skipped + len(selection.arm("uncertainty")) <= num_rows


@settings(max_examples=40, deadline=None)
@given(name=NAMES, num_rows=SIZES, num_directions=st.integers(1, 8), limit=st.integers(1, 4))
def test_a_cluster_of_copies_gives_at_most_the_cap(name: str, num_rows: int, num_directions: int, limit: int) -> None:
    batch = make_batch(num_rows, num_directions=num_directions)
    config = SelectionConfig(acquisition=name, budget=30, overfetch=2, max_near_duplicates=limit)
    _, counts = np.unique(batch.fused[places(select([batch], config))], axis=0, return_counts=True)
    assert counts.max(initial=0) <= limit


@settings(max_examples=60, deadline=None)
@given(
    name=NAMES,
    num_rows=SIZES,
    share=st.floats(0.0, 1.0) | st.dictionaries(st.sampled_from(["en", "fr", "it", "xx"]), st.floats(0.0, 1.0)),
    seed=st.integers(0, 99),
)
def test_no_domain_takes_more_than_its_quota(name: str, num_rows: int, share: object, seed: int) -> None:
    config = SelectionConfig(acquisition=name, budget=30, overfetch=2, domain_quota=share, seed=seed)  # type: ignore[arg-type]
    selection = select(cut(make_batch(num_rows, seed=seed), [64] * 5), config)
    domains = [row.domain for row in selection.arm("uncertainty")]
    arm_rows = config.uncertainty_rows(num_rows)
    assert all(domains.count(domain) <= config.quota_rows(domain, arm_rows) for domain in set(domains))
    assert selection.num_seen == num_rows


def test_a_quota_leaves_the_order_within_a_domain_alone() -> None:
    batch = make_batch(500)
    free = select([batch], SelectionConfig(budget=400, control_share=0.0))
    bound = select([batch], SelectionConfig(budget=60, control_share=0.0, domain_quota=0.4))
    for domain in ("en", "fr", "it"):
        order = [row.id for row in free.rows if row.domain == domain]
        taken = [row.id for row in bound.rows if row.domain == domain]
        assert taken == order[: len(taken)]
    assert len(bound.rows) == 60


def test_a_hard_domain_does_not_push_the_others_out_of_memory() -> None:
    easy, hard = make_batch(3_000), np.full((3_000, 5), 0.2, dtype=np.float32)
    probs = np.where(np.arange(3_000)[:, None] < 100, easy.probs, hard)  # a hundred of fr, then a flood of en
    batch = replace(easy, probs=probs, domains=["fr"] * 100 + ["en"] * 2_900)
    selection = select([batch], SelectionConfig(budget=20, control_share=0.0, overfetch=5, domain_quota=0.5))
    domains = [row.domain for row in selection.rows]
    assert domains.count("fr") == domains.count("en") == 10


def flood(num_copies: int) -> CandidateBatch:
    """A frozen camera: `num_copies` copies of the most uncertain sample, among 400 others."""
    batch = make_batch(num_copies + 400)
    copies = np.random.default_rng(0).permutation(len(batch)) < num_copies
    probs = np.where(copies[:, None], np.float32(0.2), batch.probs)
    return replace(batch, probs=probs, fused=np.where(copies[:, None], np.float32(1.0), batch.fused))


@pytest.mark.parametrize("num_copies", [1_000, 8_000])
def test_a_frozen_camera_does_not_fill_the_memory(num_copies: int) -> None:
    batch = flood(num_copies)
    config = SelectionConfig(acquisition="entropy", budget=40, control_share=0.0, overfetch=5, max_near_duplicates=2)
    selection = select([batch], config)
    everything = SelectionConfig(
        acquisition="entropy", budget=40, control_share=0.0, overfetch=1_000, max_near_duplicates=2
    )
    assert places(selection)[2:] == places(select([batch], everything))[2:]  # which two of the copies is chance
    assert selection.num_short == 0
    assert selection.num_duplicates_skipped >= num_copies - 200


def test_the_cap_spares_the_control_arm() -> None:
    config = SelectionConfig(budget=40, control_share=0.5, max_near_duplicates=1)
    assert len(select([make_batch(100, num_directions=1)], config).arm("control")) == 20
