"""The engine: answers as `predict` gives them, bad input alone refused, versions changed under load."""

import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch

from omni_model.data.errors import DecodeError, RowError
from omni_model.evaluate import predict
from omni_model.model import OmniModel
from omni_model.protocol import Batch, Output
from omni_model.serve.config import EngineConfig
from omni_model.serve.engine import Engine
from omni_model.serve.errors import DeadlinePassed, NotAnswerable, NothingServed, Overloaded, VersionRefused
from omni_model.serve.exchange import Answer, Request
from tests.omni_model.serve.conftest import SECRET, as_sample, make_model, tuned


def agree(model: OmniModel, requests: Sequence[Request], answers: Sequence[Answer]) -> None:
    said = predict(model, [as_sample(request) for request in requests])
    for row, answer in enumerate(answers):
        given = np.array([answer.probabilities[name] for name in said.answers])
        np.testing.assert_allclose(given, said.probs[row], atol=1e-4)


def test_two_hundred_mixed_requests_at_once_get_the_answers_of_predict(
    engine: Engine, model: OmniModel, requests: Sequence[Request]
) -> None:
    asked = [replace(requests[number % len(requests)], id=f"r{number}") for number in range(200)]
    with ThreadPoolExecutor(16) as clients:
        futures = list(clients.map(engine.submit, asked))
    answers = [future.result(30) for future in futures]
    assert [answer.id for answer in answers] == [request.id for request in asked]
    agree(model, asked, answers)


def test_an_answer_says_what_was_used_and_what_it_is_worth(engine: Engine, requests: Sequence[Request]) -> None:
    full = next(request for request in requests if len(request.content) == 3)
    answer = engine.submit(full).result(10)
    assert answer.used == answer.received == ("audio", "image", "text")
    assert answer.ignored == {}
    assert answer.probability == max(answer.probabilities.values())
    assert sum(answer.probabilities.values()) == pytest.approx(1, abs=1e-5)
    assert 0 <= answer.entropy <= np.log(10) + 1e-6
    assert answer.version == 1
    latency = answer.latency
    assert min(latency.queue_s, latency.decode_s, latency.encode_s, latency.fuse_s) >= 0
    assert latency.total_s > 0


def test_a_modality_that_the_model_does_not_take_is_ignored_with_the_reason(
    engine: Engine, model: OmniModel, requests: Sequence[Request]
) -> None:
    plain = next(request for request in requests if set(request.content) == {"text"})
    answer = engine.submit(replace(plain, content={**plain.content, "sensor": b"t,a\n0,1\n"})).result(10)
    assert answer.used == ("text",)
    assert answer.ignored == {"sensor": "v1 was trained without sensor"}
    agree(model, [plain], [answer])


def test_large_requests_are_decoded_beside_the_queue_and_answered_alike(
    model: OmniModel, requests: Sequence[Request]
) -> None:
    engine = Engine(EngineConfig(small_bytes=0), secret=SECRET)
    engine.put_in_service(1, 1, lambda: model)
    asked = [*requests, *requests]
    bad = engine.submit(replace(requests[0], content={"image": b"no image"}))
    late = engine.submit(requests[0], deadline_s=-1)
    agree(model, asked, [future.result(10) for future in [engine.submit(request) for request in asked]])
    with pytest.raises(DecodeError, match="image: "):
        bad.result(10)
    with pytest.raises(DeadlinePassed):
        late.result(10)
    engine.close()


@pytest.mark.parametrize(
    ("changes", "fact"),
    [
        ({"task": "colour"}, "knows no task 'colour'"),
        ({"content": {"smell": b"x"}}, "Unknown modality 'smell'"),
        ({"content": {"sensor": b"1"}}, "No modality of the request can be used"),
        ({"content": {"image": b"no image"}}, "image: "),
        ({"content": {"text": b"\xff\xfe\xfd"}}, "not UTF-8"),
        ({"content": {"audio": b""}}, "is empty"),
    ],
)
def test_bad_input_is_refused_by_itself(engine: Engine, changes: dict[str, object], fact: str) -> None:
    bad = replace(Request(id="bad", task="digit", content={"text": b"seven"}), **changes)  # type: ignore[arg-type]
    good = engine.submit(Request(id="good", task="digit", content={"text": b"seven"}))
    with pytest.raises((RowError, DecodeError), match=fact):
        engine.submit(bad).result(10)
    assert good.result(10).version == 1


