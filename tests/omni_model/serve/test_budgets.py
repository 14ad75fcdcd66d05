"""Budgets: what a selector leaves out is not decoded, an answer tells it, and a busy engine makes answers cheaper."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
from torch import Tensor

from omni_model.model import OmniModel
from omni_model.msn.choice import Budget, Choice, Selector
from omni_model.protocol import Batch, Output
from omni_model.sample import Sample
from omni_model.serve.budget import allowance, left_by_load
from omni_model.serve.config import EngineConfig
from omni_model.serve.engine import Engine
from omni_model.serve.exchange import Request
from tests.omni_model.serve.conftest import SECRET, make_model


class First:
    """Uses as many modalities as the share allows, in alphabetical order; at least one. Remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, frozenset[str], Budget]] = []

    def choose(self, task: str, available: frozenset[str], budget: Budget) -> Choice:
        self.asked.append((task, available, budget))
        share = 1.0 if budget.share is None else budget.share
        kept = sorted(available)[: max(1, int(share * len(available)))]
        return Choice(subset=frozenset(kept), why="" if len(kept) == len(available) else "too dear")


def whole(requests: Sequence[Request]) -> Request:
    return next(request for request in requests if len(request.content) == 3)


def test_without_a_budget_nothing_is_left_out_and_nobody_is_asked(
    engine: Engine, model: OmniModel, requests: Sequence[Request]
) -> None:
    selector = First()
    engine.put_in_service(2, 2, lambda: model, golden=requests[:4], selector=selector)
    answer = engine.submit(whole(requests)).result(10)
    assert (answer.used, answer.ignored, answer.budget) == (("audio", "image", "text"), {}, None)
    assert selector.asked == []


def test_what_the_budget_leaves_out_is_told_and_not_even_decoded(
    engine: Engine, model: OmniModel, requests: Sequence[Request]
) -> None:
    selector = First()
    engine.put_in_service(2, 2, lambda: model, selector=selector)
    asked = whole(requests)
    broken = replace(asked, content={**asked.content, "text": b"\xff\xfe\xfd"}, budget=Budget(share=0.7))
    answer = engine.submit(broken).result(10)
    assert answer.received == ("audio", "image", "text")
    assert answer.used == ("audio", "image")
    assert answer.ignored == {"text": "too dear"}
    assert answer.budget == 0.7
    assert selector.asked == [("digit", frozenset({"audio", "image", "text"}), Budget(share=0.7))]
    alone = engine.submit(replace(asked, content={name: asked.content[name] for name in answer.used})).result(10)
    assert answer.probabilities == pytest.approx(alone.probabilities, abs=1e-5)


def test_what_the_model_does_not_take_is_not_offered_to_the_selector(
    engine: Engine, model: OmniModel, requests: Sequence[Request]
) -> None:
    selector = First()
    engine.put_in_service(2, 2, lambda: model, selector=selector)
    asked = whole(requests)
    answer = engine.submit(
        replace(asked, content={**asked.content, "sensor": b"t,a\n0,1\n"}, budget=Budget(share=0.4))
    ).result(10)
    assert selector.asked[0][1] == {"audio", "image", "text"}
    assert answer.ignored == {"sensor": "v2 was trained without sensor", "image": "too dear", "text": "too dear"}


class Deaf(OmniModel):
    """Makes nothing of text."""

    def prepare(self, sample: Sample) -> dict[str, Tensor]:
        return {name: value[:0] if name == "text" else value for name, value in super().prepare(sample).items()}


class Text:
    def choose(self, task: str, available: frozenset[str], budget: Budget) -> Choice:
        return Choice(subset=frozenset({"text"} & available) or available, why="text is cheapest")


def test_if_what_was_chosen_holds_nothing_the_rest_is_asked(
    engine: Engine, model: OmniModel, requests: Sequence[Request]
) -> None:
    engine.put_in_service(2, 2, lambda: Deaf(model.config, model.tasks), selector=Text())
    answer = engine.submit(replace(whole(requests), budget=Budget(share=0.1))).result(10)
    assert answer.used == ("audio", "image")
    assert answer.ignored == {"text": "it holds nothing"}


