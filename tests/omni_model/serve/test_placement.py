"""Placement: each modality's encoder on its device, different devices at once, the same answers."""

import threading
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from omni_model.config import ModelConfig
from omni_model.data import tri_digits
from omni_model.model import OmniModel
from omni_model.protocol import INSTRUCTION
from omni_model.serve.config import EngineConfig
from omni_model.serve.engine import Engine
from omni_model.serve.errors import NotAnswerable
from omni_model.serve.exchange import Request
from omni_model.serve.placement import placed
from tests.omni_model.serve.conftest import SECRET, make_model
from tests.omni_model.serve.test_engine import agree

TWO = {"text": "cpu", "*": "cpu:0"}
"""Two devices in name: both are the CPU, each has a queue of its own."""


def engine_of(model: OmniModel, placement: dict[str, str]) -> Engine:
    engine = Engine(EngineConfig(placement=placement), secret=SECRET)
    engine.put_in_service(1, 1, lambda: model)
    return engine


def test_without_a_gpu_everything_is_on_the_cpu_and_with_one_only_text_is() -> None:
    assert placed({}, 0).devices == ("cpu",)
    one = placed({}, 1)
    assert {name: one.of(name) for name in ("text", INSTRUCTION, "image", "video")} == {
        "text": "cpu",
        INSTRUCTION: "cpu",
        "image": "cuda:0",
        "video": "cuda:0",
    }
    assert placed({"*": "cpu"}, 1).devices == ("cpu",)
    assert placed({"fuse": "cpu", "image": "cuda:0", "*": "cpu"}, 1).devices == ("cpu", "cuda:0")


@pytest.mark.parametrize(
    ("asked", "fact"),
    [
        ({"image": "cuda:0"}, "image on cuda:0, but there are 0 GPUs"),
        ({"video": "cpu:1", "image": "cpu"}, "go through the encoder of images"),
    ],
)
def test_a_placement_that_cannot_be_is_refused(asked: dict[str, str], fact: str) -> None:
    with pytest.raises(ValueError, match=fact):
        placed(asked, 0)


def test_an_unknown_kind_of_device_is_refused_at_once() -> None:
    with pytest.raises(ValueError, match="OMNI_SERVICE__PLACEMENT"):
        EngineConfig(placement={"image": "gpu"})


def test_each_device_encodes_its_own_modalities_and_the_answers_stay(requests: Sequence[Request]) -> None:
    model = make_model(1)
    engine = engine_of(model, TWO)
    agree(make_model(1), requests, [future.result(10) for future in [engine.submit(each) for each in requests]])
    devices = engine.counts().devices
    distinct = {item for each in requests for item in each.content.items()}
    num_texts = sum(name == "text" for name, _ in distinct)
    assert devices["cpu"].num_encoded == num_texts + 1  # the instruction is text too
    assert devices["cpu:0"].num_encoded == len(distinct) - num_texts
    assert all(each.num_waiting == 0 and each.busy_s > 0 for each in devices.values())
    engine.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("encoder-")]


class Meeting(OmniModel):
    """Its encoders of text and image wait for each other: they return only if both run at once."""

    def __init__(self, config: ModelConfig, tasks: Sequence[Any]) -> None:
        super().__init__(config, tasks)
        self.meet: threading.Barrier | None = None
        self.seen: dict[str, str] = {}

    def encode(self, name: str, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        self.seen[name] = threading.current_thread().name
        if self.meet is not None and name in ("text", "image"):
            self.meet.wait(5)
        return super().encode(name, x, mask)


def meeting() -> Meeting:
    model = make_model(1)
    made = Meeting(model.config, model.tasks).eval()
    made.load_state_dict(model.state_dict())
    return made


def whole(requests: Sequence[Request]) -> Request:
    return next(request for request in requests if len(request.content) == 3)


def test_encoders_of_different_devices_run_at_once_and_those_of_one_device_in_turn(
    requests: Sequence[Request],
) -> None:
    model = meeting()
    engine = engine_of(model, TWO)
    model.meet = threading.Barrier(2)
    agree(make_model(1), [whole(requests)], [engine.submit(whole(requests)).result(10)])
    assert model.seen["text"] == model.seen[INSTRUCTION] == "encoder-cpu_0"
    assert model.seen["image"] == model.seen["audio"] == "batcher"  # the fusing device's own thread
    engine.close()


def test_on_one_device_everything_stays_on_one_thread(requests: Sequence[Request]) -> None:
    model = meeting()
    engine = engine_of(model, {})
    engine.submit(whole(requests)).result(10)
    assert set(model.seen.values()) == {"batcher"}
    engine.close()


class Allergic(OmniModel):
    """Its text encoder, on the other device's thread, cannot bear a text of 13 characters."""

    def encode(self, name: str, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        if name == "text" and bool((mask.sum(dim=1) == 13).any()):
            raise RuntimeError("thirteen!")
        return super().encode(name, x, mask)


def test_what_one_device_fails_at_fails_alone(requests: Sequence[Request]) -> None:
    model = make_model(1)
    allergic = Allergic(model.config, model.tasks).eval()
    allergic.load_state_dict(model.state_dict())
    engine = engine_of(allergic, TWO)
    poison = replace(whole(requests), content={**whole(requests).content, "text": b"x" * 13})
    futures = [engine.submit(each) for each in (*requests[:5], poison, *requests[5:10])]
    with pytest.raises(NotAnswerable, match="thirteen"):
        futures.pop(5).result(10)
    agree(model, requests[:10], [future.result(10) for future in futures])
    assert engine.counts().devices["cpu"].num_waiting == 0
    engine.close()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device: run `pytest -m gpu` on such a machine")
def test_text_on_the_cpu_and_the_rest_on_the_gpu_give_the_same_answers(requests: Sequence[Request]) -> None:
    model = make_model(1)
    engine = engine_of(model, {})
    assert model.device_of("text").type == model.device_of(INSTRUCTION).type == "cpu"
    assert model.device_of("image").type == model.device.type == "cuda"
    agree(make_model(1), requests, [future.result(30) for future in [engine.submit(each) for each in requests]])
    engine.close()


def test_the_model_says_where_its_parts_are() -> None:
    torch.manual_seed(0)
    config = ModelConfig(width=32, heads=2, ffn_width=64, modalities=("text", "image", "video"))
    model = OmniModel(config, [tri_digits.TASK])
    model.place({"text": "meta", "image": "cpu", "video": "cpu"}.__getitem__, "cpu")
    assert (model.device.type, model.device_of("video").type) == ("cpu", "cpu")
    assert (model.device_of("text").type, model.device_of(INSTRUCTION).type) == ("meta", "meta")
