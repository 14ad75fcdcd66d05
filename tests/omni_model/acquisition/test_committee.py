"""BALD and the modality subsets' disagreement against their formulas."""

from dataclasses import replace

import numpy as np
import pytest
import scipy.stats
from scipy.spatial.distance import jensenshannon

from omni_model.acquisition import SelectionConfig, from_predictions, select
from omni_model.acquisition.committee import bald, disagreement
from omni_model.acquisition.uncertainty import entropy
from tests.omni_model.acquisition.streams import NUM_ANSWERS, distributions, make_batch

RNG = np.random.default_rng(0)
MEMBERS_CNA = distributions((3, 100), RNG).astype(np.float64)


def test_bald_is_the_mutual_information() -> None:
    expected = entropy(MEMBERS_CNA.mean(axis=0)) - np.mean([entropy(member) for member in MEMBERS_CNA], axis=0)
    np.testing.assert_allclose(bald(MEMBERS_CNA), expected)


def test_passes_that_agree_score_nothing() -> None:
    np.testing.assert_allclose(bald(np.stack([MEMBERS_CNA[0]] * 4)), 0.0, atol=1e-12)


def test_bald_prefers_doubt_about_the_weights_to_doubt_in_the_data() -> None:
    torn, noisy = [[1.0, 0.0], [0.0, 1.0]], [[0.5, 0.5], [0.5, 0.5]]
    scores = bald(np.stack([torn, noisy], axis=1))
    assert scores[0] > scores[1] == 0.0


def test_two_subsets_give_the_jensen_shannon_divergence() -> None:
    image, audio = MEMBERS_CNA[:2]
    expected = [jensenshannon(p, q) ** 2 for p, q in zip(image, audio, strict=True)]
    np.testing.assert_allclose(disagreement({"image": image, "audio": audio}), expected, atol=1e-6)


def test_disagreement_is_the_mean_divergence_to_the_committees_mean() -> None:
    mean = MEMBERS_CNA.mean(axis=0)
    expected = np.mean([scipy.stats.entropy(member, mean, axis=1) for member in MEMBERS_CNA], axis=0)
    subsets = dict(zip("abc", MEMBERS_CNA, strict=True))
    np.testing.assert_allclose(disagreement(subsets), expected, atol=1e-6)


def test_an_absent_subset_has_no_vote() -> None:
    image, audio, text = MEMBERS_CNA
    gone = np.full_like(text, np.nan)
    with_gap = disagreement({"image": image, "audio": audio, "text": gone})
    np.testing.assert_allclose(with_gap, disagreement({"image": image, "audio": audio}))


def test_one_subset_alone_cannot_disagree() -> None:
    np.testing.assert_array_equal(disagreement({"image": MEMBERS_CNA[0]}), 0.0)


def test_a_sample_with_no_subset_is_invalid_and_not_in_agreement() -> None:
    batch = make_batch(10)
    gone = np.full((10, NUM_ANSWERS), np.nan)
    gone[4:] = batch.probs[4:]
    selection = select([replace(batch, subset_probs={"image": gone})], SelectionConfig(acquisition="disagreement"))
    assert selection.num_invalid == 4
    assert not {f"s{row:05d}" for row in range(4)} & set(selection.ids)


@pytest.mark.parametrize("column", ["mc_probs", "subset_probs"])
def test_a_half_broken_member_makes_the_row_invalid(column: str) -> None:
    batch = make_batch(10)
    assert batch.mc_probs is not None
    assert batch.subset_probs is not None
    mc_probs, image = np.array(batch.mc_probs), np.array(batch.subset_probs["image"])
    mc_probs[1, 7, 0] = image[7, 0] = np.nan
    name = {"mc_probs": "bald", "subset_probs": "disagreement"}[column]
    broken = replace(batch, mc_probs=mc_probs, subset_probs={**batch.subset_probs, "image": image})
    selection = select([broken], SelectionConfig(acquisition=name))
    assert selection.num_invalid == 1
    assert "s00007" not in selection.ids


@pytest.mark.parametrize(("name", "needs"), [("bald", "mc_probs"), ("disagreement", "subset_probs")])
def test_a_batch_without_what_the_function_needs_is_refused(name: str, needs: str) -> None:
    bare = replace(make_batch(5), mc_probs=None, subset_probs=None)
    with pytest.raises(ValueError, match=f"{name} needs {needs}, the batch has none"):
        select([bare], SelectionConfig(acquisition=name))


def test_no_subsets_at_all_are_refused() -> None:
    with pytest.raises(ValueError, match="at least one modality subset"):
        disagreement({})


class Predicted:
    """Two samples, the second without audio."""

    ids = np.array(["a", "b"], dtype=object)
    domains = np.array(["en", "fr"], dtype=object)
    modalities = (frozenset({"image", "audio"}), frozenset({"image"}))
    probs = np.array([[0.5, 0.5], [0.9, 0.1]])
    fused = np.eye(2)
    mc_probs = None


def test_a_subset_that_a_sample_lacks_is_blanked() -> None:
    answered_from_nothing = np.array([[0.8, 0.2], [0.5, 0.5]])
    batch = from_predictions(
        Predicted(), {frozenset({"audio"}): answered_from_nothing, frozenset({"image", "audio"}): Predicted.probs}
    )
    assert batch.subset_probs is not None
    np.testing.assert_array_equal(batch.subset_probs["audio"], [[0.8, 0.2], [np.nan, np.nan]])
    np.testing.assert_array_equal(batch.subset_probs["audio+image"], Predicted.probs)


def test_predictions_without_subsets_carry_none() -> None:
    assert from_predictions(Predicted()).subset_probs is None
