from __future__ import annotations

from collections import Counter
from functools import cache
from hashlib import blake2b

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from omni_model.data import tri_digits
from omni_model.data.splits import split_of
from omni_model.sample import AUDIO_RATE_HZ, Sample


@cache
def everything() -> list[Sample]:
    return tri_digits.load()


def digest(samples: list[Sample]) -> str:
    found = blake2b(digest_size=16)
    for sample in samples:
        found.update(f"{sample.id}|{sample.instruction}|{sample.answer}|{sample.item}".encode())
        for modality, value in sample.inputs.items():
            found.update(modality.encode())
            found.update(value.encode() if isinstance(value, str) else value.tobytes())
    return found.hexdigest()


def test_there_are_1797_samples_in_six_equal_domains() -> None:
    samples = everything()
    assert len(samples) == len({sample.id for sample in samples}) == 1797
    counts = Counter(sample.domain for sample in samples)
    assert tuple(sorted(counts)) == tuple(sorted(tri_digits.DOMAINS))
    assert set(counts.values()) <= {299, 300}


def test_every_domain_has_every_digit() -> None:
    for domain in tri_digits.DOMAINS:
        counts = Counter(sample.answer for sample in everything() if sample.domain == domain)
        assert set(counts) == set(tri_digits.TASK.answers)
        assert min(counts.values()) >= 15


def test_values_have_the_shapes_that_a_sample_promises() -> None:
    for sample in everything()[:200]:
        for modality, value in sample.inputs.items():
            if modality == "text":
                assert isinstance(value, str)
                assert value
                continue
            assert isinstance(value, np.ndarray)
            assert value.shape == {"image": (32, 32, 3), "audio": (tri_digits.AUDIO_SAMPLES,)}[modality]
            assert value.dtype == {"image": np.uint8, "audio": np.float32}[modality]
            assert modality == "image" or np.abs(value).max() <= 1.0


def test_each_modality_is_absent_at_its_rate_and_never_all() -> None:
    samples = everything()
    assert min(len(sample.inputs) for sample in samples) == 1
    for modality in tri_digits.MODALITIES:
        absent = np.mean([modality not in sample.inputs for sample in samples])
        assert absent == pytest.approx(tri_digits.ABSENT_RATE, abs=0.025)


def test_loading_is_deterministic_and_independent_of_what_else_is_loaded() -> None:
    french = tri_digits.load(["fr"])
    assert digest(french) == digest([sample for sample in everything() if sample.domain == "fr"])
    assert digest(french) != digest(tri_digits.load(["fr"], seed=1))


def test_another_seed_keeps_items_and_answers_and_changes_ids() -> None:
    one, other = tri_digits.load(["it"]), tri_digits.load(["it"], seed=1)
    assert [(sample.item, sample.answer) for sample in one] == [(sample.item, sample.answer) for sample in other]
    assert not {sample.id for sample in one} & {sample.id for sample in other}


def test_the_splits_share_no_item() -> None:
    items: dict[str, set[str]] = {"train": set(), "val": set(), "test": set()}
    for sample in everything():
        items[split_of(sample.item)].add(sample.item)
    assert sum(map(len, items.values())) == len(set().union(*items.values())) == 1797


@pytest.mark.parametrize("domain", tri_digits.DOMAINS)
def test_live_samples_come_from_the_train_split_of_their_domain_alone(domain: str) -> None:
    of_domain = {sample.item for sample in everything() if sample.domain == domain}
    samples = list(tri_digits.live(domain, 400, seed=3))
    assert {split_of(sample.item) for sample in samples} == {"train"}
    assert {sample.item for sample in samples} <= of_domain
    assert len({sample.id for sample in samples}) == 400
    assert {sample.domain for sample in samples} == {domain}


def test_live_samples_are_new_renderings_with_the_true_answer() -> None:
    known = {sample.item: sample for sample in everything()}
    for sample in tri_digits.live("en", 50, seed=0):
        old = known[sample.item]
        assert sample.id.startswith("live-en-0-")
        assert sample.answer == old.answer
        if {"image"} <= set(sample.inputs) & set(old.inputs):
            assert not np.array_equal(np.asarray(sample.inputs["image"]), np.asarray(old.inputs["image"]))


def test_live_samples_repeat_an_item_only_after_all_others_came() -> None:
    samples = list(tri_digits.live("en", 165, seed=0))
    assert len({sample.item for sample in samples}) == 165
    assert len({sample.item for sample in tri_digits.live("en", 166, seed=0)}) == 165


def test_live_streams_of_other_seeds_differ_and_of_the_same_seed_agree() -> None:
    assert digest(list(tri_digits.live("ru", 20, seed=1))) == digest(list(tri_digits.live("ru", 20, seed=1)))
    assert [sample.item for sample in tri_digits.live("ru", 20, seed=1)] != [
        sample.item for sample in tri_digits.live("ru", 20, seed=2)
    ]
    assert list(tri_digits.live("ru", 0, seed=1)) == []


def test_an_unknown_domain_is_refused() -> None:
    with pytest.raises(ValueError, match="no domain 'de'"):
        tri_digits.load(["de"])
    with pytest.raises(ValueError, match="no domain 'de'"):
        list(tri_digits.live("de", 1, seed=0))


def test_all_sixty_voices_are_there() -> None:
    voices = tri_digits._voices()
    assert set(voices) == {f"{domain}_{digit}" for domain in tri_digits.DOMAINS for digit in range(10)}
    assert 36 < sum(map(len, voices.values())) / AUDIO_RATE_HZ < 40
    assert all(voice.dtype == np.int16 and np.abs(voice.astype(int)).max() > 3000 for voice in voices.values())


def test_pictures_are_as_hard_as_the_documentation_says() -> None:
    """Logistic regression on the pixels, trained and tested within each domain."""
    scores = []
    for domain in tri_digits.DOMAINS:
        samples = [sample for sample in everything() if sample.domain == domain and "image" in sample.inputs]
        pixels = np.stack([np.asarray(sample.inputs["image"])[:, :, 0].ravel() for sample in samples])
        answers = np.array([sample.answer for sample in samples])
        test = np.array([split_of(sample.item) == "test" for sample in samples])
        model = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=300))
        scores.append(model.fit(pixels[~test], answers[~test]).score(pixels[test], answers[test]))
    assert 0.55 < np.mean(scores) < 0.75