class Touchy(OmniModel):
    """Cannot bear a batch with a row of exactly 13 characters."""

    def forward(self, batch: Batch) -> Output:
        if bool((batch.masks.get("text", torch.zeros(1, 1)).sum(dim=1) == 13).any()):
            raise RuntimeError("thirteen!")
        return super().forward(batch)


def test_poison_fails_alone(model: OmniModel, requests: Sequence[Request]) -> None:
    touchy = Touchy(model.config, model.tasks).eval()
    touchy.load_state_dict(model.state_dict())
    engine = Engine(EngineConfig(), secret=SECRET)
    engine.put_in_service(1, 1, lambda: touchy)
    poison = Request(id="poison", task="digit", content={"text": b"x" * 13})
    asked = [*requests[:7], poison, *requests[7:15]]
    futures = [engine.submit(request) for request in asked]
    with pytest.raises(NotAnswerable, match="thirteen"):
        futures[7].result(10)
    agree(model, requests[:15], [future.result(10) for number, future in enumerate(futures) if number != 7])
    engine.close()


def test_before_the_first_version_nothing_is_answered() -> None:
    engine = Engine(EngineConfig(), secret=SECRET)
    with pytest.raises(NothingServed):
        engine.submit(Request(id="early", task="digit")).result(10)
    with pytest.raises(NothingServed):
        engine.canary(deadline_s=1)
    engine.close()


class Held(OmniModel):
    """Waits before it answers."""

    gate = threading.Event()

    def forward(self, batch: Batch) -> Output:
        self.gate.wait(10)
        return super().forward(batch)


def test_a_full_engine_refuses_but_still_answers_its_canary(model: OmniModel, requests: Sequence[Request]) -> None:
    held = Held(model.config, model.tasks).eval()
    held.gate.set()
    engine = Engine(EngineConfig(queue_rows=4), secret=SECRET)
    engine.put_in_service(1, 1, lambda: held)
    held.gate.clear()
    waiting = [engine.submit(request) for request in requests[:4]]
    with pytest.raises(Overloaded) as refused:
        engine.submit(requests[4])
    assert refused.value.retry_after_s > 0
    with pytest.raises(DeadlinePassed):
        engine.canary(deadline_s=0.05)
    held.gate.set()
    assert all(future.result(10) for future in waiting)
    assert engine.canary(deadline_s=5).version == 1
    engine.close()


def test_a_passed_deadline_is_not_computed(engine: Engine, requests: Sequence[Request]) -> None:
    misses = engine.counts().cache.num_misses
    with pytest.raises(DeadlinePassed):
        engine.submit(requests[0], deadline_s=-1).result(10)
    assert engine.counts().cache.num_misses == misses


def hit_rate(engine: Engine, requests: Sequence[Request]) -> tuple[float, list[Answer]]:
    """Share of encoder outputs found in the cache for these requests alone, and their answers."""
    before = engine.counts().cache
    answers = [engine.submit(request).result(10) for request in requests]
    after = engine.counts().cache
    num_hits, num_misses = after.num_hits - before.num_hits, after.num_misses - before.num_misses
    return num_hits / (num_hits + num_misses), answers


def test_a_promotion_by_tuning_keeps_the_cache_warm_and_other_encoders_start_cold(
    engine: Engine, model: OmniModel, requests: Sequence[Request]
) -> None:
    assert engine.counts().cache.hit_rate is None
    _, before = hit_rate(engine, requests)
    misses = engine.counts().cache.num_misses
    same_encoders, other_encoders = tuned(model, 2), make_model(3)

    engine.put_in_service(2, 2, lambda: same_encoders, golden=requests[:4])
    rate, answers = hit_rate(engine, requests)
    assert (rate, engine.counts().cache.num_misses) == (1.0, misses)
    agree(same_encoders, requests, answers)
    assert [answer.probabilities for answer in answers] != [answer.probabilities for answer in before]

    engine.put_in_service(3, 3, lambda: other_encoders)
    instructions = len(requests) - 1  # all but the first find the instruction that the first has left
    num_contents = sum(len(request.content) for request in requests)
    rate, answers = hit_rate(engine, requests)
    agree(other_encoders, requests, answers)
    num_repeated = num_contents - len({item for request in requests for item in request.content.items()})
    assert rate == pytest.approx((instructions + num_repeated) / (num_contents + len(requests)))
    assert engine.counts().cache.num_misses == 2 * misses

    engine.put_in_service(2, 4, lambda: same_encoders)  # back again: its tokens are still there
    assert hit_rate(engine, requests)[0] == 1.0


