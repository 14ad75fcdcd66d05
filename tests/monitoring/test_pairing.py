from dataclasses import replace

import numpy as np
import pytest

from monitoring.outcomes import UNANSWERED, PairedOutcomes
from monitoring.pairing import pair
from tests.monitoring.made import NOW, MadePredictions


def predictions(num_rows: int = 6, seed: int = 0, **other: object) -> MadePredictions:
    rng = np.random.default_rng(seed)
    probs = rng.dirichlet(np.ones(10), size=num_rows).astype(np.float32)
    ids = np.array([f"s{row}" for row in range(num_rows)], dtype=object)
    return MadePredictions(ids=ids, probs=probs, target=np.arange(num_rows) % 10, **other)  # type: ignore[arg-type]


def paired(old: MadePredictions, new: MadePredictions, **other: object) -> PairedOutcomes:
    return pair(old, new, old_version=1, new_version=2, measured_at=NOW, **other)  # type: ignore[arg-type]


def shuffled(source: MadePredictions, order: list[int]) -> MadePredictions:
    return MadePredictions(
        ids=source.ids[order],
        probs=source.probs[order],
        target=source.target[order],
        raw_answer=source.raw_answer[order],
    )


def test_rows_are_paired_by_id_whatever_their_order() -> None:
    old, new = predictions(seed=1), predictions(seed=2)
    straight, crossed = paired(old, new), paired(shuffled(old, [5, 3, 1, 0, 2, 4]), new)
    assert np.array_equal(straight.old.answer, crossed.old.answer)
    assert straight.provenance.num_unpaired == 0


def test_what_only_one_version_answered_is_counted() -> None:
    result = paired(predictions(6), predictions(4))
    assert (len(result), result.provenance.num_unpaired) == (4, 2)


def test_vocabularies_are_matched_by_name() -> None:
    new = predictions()
    old = MadePredictions(
        ids=new.ids, probs=new.probs[:, ::-1].copy(), target=9 - new.target, answers=tuple("9876543210")
    )
    result = paired(old, new)
    assert np.array_equal(result.old.answer, result.new.answer)
    assert np.allclose(result.old.target_probability, result.new.target_probability)


def test_different_targets_are_refused() -> None:
    old, new = predictions(), predictions()
    new.target = (new.target + 1) % 10
    with pytest.raises(ValueError, match="different targets"):
        paired(old, new)


def test_a_sample_that_comes_twice_is_refused() -> None:
    new = predictions()
    new.ids[1] = "s0"
    with pytest.raises(ValueError, match="more than once"):
        paired(new, new)


def test_probabilities_that_are_not_finite_are_no_answer() -> None:
    old, new = predictions(), predictions()
    new.probs[2] = np.nan
    new.answer[2] = new.raw_answer[2] = new.target[2]
    result = paired(old, new)
    assert result.new.answer[2] == UNANSWERED
    assert not result.new.followed[2]
    assert np.isnan(result.new.confidence[2])
    assert np.isnan(result.new.target_probability[2])


def test_an_unmasked_choice_outside_the_task_is_not_followed() -> None:
    old = predictions()
    new = MadePredictions(ids=old.ids, probs=old.probs, target=old.target, raw_answer=(old.answer + 1) % 10)
    result = paired(old, new)
    assert result.old.followed.all()
    assert not result.new.followed.any()


def test_an_embedding_that_is_not_finite_misses_but_an_absent_modality_is_no_pair() -> None:
    image = np.eye(10)[:6]
    modalities = [frozenset({"image", "text"})] * 5 + [frozenset({"image"})]
    text = image.copy()
    text[5] = np.nan
    old = predictions(modalities=modalities, embeddings={"image": image, "text": text})
    broken = text.copy()
    broken[0] = np.nan
    new = predictions(modalities=modalities, embeddings={"image": image, "text": broken})
    result = paired(old, new)
    assert result.old.hits["image>text"][:5].tolist() == [1.0] * 5
    assert result.new.hits["image>text"][0] == 0.0
    assert np.isnan(result.new.hits["image>text"][5])


def test_samples_with_one_answer_are_positives_of_each_other() -> None:
    image = np.eye(3)[[0, 0, 1, 1, 2, 2]]
    old = predictions(embeddings={"image": image, "text": image.copy()})
    old.target = np.array([0, 0, 1, 1, 2, 2])
    assert np.nanmean(paired(old, old).old.hits["image>text"]) == 1.0
    assert np.nanmean(paired(old, old, positives="item").old.hits["image>text"]) == 0.0
    with pytest.raises(ValueError, match="positives"):
        paired(old, old, positives="domain")


def test_answers_without_a_modality_need_every_sample() -> None:
    full = predictions()
    result = paired(full, full, without={"text": (full, full)})
    assert np.array_equal(result.without["text"][0].answer, result.old.answer)
    with pytest.raises(ValueError, match="modality taken away"):
        paired(full, full, without={"text": (predictions(4), full)})


def test_the_outcomes_do_not_share_memory_with_the_predictions() -> None:
    old = predictions()
    result = paired(old, old)
    old.answer[:] = -7
    assert (result.old.answer >= 0).all()
    assert replace(result).old is result.old
