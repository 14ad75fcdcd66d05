"""The weights equal the printed formula, and the options do what they say."""

from __future__ import annotations

import json
import math

import pytest

from omni_model.config import DwaConfig
from omni_model.dwa import DwaState, dwa_weights

NORMS = {"text": 0.5, "image": 1.0, "cross": 3.0}


def test_the_default_is_the_printed_formula() -> None:
    config = DwaConfig(k=2.0, delta=0.3)
    mean = (0.5 + 1.0 + 3.0) / 3
    expected = {name: 1 / (1 + math.exp(-2.0 * (abs(norm - mean) - 0.3))) for name, norm in NORMS.items()}
    assert dwa_weights(NORMS, config) == pytest.approx(expected)


def test_golden_values_of_the_printed_formula() -> None:
    weights = dwa_weights(NORMS, DwaConfig(k=2.0, delta=0.3))
    assert {name: round(weight, 6) for name, weight in weights.items()} == {
        "text": 0.802184,
        "image": 0.598688,
        "cross": 0.916827,
    }


def test_two_losses_always_get_equal_weights_by_the_printed_formula() -> None:
    weights = dwa_weights({"text": 0.1, "image": 7.0})
    assert weights["text"] == pytest.approx(weights["image"])


def test_signed_lag_raises_what_lags_and_signed_lead_what_leads() -> None:
    lag = dwa_weights(NORMS, DwaConfig(deviation="signed_lag"))
    lead = dwa_weights(NORMS, DwaConfig(deviation="signed_lead"))
    assert lag["text"] > lag["image"] > lag["cross"]
    assert lead["text"] < lead["image"] < lead["cross"]


def test_relative_weights_do_not_depend_on_the_gradients_scale() -> None:
    config = DwaConfig(relative=True)
    scaled = {name: 1000 * norm for name, norm in NORMS.items()}
    assert dwa_weights(NORMS, config) == pytest.approx(dwa_weights(scaled, config))


def test_normalised_weights_sum_to_their_number() -> None:
    assert sum(dwa_weights(NORMS, DwaConfig(normalise=True)).values()) == pytest.approx(3.0)


def test_weights_are_clipped() -> None:
    weights = dwa_weights({"a": 0.0, "b": 100.0, "c": 1.0}, DwaConfig(deviation="signed_lead", low=0.2, high=0.9))
    assert min(weights.values()) == 0.2
    assert max(weights.values()) == 0.9


def test_equal_norms_give_equal_weights_and_nothing_gives_nothing() -> None:
    assert set(dwa_weights({"a": 2.0, "b": 2.0, "c": 2.0}).values()) == {0.5}
    assert dwa_weights({}) == {}


def test_an_absent_modality_leaves_the_mean_and_keeps_its_weight() -> None:
    state = DwaState(DwaConfig())
    state.update(NORMS, {})
    before = state.weight("image")
    state.update({"text": 0.5, "cross": 3.0}, {})
    assert state.weight("image") == before
    assert state.weight("text") == pytest.approx(dwa_weights({"text": 0.5, "cross": 3.0})["text"])


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_measurement_that_is_not_finite_keeps_the_last_weights_and_is_counted(bad: float) -> None:
    state = DwaState(DwaConfig())
    state.update(NORMS, {})
    before = dict(state.weights)
    state.update({**NORMS, "text": bad}, {})
    assert state.weights == before
    assert state.num_bad == 1


def test_the_running_mean_is_bias_corrected() -> None:
    state = DwaState(DwaConfig(ema=0.9))
    state.update(NORMS, {})
    assert state.weights == pytest.approx(dwa_weights(NORMS))


def test_the_rate_reference_compares_losses_with_their_first() -> None:
    state = DwaState(DwaConfig(reference="rate", deviation="signed_lead"))
    state.update({}, {"a": 2.0, "b": 4.0})
    state.update({}, {"a": 1.9, "b": 1.0})
    assert state.weight("a") > state.weight("b")


def test_warm_up_and_spacing_say_when_to_measure() -> None:
    state = DwaState(DwaConfig(warmup_steps=2, every=3))
    due = []
    for _ in range(9):
        due.append(state.due)
        state.step += 1
    assert due == [False, False, True, False, False, True, False, False, True]
    assert state.weight("text") == 1.0


def test_a_state_goes_through_json() -> None:
    state = DwaState(DwaConfig(ema=0.5))
    state.update(NORMS, {"text": 1.0})
    again = DwaState(state.config, **json.loads(json.dumps(state.as_dict())))
    assert again == state
