from itertools import combinations

import numpy as np
import pytest

from monitoring.measures.balance import modality_balance


def test_the_values_sum_to_what_the_modalities_gain_together() -> None:
    rng = np.random.default_rng(0)
    names = ["audio", "image", "sensor", "text", "video"]
    score = {frozenset(c): float(rng.random()) for k in range(6) for c in combinations(names, k)}
    result = modality_balance(score.__getitem__, names)
    assert sum(result.shapley.values()) == pytest.approx(result.fused - result.empty)


def test_each_subset_is_scored_once() -> None:
    asked: list[frozenset[str]] = []

    def value(subset: frozenset[str]) -> float:
        asked.append(subset)
        return float(len(subset))

    modality_balance(value, ["a", "b", "c"])
    assert len(asked) == len(set(asked)) == 8


def test_a_second_batch_is_not_answered_from_the_first() -> None:
    batches = [
        {"": 0.1, "audio": 0.9, "image": 0.1, "audio+image": 0.9},
        {"": 0.1, "audio": 0.1, "image": 0.7, "audio+image": 0.7},
    ]

    def value(subset: frozenset[str]) -> float:
        return batches[number]["+".join(sorted(subset))]

    number = 0
    first = modality_balance(value, ["audio", "image"])
    number = 1
    second = modality_balance(value, ["audio", "image"])
    assert first.shapley == pytest.approx({"audio": 0.8, "image": 0.0})
    assert second.shapley == pytest.approx({"audio": 0.0, "image": 0.6})


def test_equal_work_is_full_balance_and_one_worker_is_none() -> None:
    assert modality_balance(lambda s: float(len(s)), ["a", "b", "c"]).balance == pytest.approx(1.0)
    assert modality_balance(lambda s: float("a" in s), ["a", "b", "c"]).balance == pytest.approx(0.0)


def test_a_harmful_modality_keeps_its_sign_but_has_no_share() -> None:
    result = modality_balance(lambda s: 1.0 * ("a" in s) - 0.5 * ("b" in s), ["a", "b"])
    assert result.shapley == pytest.approx({"a": 1.0, "b": -0.5})
    assert result.shares == {"a": 1.0, "b": 0.0}
    assert result.leave_one_out_falls == pytest.approx({"a": 1.0, "b": -0.5})


def test_nothing_to_share_has_no_balance() -> None:
    assert modality_balance(lambda _: 0.5, ["a", "b"]).balance is None
    assert modality_balance(lambda s: float(len(s)), ["a"]).balance is None


def test_too_many_repeated_or_unscored_modalities_are_refused() -> None:
    with pytest.raises(ValueError, match="1 to 6"):
        modality_balance(lambda _: 0.0, [f"m{i}" for i in range(7)])
    with pytest.raises(ValueError, match="different"):
        modality_balance(lambda _: 0.0, ["a", "a"])
    with pytest.raises(ValueError, match="is nan"):
        modality_balance(lambda _: float("nan"), ["a"])
