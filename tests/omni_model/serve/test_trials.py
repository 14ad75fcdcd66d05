"""Trials: a share of the requests, sticky by key, answered by both versions; second answers never cost a first one."""

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial

import pytest

from omni_model.data.errors import RowError
from omni_model.model import OmniModel
from omni_model.protocol import Batch, Output
from omni_model.sample import TaskSpec
from omni_model.serve.config import EngineConfig
from omni_model.serve.engine import Engine
from omni_model.serve.errors import NotAnswerable, Overloaded, VersionRefused
from omni_model.serve.exchange import Answer, Request
from omni_model.serve.trial import Trial, place_of
from tests.omni_model.serve.conftest import SECRET, make_model, tuned
from tests.omni_model.serve.test_engine import agree

Pair = tuple[Answer, Answer]


def asked(requests: Sequence[Request], count: int) -> list[Request]:
    return [replace(requests[number % len(requests)], id=f"r{number}") for number in range(count)]


def until(is_so: Callable[[], bool]) -> None:
    limit = time.monotonic() + 10
    while not is_so():
        assert time.monotonic() < limit
        time.sleep(0.005)


def engine_with(model: OmniModel, pairs: list[Pair], config: EngineConfig = EngineConfig()) -> Engine:  # noqa: B008
    engine = Engine(config, secret=SECRET, on_mirror=lambda told, second: pairs.append((told, second)))
    engine.put_in_service(1, 1, lambda: model)
    return engine


def test_a_canary_answers_its_share_and_the_version_in_service_answers_the_same_requests(
    model: OmniModel, requests: Sequence[Request]
) -> None:
    pairs: list[Pair] = []
    engine, other = engine_with(model, pairs, EngineConfig(mirror_rows=200)), make_model(2)
    engine.start_trial(2, lambda: other, mode="canary", share=0.5, golden=requests[:4])
    assert engine.trial == Trial(version=2, mode="canary", share=0.5)
    sent = asked(requests, 60)
    answers = [future.result(10) for future in [engine.submit(request) for request in sent]]
    of_trial = [answer.version == 2 for answer in answers]
    assert of_trial == [place_of(request.id) < 0.5 for request in sent]
    assert 15 < sum(of_trial) < 45
    for version, each in ((1, model), (2, other)):
        rows = [row for row in range(60) if answers[row].version == version]
        agree(each, [sent[row] for row in rows], [answers[row] for row in rows])
    until(lambda: len(pairs) == sum(of_trial))
    assert {told.id: (told.version, second.version) for told, second in pairs} == {
        answer.id: (2, 1) for answer in answers if answer.version == 2
    }
    by_id = {request.id: request for request in sent}
    agree(model, [by_id[told.id] for told, _ in pairs], [second for _, second in pairs])
    assert all(answer.generation == 1 for answer in answers)
    assert engine.counts().num_mirrored == sum(of_trial)
    engine.close()


def test_in_shadow_only_the_version_in_service_is_heard(model: OmniModel, requests: Sequence[Request]) -> None:
    pairs: list[Pair] = []
    engine, other = engine_with(model, pairs), tuned(model, 2)
    engine.start_trial(2, lambda: other, mode="shadow", share=1.0)
    answers = [engine.submit(request).result(10) for request in requests]
    agree(model, requests, answers)
    until(lambda: len(pairs) == len(requests))
    assert sorted(told.id for told, _ in pairs) == sorted(request.id for request in requests)
    by_id = {request.id: request for request in requests}
    assert {second.version for _, second in pairs} == {2}
    agree(other, [by_id[told.id] for told, _ in pairs], [second for _, second in pairs])
    assert engine.counts().cache.num_misses == len({key for key in _contents(requests)})
    engine.close()


def _contents(requests: Sequence[Request]) -> list[tuple[str, bytes]]:
    return [("instruction", b"")] + [item for request in requests for item in request.content.items()]


