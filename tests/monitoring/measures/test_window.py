"""Windows, drift and the machine: nothing to measure is said to be nothing, and label values do not multiply rows."""

import numpy as np
import pytest

from monitoring.measures.descriptors import describe
from monitoring.measures.device import busy_share, heap, share_since
from monitoring.measures.drift import descriptor_shift, embedding_shift
from monitoring.measures.live_catalogue import KNOWN
from monitoring.measures.probe import Reference, alignment_numbers, balance_number, drift_numbers, follow_number
from monitoring.measures.window import OTHER, Row, measure, measure_feedback, slices

RNG = np.random.default_rng(0)


def rows(num: int, **values: object) -> list[Row]:
    told: dict[str, object] = {"domain": "en", "task": "digit", "modalities": "text", "latency_s": 0.1} | values
    return [Row(**told) for _ in range(num)]  # type: ignore[arg-type]


def test_every_number_is_in_the_catalogue() -> None:
    found = [*measure(rows(3)), *measure_feedback(rows(3, is_correct=True, confidence=0.9))]
    assert {number.metric for number in found} <= KNOWN.keys()
    assert all(entry.definition and entry.source and entry.unit for entry in KNOWN.values())


def test_an_empty_window_counts_nothing_and_measures_nothing() -> None:
    found = {number.metric: number.value for number in measure([])}
    assert found.pop("num_predictions") == 0
    assert set(found.values()) == {None}


@pytest.mark.parametrize("value", [None, float("nan"), float("inf")])
def test_a_latency_that_is_no_number_is_not_measured(value: float | None) -> None:
    (found,) = [n for n in measure([*rows(10), *rows(5, latency_s=value)], kinds=()) if n.metric == "latency_p95"]
    assert (found.value, found.num_samples) == (None, 10)


def test_ten_thousand_label_values_make_thirty_slices() -> None:
    many = [Row(domain=f"d{at % 10_000}", task="t", modalities="text") for at in range(10_050)]
    found = slices(many, "domain", 30)
    assert len(found) == 30
    assert sum(map(len, found.values())) == len(many)
    assert len(found[OTHER]) == len(many) - 29 * 2


def test_accuracy_says_how_sure_it_is() -> None:
    judged = rows(90, is_correct=True) + rows(10, is_correct=False) + rows(50)
    (found,) = measure_feedback(judged, kinds=())
    assert (found.value, found.num_samples) == (0.9, 100)
    assert found.spread == pytest.approx(0.031, abs=0.002)


def test_constant_embeddings_do_not_drift_and_few_rows_are_no_answer() -> None:
    same = np.ones((40, 4))
    assert embedding_shift(same, same).value == pytest.approx(0.0, abs=0.2)
    assert embedding_shift(same, same[:5]).value is None
    assert embedding_shift(same, np.full((40, 4), np.nan)).value is None


def test_a_shift_that_is_there_is_seen_and_chance_is_not() -> None:
    reference = RNG.normal(size=(100, 32))
    chance = [embedding_shift(reference, RNG.normal(size=(64, 32)), seed=seed).value or 0.0 for seed in range(20)]
    moved = embedding_shift(reference, RNG.normal(size=(64, 32)) + 1.0).value
    assert max(chance) < 0.5
    assert moved is not None
    assert moved > 0.9


def test_the_descriptor_that_moved_is_named() -> None:
    dark = [{"image": (RNG.random((8, 8, 3)) * 60).astype(np.uint8)} for _ in range(30)]
    light = [{"image": (255 - RNG.random((8, 8, 3)) * 60).astype(np.uint8)} for _ in range(30)]
    (found,) = drift_numbers(Reference.of({}, dark, rate_hz=8000), Reference.of({}, light, rate_hz=8000))
    assert (found.metric, found.slice, found.value) == ("descriptor_drift", "modality=image", 1.0)
    assert found.detail == {"descriptor": "brightness"}


def test_silence_an_empty_text_and_a_tiny_image_have_descriptors() -> None:
    for modality, value in (("audio", np.zeros(0)), ("text", ""), ("image", np.zeros((1, 1, 3), np.uint8))):
        assert all(np.isfinite(number) for number in describe(modality, value).values())
    assert describe("smell", "roses") == {}


def test_a_reference_survives_its_bytes() -> None:
    texts = [{"text": "word " * at} for at in range(12)]
    first = Reference.of({"text": RNG.normal(size=(12, 4))}, texts, rate_hz=8000)
    again = Reference.from_bytes(first.to_bytes())
    assert again.descriptors == first.descriptors
    assert np.allclose(again.embeddings["text"], first.embeddings["text"], atol=1e-6)
    assert descriptor_shift(first.descriptors["text"], again.descriptors["text"]).value == 0.0


def test_galleries_have_one_size() -> None:
    eye = {"image": np.eye(40), "text": np.eye(40)}
    found = {number.slice: number for number in alignment_numbers(eye, 16)}
    assert found["all"].num_samples == 32
    assert found["all"].value == found["pair=image+text"].value == 0.0
    assert alignment_numbers(eye, 41) == []
    assert follow_number([]).value is None


def test_balance_tells_its_spread_and_is_nothing_where_nothing_helps() -> None:
    half, none = (RNG.random(60) < 0.5).astype(float), np.zeros(60)
    ab, a, b, empty = frozenset("ab"), frozenset("a"), frozenset("b"), frozenset[str]()
    found = balance_number({empty: none, a: half, b: half, ab: half}, ["a", "b"])
    assert found.value == pytest.approx(1.0)
    assert found.spread == pytest.approx(0.0, abs=1e-6)
    assert balance_number({empty: none, a: none, b: none, ab: none}, ["a", "b"]).value is None


def test_counters_that_began_again_are_seen_as_such() -> None:
    assert busy_share(5.0, 100.0, 60.0, 2) is None
    assert busy_share(100.0, 40.0, 60.0, 2) == 0.5
    assert share_since(3, 90, 1, 100) == (0.75, 4)
    assert share_since(90, 90, 100, 100) == (None, 0)


def test_the_heap_of_this_process_is_told() -> None:
    found = heap()
    assert found is not None
    share = found.fragmentation
    assert share is not None
    assert 0 <= share <= 1