def test_a_cache_that_is_too_small_changes_no_answer(model: OmniModel, requests: Sequence[Request]) -> None:
    engine = Engine(EngineConfig(cache_bytes=6_000), secret=SECRET)
    engine.put_in_service(1, 1, lambda: model)
    asked = [*requests, *requests]
    agree(model, asked, [future.result(10) for future in [engine.submit(request) for request in asked]])
    assert engine.counts().cache.num_bytes <= 6_000
    engine.close()


def test_a_version_that_does_not_load_or_answers_nonsense_is_refused_and_the_old_one_stays(
    engine: Engine, requests: Sequence[Request]
) -> None:
    def missing() -> OmniModel:
        raise FileNotFoundError("no checkpoint")

    ruined = make_model(2)
    ruined.layers.query.data.fill_(float("nan"))
    for load in (missing, lambda: ruined):
        with pytest.raises(VersionRefused, match="v2 was refused"):
            engine.put_in_service(2, 2, load)
        assert engine.submit(requests[0]).result(10).version == 1
    assert engine.warm_versions == (1,)


def test_a_golden_sample_that_the_model_cannot_take_stands_in_no_version_s_way(engine: Engine) -> None:
    odd = [
        Request(id="other-task", task="colour", content={"text": b"red"}),
        Request(id="damaged", task="digit", content={"image": b"no image"}),
        Request(id="untrained", task="digit", content={"sensor": b"0"}),
    ]
    engine.put_in_service(2, 2, lambda: make_model(2), golden=odd)
    assert engine.served is not None
    assert engine.served.version == 2


def test_going_back_loads_nothing(engine: Engine, model: OmniModel, requests: Sequence[Request]) -> None:
    engine.put_in_service(2, 2, lambda: make_model(2), golden=requests[:4])

    def unwanted() -> OmniModel:
        raise AssertionError("v1 was still warm")

    engine.put_in_service(1, 3, unwanted, golden=requests[:4])
    answer = engine.submit(requests[0]).result(10)
    assert (answer.version, answer.generation) == (1, 3)
    agree(model, requests[:1], [answer])


def test_swaps_under_load_lose_no_request_and_mix_no_versions(
    engine: Engine, model: OmniModel, requests: Sequence[Request]
) -> None:
    models = {1: model, 2: make_model(2)}  # other encoders, so that stale tokens would show
    expected = {
        version: predict(each, [as_sample(request) for request in requests]).probs for version, each in models.items()
    }
    stop = threading.Event()
    order = list(predict(model, [as_sample(requests[0])]).answers)

    def client(number: int) -> int:
        num_asked = 0
        while not stop.is_set():
            row = (number + num_asked) % len(requests)
            lowest = engine.served.generation if engine.served else 0
            answer = engine.submit(requests[row]).result(20)
            assert answer.generation >= lowest
            assert answer.version == 1 + (answer.generation - 1) % 2
            given = [answer.probabilities[name] for name in order]
            np.testing.assert_allclose(given, expected[answer.version][row], atol=1e-4)
            num_asked += 1
        return num_asked

    with ThreadPoolExecutor(16) as clients:
        running = [clients.submit(client, number) for number in range(16)]
        for generation in range(2, 12):
            version = 1 + (generation - 1) % 2
            engine.put_in_service(version, generation, partial(models.__getitem__, version), golden=requests[:2])
            wait(running, timeout=0.1)
        stop.set()
        assert all(each.result(20) > 0 for each in running)


def test_closing_answers_everything_taken(model: OmniModel, requests: Sequence[Request]) -> None:
    engine = Engine(EngineConfig(), secret=SECRET)
    engine.put_in_service(1, 1, lambda: model)
    futures = [engine.submit(request) for request in requests]
    engine.close()
    assert all(future.done() and future.result().version == 1 for future in futures)


def test_requests_that_were_given_up_leave_no_trace_in_the_count(model: OmniModel, requests: Sequence[Request]) -> None:
    held = Held(model.config, model.tasks).eval()
    held.gate.set()
    engine = Engine(EngineConfig(queue_rows=4), secret=SECRET)
    engine.put_in_service(1, 1, lambda: held)
    held.gate.clear()
    first = engine.submit(requests[0])
    while not first.running():
        time.sleep(0.001)
    for number in range(100):  # given up, they leave the count but not the queue, which fills up at last
        try:
            engine.submit(requests[number % 28]).cancel()
        except Overloaded:
            assert number == 20
            break
    assert engine.counts().num_open == 1
    held.gate.set()
    assert first.result(10).version == 1
    while engine.counts().num_queued:
        time.sleep(0.001)
    assert engine.submit(requests[1]).result(10).version == 1
    engine.close()
    assert engine.counts().num_open == 0
