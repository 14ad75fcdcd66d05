"""Answers in stages: a row that is sure leaves early, and what it never needed is not even decoded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import pytest
from torch import Tensor

from omni_model.data import tri_digits
from omni_model.data.errors import DecodeError
from omni_model.evaluate import Floats, predict
from omni_model.model import OmniModel
from omni_model.msn.choice import Budget, Choice, Stage
from omni_model.sample import Sample
from omni_model.serve.config import EngineConfig
from omni_model.serve.engine import Engine
from omni_model.serve.exchange import Answer, Request
from tests.omni_model.serve.conftest import SECRET, as_request, as_sample, make_model, tuned

TEXT, SEEN, ALL = frozenset({"text"}), frozenset({"image", "text"}), frozenset({"audio", "image", "text"})


class Chained:
    """Text first, then the image, then the sound; a budget leaves the sound out."""

    def __init__(self, *thresholds: float) -> None:
        self.chains = tuple(map(Stage, (TEXT, SEEN), thresholds))

    def choose(self, task: str, available: frozenset[str], budget: Budget) -> Choice:
        subset = available if budget == Budget() else available - {"audio"}
        early = tuple(stage for stage in self.chains if stage.subset < subset)
        return Choice(subset=subset, why="" if subset == available else "too dear", early=early)


@pytest.fixture
def plain() -> Iterator[Engine]:
    """An engine whose cache is off."""
    engine = Engine(EngineConfig(cache_bytes=0), secret=SECRET)
    yield engine
    engine.close()


@pytest.fixture(scope="module")
def full() -> list[Request]:
    """Requests with all three modalities."""
    rows = [row for row in tri_digits.load() if len(row.inputs) == 3]
    return [replace(as_request(row), instruction="") for row in rows[:24]]


def between(probabilities: Floats) -> float:
    """In the middle of the widest gap in the middle half, so that rounding moves no row across."""
    inner = np.sort(probabilities)[len(probabilities) // 4 : -len(probabilities) // 4]
    place = int(np.diff(inner).argmax())
    return float(inner[place] + inner[place + 1]) / 2


def answers(engine: Engine, requests: Sequence[Request]) -> list[Answer]:
    """All at once, so that they come in batches."""
    return [each.result(30) for each in [engine.submit(request) for request in requests]]


def broken(request: Request, *names: str) -> Request:
    """Some of its modalities hold what cannot be decoded."""
    return replace(request, content={**request.content, **dict.fromkeys(names, b"\xff\xfe\xfd")})


@pytest.mark.parametrize("small_bytes", [2**20, 0])
@pytest.mark.parametrize("cache_bytes", [2**20, 0])
def test_each_row_stops_where_it_is_sure_and_says_what_the_model_says_of_that(
    model: OmniModel, full: list[Request], small_bytes: int, cache_bytes: int
) -> None:
    """Rows of every stage in the same batches, decoded with them or ahead, with a cache and without."""
    samples = [as_sample(request) for request in full]
    direct = {subset: predict(model, samples, subset=subset).confidence for subset in (TEXT, SEEN, ALL)}
    selector = Chained(between(direct[TEXT]), between(direct[SEEN]))
    parts = [*selector.chains, Stage(ALL, 0.0)]
    engine = Engine(EngineConfig(cache_bytes=cache_bytes, small_bytes=small_bytes), secret=SECRET)
    engine.put_in_service(1, 1, lambda: model, golden=full[:4], selector=selector)
    stops = []
    for place, answer in enumerate(answers(engine, full)):
        wanted = next(stage for stage in parts if direct[stage.subset][place] >= stage.threshold)
        assert frozenset(answer.used) == wanted.subset
        assert set(answer.used) | set(answer.ignored) == ALL
        assert answer.probability == pytest.approx(float(direct[wanted.subset][place]), abs=1e-4)
        for why in answer.ignored.values():
            assert why == f"sure without it: {answer.probability:.2f} of {wanted.threshold:.2f} needed"
        assert all(part >= 0 for part in vars(answer.latency).values())
        stops.append(len(wanted.subset))
    assert set(stops) == {1, 2, 3}
    engine.close()


@pytest.mark.parametrize("small_bytes", [2**20, 0])
def test_what_a_sure_row_never_needed_is_not_decoded(full: list[Request], model: OmniModel, small_bytes: int) -> None:
    engine = Engine(EngineConfig(small_bytes=small_bytes), secret=SECRET)
    engine.put_in_service(1, 1, lambda: model, selector=Chained(0.0, 0.0))
    for answer in answers(engine, [broken(request, "image", "audio") for request in full]):
        assert answer.used == ("text",)
        assert answer.received == ("audio", "image", "text")
    engine.close()


def test_what_cannot_be_decoded_when_it_is_needed_fails_its_row_alone(
    plain: Engine, model: OmniModel, full: list[Request]
) -> None:
    plain.put_in_service(1, 1, lambda: model, selector=Chained(1.1, 1.1))
    futures = [plain.submit(broken(request, "audio") if place == 5 else request) for place, request in enumerate(full)]
    with pytest.raises(DecodeError, match="audio"):
        futures.pop(5).result(30)
    whole = [each.result(30) for each in futures]
    assert {answer.used for answer in whole} == {("audio", "image", "text")}


def test_rows_that_are_never_sure_answer_as_without_a_chain(
    plain: Engine, model: OmniModel, full: list[Request], requests: Sequence[Request]
) -> None:
    mixed = [*full, *(request for request in requests)]
    plain.put_in_service(1, 1, lambda: model)
    before = answers(plain, mixed)
    plain.set_selector(1, Chained(1.1, 1.1))
    for one, other in zip(before, answers(plain, mixed), strict=True):
        assert (one.used, one.ignored, one.answer) == (other.used, other.ignored, other.answer)
        assert one.probabilities == pytest.approx(other.probabilities, abs=1e-5)


def test_within_a_budget_the_chain_ends_where_the_budget_does(
    plain: Engine, model: OmniModel, full: list[Request]
) -> None:
    plain.put_in_service(1, 1, lambda: model, selector=Chained(1.1, 1.1))
    answer = plain.submit(replace(broken(full[0], "audio"), budget=Budget(share=0.5))).result(30)
    assert (answer.used, answer.ignored) == (("image", "text"), {"audio": "too dear"})


class Wordless(OmniModel):
    """Finds nothing in texts."""

    def prepare(self, sample: Sample) -> dict[str, Tensor]:
        return {name: value[:0] if name == "text" else value for name, value in super().prepare(sample).items()}


def test_a_stage_that_holds_nothing_is_no_stage(plain: Engine, model: OmniModel, full: list[Request]) -> None:
    wordless = Wordless(model.config, model.tasks).eval()
    wordless.load_state_dict(model.state_dict())
    plain.put_in_service(1, 1, lambda: wordless, selector=Chained(0.0, 0.0))
    answer = plain.submit(broken(full[0], "audio")).result(30)
    assert answer.used == ("image",)
    assert answer.ignored["text"] == "it holds nothing"
    assert answer.ignored["audio"].startswith("sure without it")


def test_each_version_walks_its_own_chain(model: OmniModel, full: list[Request]) -> None:
    """The one on trial has none, and its second answers look at everything."""
    heard: list[tuple[Answer, Answer]] = []
    engine = Engine(EngineConfig(), secret=SECRET, on_mirror=lambda told, second: heard.append((told, second)))
    engine.put_in_service(1, 1, lambda: model, selector=Chained(0.0, 0.0))
    engine.start_trial(2, lambda: tuned(model, 2), mode="shadow", share=1.0)
    told = answers(engine, full[:6])
    for _ in range(500):
        if len(heard) == 6:
            break
        engine.submit(full[0]).result(30)
    engine.end_trial()
    engine.put_in_service(3, 3, lambda: make_model(3))
    after = engine.submit(full[0]).result(30)
    engine.close()
    assert {answer.used for answer in told} == {("text",)}
    assert heard
    assert {second.used for _, second in heard} == {("audio", "image", "text")}
    assert after.used == ("audio", "image", "text")