class Nothing:
    def choose(self, task: str, available: frozenset[str], budget: Budget) -> Choice:
        return Choice(subset=frozenset(), why="none will do")


def test_a_selector_that_chooses_nothing_leaves_out_nothing(engine: Engine, requests: Sequence[Request]) -> None:
    engine.set_selector(1, Nothing())
    answer = engine.submit(replace(whole(requests), budget=Budget(share=0))).result(10)
    assert (answer.used, answer.ignored) == (("audio", "image", "text"), {})


def test_a_selector_may_come_later_and_stays_with_its_version(
    engine: Engine, model: OmniModel, requests: Sequence[Request]
) -> None:
    asked = replace(whole(requests), budget=Budget(share=0.4))
    engine.put_in_service(2, 2, lambda: make_model(2))
    engine.set_selector(1, First())
    assert engine.submit(asked).result(10).used == ("text",)  # by the static rules

    def unwanted() -> OmniModel:
        raise AssertionError("v1 was still warm")

    engine.put_in_service(1, 3, unwanted)
    assert engine.submit(asked).result(10).used == ("audio",)
    engine.set_selector(1, None)
    answer = engine.submit(asked).result(10)
    assert answer.used == ("text",)
    assert answer.ignored["image"] == "the static rules use text at a budget of 0.4"
    engine.set_selector(77, First())
    assert engine.warm_versions == (2, 1)


def busy(
    model: OmniModel, requests: Sequence[Request], selector: Selector | None, asked: Callable[[Request], Request]
) -> tuple[Engine, list[tuple[str, ...]]]:
    """An engine with a queue of 8 whose model waits until 8 requests were taken; and what each answer has used."""
    gate = threading.Event()

    class Held(OmniModel):
        def forward(self, batch: Batch) -> Output:
            gate.wait(10)
            return super().forward(batch)

    gate.set()
    held = Held(model.config, model.tasks).eval()
    engine = Engine(EngineConfig(queue_rows=8, decode_threads=1), secret=SECRET, fallback=First())
    engine.put_in_service(1, 1, lambda: held, selector=selector)
    gate.clear()
    futures = [engine.submit(asked(replace(whole(requests), id=f"r{number}"))) for number in range(8)]
    gate.set()
    answers = [future.result(10) for future in futures]
    assert engine.submit(asked(whole(requests))).result(10).budget in (None, 0.9)
    engine.close()
    for answer in answers:
        assert set(answer.ignored.values()) <= {"many requests wait: too dear", "too dear"}
    return engine, [answer.used for answer in answers]


def test_a_busy_engine_gives_cheaper_answers_before_it_refuses(model: OmniModel, requests: Sequence[Request]) -> None:
    _, used = busy(model, requests, First(), lambda request: request)
    assert ("audio",) in used


def test_load_alone_changes_nothing_without_a_selector(model: OmniModel, requests: Sequence[Request]) -> None:
    _, used = busy(model, requests, None, lambda request: request)
    assert set(used) == {("audio", "image", "text")}


def test_a_budget_without_a_selector_goes_to_the_fallback(model: OmniModel, requests: Sequence[Request]) -> None:
    _, used = busy(model, requests, None, lambda request: replace(request, budget=Budget(share=0.9)))
    assert ("audio", "image", "text") not in used


def test_less_is_left_the_longer_the_queue() -> None:
    left = [left_by_load(num_open, 40, 0.25) for num_open in range(45)]
    assert left[:11] == [1.0] * 11
    assert left == sorted(left, reverse=True)
    assert left[40:] == [0.0] * 5


def test_the_smaller_bound_wins_and_is_named() -> None:
    assert allowance(Budget(latency_s=0.1), 0.5).budget == Budget(share=0.5, latency_s=0.1)
    assert not allowance(Budget(share=0.5), 0.5).by_load
    assert allowance(Budget(share=0.51), 0.5).by_load


@pytest.mark.parametrize("value", [-0.1, 1.1, float("nan")])
def test_the_start_of_degradation_is_a_share(value: float) -> None:
    with pytest.raises(ValueError, match="OMNI_SERVICE__DEGRADE_FROM"):
        EngineConfig(degrade_from=value)