def test_a_key_stays_on_its_side_and_a_larger_share_keeps_the_smaller_one(
    model: OmniModel, requests: Sequence[Request]
) -> None:
    engine = engine_with(model, [])
    sides: dict[float, dict[str, set[int]]] = {}
    for share in (0.1, 0.4, 0.4, 0.9):
        engine.start_trial(2, lambda: make_model(2), mode="canary", share=share)
        for number in range(60):
            request = replace(requests[0], id=f"{share}-{number}", key=f"user-{number % 20}")
            sides.setdefault(share, {}).setdefault(request.key, set()).add(engine.submit(request).result(10).version)
    assert all(len(versions) == 1 for by_key in sides.values() for versions in by_key.values())
    tried = [{key for key, versions in sides[share].items() if versions == {2}} for share in (0.1, 0.4, 0.9)]
    assert tried[0] <= tried[1] <= tried[2]
    assert len(tried[0]) < len(tried[1]) < len(tried[2])
    engine.close()


def test_who_does_not_know_the_salt_cannot_choose_a_side(model: OmniModel, requests: Sequence[Request]) -> None:
    engine = engine_with(model, [])
    engine.start_trial(2, lambda: make_model(2), mode="canary", share=0.5, salt=SECRET)
    keys = [key for key in (f"key-{number}" for number in range(200)) if place_of(key) < 0.5][:60]
    sent = [replace(requests[0], id=key, key=key) for key in keys]
    of_trial = [future.result(10).version == 2 for future in [engine.submit(request) for request in sent]]
    assert of_trial == [place_of(key, SECRET) < 0.5 for key in keys]
    assert 15 < sum(of_trial) < 45
    engine.close()


def test_the_place_of_a_key_is_the_same_in_every_process_and_even() -> None:
    code = "from omni_model.serve.trial import place_of; print(place_of('ann'), place_of('ключ'))"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert told.split() == [str(place_of("ann")), str(place_of("ключ"))]
    places = [place_of(f"key-{number}", SECRET) for number in range(10_000)]
    assert [place_of(f"key-{number}", SECRET) for number in range(9)] == places[:9]
    for share in (0.05, 0.5, 0.9):
        assert sum(place < share for place in places) / 10_000 == pytest.approx(share, abs=0.02)


def test_the_end_of_a_trial_leaves_the_version_in_service_alone(engine: Engine, requests: Sequence[Request]) -> None:
    engine.start_trial(2, lambda: make_model(2), mode="canary", share=1.0)
    assert engine.submit(requests[0]).result(10).version == 2
    assert engine.canary(deadline_s=5).version == 1
    engine.end_trial()
    assert engine.trial is None
    assert engine.submit(requests[0]).result(10).version == 1
    engine.end_trial()


def test_a_promotion_of_the_version_on_trial_takes_its_model_and_ends_the_trial(
    engine: Engine, requests: Sequence[Request]
) -> None:
    other = make_model(2)
    engine.start_trial(2, lambda: other, mode="shadow", share=0.5)

    def unwanted() -> OmniModel:
        raise AssertionError("v2 was in memory")

    engine.put_in_service(2, 2, unwanted)
    answer = engine.submit(requests[0]).result(10)
    assert (answer.version, answer.generation) == (2, 2)
    agree(other, requests[:1], [answer])
    assert engine.trial is None
    assert engine.warm_versions == (1, 2)
    with pytest.raises(ValueError, match="v2 is in service already"):
        engine.start_trial(2, unwanted, mode="shadow", share=0.5)
    engine.start_trial(1, unwanted, mode="shadow", share=0.5)  # the one before it is warm too


def test_a_version_that_fails_its_check_is_not_tried(engine: Engine, requests: Sequence[Request]) -> None:
    ruined = make_model(2)
    ruined.layers.query.data.fill_(float("nan"))
    with pytest.raises(VersionRefused, match="v2 was refused"):
        engine.start_trial(2, lambda: ruined, mode="canary", share=1.0)
    assert engine.trial is None
    assert engine.submit(requests[0]).result(10).version == 1


