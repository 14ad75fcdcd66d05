import numpy as np
import pytest

from monitoring.measures.alignment import alignment, pair_alignment, retrieval_hits, uniformity


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def test_a_collapsed_model_is_all_error_though_its_cosine_is_perfect() -> None:
    same = np.tile(rng().normal(size=(1, 8)), (50, 1))
    pair = pair_alignment("image", "text", same, same.copy())
    assert pair is not None
    assert pair.error == 1.0
    assert pair.cosine_distance == pytest.approx(0.0, abs=1e-9)
    assert pair.uniformity == pytest.approx(0.0, abs=1e-9)


def test_float32_rounding_breaks_no_tie() -> None:
    base = rng().normal(size=(1, 64)).astype(np.float32)
    nearly = base + rng().normal(size=(40, 64)).astype(np.float32) * np.float32(1e-6)
    assert retrieval_hits(nearly, nearly.copy()).sum() <= 1


def test_several_positives_are_all_right_answers() -> None:
    classes = np.array([0, 0, 1, 1])
    x = np.eye(2)[classes]
    assert retrieval_hits(x, x).tolist() == [0.0, 0.0, 0.0, 0.0]
    assert retrieval_hits(x, x, classes).tolist() == [1.0, 1.0, 1.0, 1.0]


def test_no_pair_is_none_and_never_zero() -> None:
    image, text = np.eye(4), np.full((4, 4), np.nan)
    assert alignment({"image": image, "text": text}).error is None
    assert alignment({"image": image[:1], "text": image[:1]}).error is None
    assert alignment({}).error is None


def test_a_gallery_without_negatives_measures_nothing() -> None:
    x = rng().normal(size=(5, 3))
    assert np.isnan(retrieval_hits(x, x, np.zeros(5))).all()


def test_the_mean_is_over_observed_pairs_with_their_counts() -> None:
    x = rng().normal(size=(20, 16))
    audio = x.copy()
    audio[10:] = np.nan
    result = alignment({"audio": audio, "image": x, "text": -x})
    assert [(pair.x, pair.y, pair.num_pairs) for pair in result.pairs] == [
        ("audio", "image", 10),
        ("audio", "text", 10),
        ("image", "text", 20),
    ]
    assert result.error == pytest.approx(np.mean([pair.error for pair in result.pairs]))


def test_the_modality_gap_is_the_distance_of_the_means() -> None:
    x = np.array([[1.0, 0.0], [0.0, 1.0]])
    pair = pair_alignment("a", "b", x, -x)
    assert pair is not None
    assert pair.modality_gap == pytest.approx(np.sqrt(2))


def test_blocks_give_what_one_block_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = rng().normal(size=(2, 37, 5))
    groups = rng().integers(0, 6, 37)
    whole, spread = retrieval_hits(x, y, groups), uniformity(x)
    monkeypatch.setattr("monitoring.measures.alignment._BLOCK_ROWS", 10)
    assert np.array_equal(retrieval_hits(x, y, groups), whole)
    assert uniformity(x) == pytest.approx(spread)


def test_shapes_that_differ_are_refused() -> None:
    with pytest.raises(ValueError, match="one shape"):
        retrieval_hits(np.eye(2), np.eye(3))
