"""Small untrained models of tri-digits, samples of it as requests, and an engine that serves one."""

from collections.abc import Iterator, Sequence

import pytest
import torch

from omni_model.config import ModelConfig
from omni_model.data import tri_digits
from omni_model.data.codecs import CODECS
from omni_model.model import OmniModel
from omni_model.sample import Sample
from omni_model.serve.config import EngineConfig
from omni_model.serve.engine import Engine
from omni_model.serve.exchange import Request

SECRET = bytes(range(32))


def make_model(seed: int) -> OmniModel:
    """An untrained model; the seed decides all its weights."""
    torch.manual_seed(seed)
    model = OmniModel(ModelConfig(width=32, heads=2, ffn_width=64), [tri_digits.TASK]).eval()
    for parameter in model.layers.head.answers.parameters():
        parameter.data.mul_(20)  # answers far enough apart to be told from each other
    return model


def tuned(model: OmniModel, seed: int) -> OmniModel:
    """The same encoders under other interaction layers, as elastic tuning leaves them."""
    other = make_model(seed)
    other.encoders.load_state_dict(model.encoders.state_dict())
    return other


def as_request(sample: Sample, id_: str = "") -> Request:
    """A sample as it would be sent."""
    content = {name: CODECS[name].encode(value) for name, value in sample.inputs.items()}
    return Request(id=id_ or sample.id, task=sample.task, instruction=sample.instruction, content=content)


def as_sample(request: Request) -> Sample:
    """What a request means to `predict`."""
    inputs = {name: CODECS[name].decode(data) for name, data in request.content.items()}
    instruction = request.instruction or tri_digits.TASK.instructions[0]
    return Sample(id=request.id, task=request.task, instruction=instruction, inputs=inputs)


@pytest.fixture(scope="session")
def model() -> OmniModel:
    return make_model(1)


@pytest.fixture(scope="session")
def requests() -> Sequence[Request]:
    """Requests with every mix of modalities."""
    rows = [as_request(row) for row in tri_digits.load(["en"])[:28]]
    mixed = []
    for number, row in enumerate(rows):
        names = sorted(row.content)
        kept = [name for bit, name in enumerate(names) if (number % 7 + 1) >> bit & 1]
        mixed.append(Request(id=row.id, task=row.task, content={name: row.content[name] for name in kept}))
    return mixed


@pytest.fixture
def engine(model: OmniModel) -> Iterator[Engine]:
    """An engine with the model in service as v1."""
    engine = Engine(EngineConfig(), secret=SECRET)
    engine.put_in_service(1, 1, lambda: model)
    yield engine
    engine.close()