@pytest.mark.parametrize(("mode", "share"), [("both", 0.5), ("canary", 0.0), ("canary", 1.1), ("shadow", float("nan"))])
def test_a_trial_that_cannot_be_is_refused(engine: Engine, mode: str, share: float) -> None:
    with pytest.raises(ValueError, match="trial"):
        engine.start_trial(2, lambda: make_model(2), mode=mode, share=share)


class Frail(OmniModel):
    """Answers its check, which gives no text of 5 characters, and nothing that has one."""

    def forward(self, batch: Batch) -> Output:
        if "text" in batch.masks and bool((batch.masks["text"].sum(dim=1) == 5).any()):
            raise RuntimeError("five!")
        return super().forward(batch)


def frail(model: OmniModel) -> OmniModel:
    made = Frail(model.config, model.tasks).eval()
    made.load_state_dict(model.state_dict())
    return made


FIVE = Request(id="five", task="digit", content={"text": b"seven"})
TWO = Request(id="two", task="digit", content={"text": b"six"})


def test_where_a_canary_fails_the_version_in_service_answers(model: OmniModel) -> None:
    pairs: list[Pair] = []
    engine = engine_with(model, pairs)
    engine.start_trial(2, lambda: frail(model), mode="canary", share=1.0)
    futures = [engine.submit(replace(request, id=f"{n}")) for n, request in enumerate([TWO, FIVE, TWO, FIVE, TWO])]
    assert [future.result(10).version for future in futures] == [2, 1, 2, 1, 2]
    until(lambda: len(pairs) == 3)
    assert engine.counts().num_trial_failures == 2
    engine.close()


def test_where_a_shadow_fails_no_answer_is_touched(model: OmniModel) -> None:
    pairs: list[Pair] = []
    engine = engine_with(model, pairs)
    engine.start_trial(2, lambda: frail(model), mode="shadow", share=1.0)
    for number, request in enumerate([TWO, FIVE, TWO]):
        assert engine.submit(replace(request, id=f"{number}")).result(10).version == 1
    until(lambda: len(pairs) == 2 and engine.counts().num_mirrors_failed == 1)
    assert [told.id for told, _ in pairs] == ["0", "2"]
    engine.close()


def test_bad_input_is_bad_input_during_a_trial_too(model: OmniModel) -> None:
    engine = engine_with(frail(model), [])
    engine.start_trial(2, lambda: frail(make_model(2)), mode="canary", share=1.0)
    with pytest.raises(RowError, match="v1 knows no task 'colour'"):
        engine.submit(Request(id="bad", task="colour")).result(10)
    with pytest.raises(NotAnswerable, match="five"):
        engine.submit(FIVE).result(10)
    assert engine.counts().num_trial_failures == 0
    engine.close()


def test_a_task_that_the_canary_does_not_know_is_answered_by_the_version_in_service(model: OmniModel) -> None:
    wider = OmniModel(model.config, [*model.tasks, TaskSpec(name="odd", instructions=("Odd?",), answers=("y", "n"))])
    engine = engine_with(wider.eval(), [])
    engine.start_trial(2, lambda: make_model(2), mode="canary", share=1.0)
    assert engine.submit(replace(TWO, task="odd")).result(10).version == 1
    assert engine.counts().num_trial_failures == 1
    engine.close()


def test_who_listens_badly_touches_nothing(model: OmniModel, requests: Sequence[Request]) -> None:
    heard: list[str] = []

    def deaf(told: Answer, second: Answer) -> None:
        heard.append(second.id)
        raise OSError("the log is full")

    engine = Engine(EngineConfig(), secret=SECRET, on_mirror=deaf)
    engine.put_in_service(1, 1, lambda: model)
    engine.start_trial(2, lambda: make_model(2), mode="shadow", share=1.0)
    agree(model, requests[:8], [engine.submit(request).result(10) for request in requests[:8]])
    until(lambda: len(heard) == 8)
    agree(model, requests[:8], [engine.submit(request).result(10) for request in requests[:8]])
    engine.close()


class Slow(OmniModel):
    """Waits, once it was told to, until it may go on."""

    go: threading.Event

    def forward(self, batch: Batch) -> Output:
        self.go.wait(10)
        return super().forward(batch)


def slow(model: OmniModel) -> Slow:
    made = Slow(model.config, model.tasks).eval()
    made.load_state_dict(model.state_dict())
    made.go = threading.Event()
    made.go.set()
    return made


def test_second_answers_beyond_the_room_are_dropped_and_counted_and_refuse_nobody(
    model: OmniModel, requests: Sequence[Request]
) -> None:
    pairs: list[Pair] = []
    engine, other = engine_with(model, pairs, EngineConfig(mirror_rows=3, queue_rows=64)), slow(make_model(2))
    engine.start_trial(2, lambda: other, mode="shadow", share=1.0)
    held = slow(model)
    engine.put_in_service(3, 3, lambda: held)
    held.go.clear()
    futures = [engine.submit(request) for request in asked(requests, 40)]
    held.go.set()
    assert all(future.result(10).version == 3 for future in futures)
    until(lambda: engine.counts().num_mirrored + engine.counts().num_mirrors_dropped == 40)
    assert engine.counts().num_mirrors_dropped > 0
    assert len(pairs) == engine.counts().num_mirrored > 0
    engine.close()


def test_second_answers_of_large_inputs_are_bounded_in_bytes(model: OmniModel, requests: Sequence[Request]) -> None:
    engine = engine_with(model, [], EngineConfig(mirror_bytes=0))
    engine.start_trial(2, lambda: make_model(2), mode="shadow", share=1.0)
    assert engine.submit(requests[0]).result(10).version == 1
    until(lambda: engine.counts().num_mirrors_dropped == 1)
    engine.close()


def test_a_full_queue_drops_second_answers_first_and_closing_drops_them_too(
    model: OmniModel, requests: Sequence[Request]
) -> None:
    held, other = slow(model), slow(make_model(2))
    engine = engine_with(held, [], EngineConfig(queue_rows=8))
    engine.start_trial(2, lambda: other, mode="shadow", share=1.0)
    held.go.clear()
    other.go.clear()
    first = [engine.submit(request) for request in requests[:8]]
    until(lambda: 8 > engine.counts().num_queued == 8 - sum(each.running() for each in first))
    held.go.set()
    assert all(future.result(10).version == 1 for future in first)
    until(lambda: engine.counts().num_mirrors_waiting == 4)  # four more are being computed

    second = [engine.submit(request) for request in requests[8:16]]
    assert engine.counts().num_mirrors_dropped == 0
    with pytest.raises(Overloaded):
        engine.submit(requests[16])
    assert engine.counts().num_mirrors_dropped == 4

    held.go.clear()
    closing = threading.Thread(target=engine.close)
    closing.start()
    other.go.set()
    until(lambda: engine._batcher._closed)
    held.go.set()
    assert all(future.result(10).version == 1 for future in second)
    closing.join(10)
    counts = engine.counts()
    assert (counts.num_mirrored, counts.num_mirrors_dropped) == (4, 12)


def test_trials_that_come_and_go_under_load_lose_no_request(model: OmniModel, requests: Sequence[Request]) -> None:
    models = {1: model, 2: make_model(2)}
    engine = engine_with(model, [], EngineConfig(mirror_rows=8))
    stop = threading.Event()

    def client(number: int) -> int:
        num_asked = 0
        while not stop.is_set():
            row = (number + num_asked) % len(requests)
            answer = engine.submit(replace(requests[row], id=f"{number}-{num_asked}")).result(20)
            agree(models[answer.version], [requests[row]], [answer])
            num_asked += 1
        return num_asked

    with ThreadPoolExecutor(8) as clients:
        running = [clients.submit(client, number) for number in range(8)]
        in_service = 1
        for step in range(8):
            other = 3 - in_service
            mode = ("canary", "shadow")[step % 2]
            engine.start_trial(other, partial(models.__getitem__, other), mode=mode, share=0.5)
            time.sleep(0.1)
            if step % 4 < 2:
                engine.end_trial()
            else:
                engine.put_in_service(other, step + 2, partial(models.__getitem__, other))
                in_service = other
        stop.set()
        assert all(each.result(20) > 0 for each in running)
    engine.close()
