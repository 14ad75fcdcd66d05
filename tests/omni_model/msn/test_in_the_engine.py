"""A measured selector in the engine that serves: what it chooses is looked at, and the answer is the model's."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from omni_model.data import tri_digits
from omni_model.evaluate import predict
from omni_model.model import OmniModel
from omni_model.msn.choice import Budget
from omni_model.msn.config import MsnConfig
from omni_model.msn.measuring import measure
from omni_model.msn.selector import MeasuredSelector, fit_selector
from omni_model.sample import Sample
from omni_model.serve.config import EngineConfig
from omni_model.serve.engine import Engine
from tests.omni_model.serve.conftest import SECRET, as_request, as_sample, make_model

QUICK = MsnConfig(min_rows=5, cost_rows=2, batch_rows=8, cost_repeats=2)


@pytest.fixture(scope="module")
def rows() -> list[Sample]:
    return tri_digits.load(["en"])[:40]


@pytest.fixture(scope="module")
def model() -> OmniModel:
    return make_model(1)


@pytest.fixture(scope="module")
def selector(model: OmniModel, rows: list[Sample]) -> MeasuredSelector:
    return fit_selector(measure(model, rows, QUICK), max_leaves=64)


@pytest.fixture(scope="module")
def engine(model: OmniModel, selector: MeasuredSelector) -> Iterator[Engine]:
    engine = Engine(EngineConfig(), secret=SECRET)
    engine.put_in_service(1, 1, lambda: model, selector=selector)
    yield engine
    engine.close()


@pytest.mark.parametrize("budget", [Budget(share=0.0), Budget(share=0.5), Budget(share=1.0), Budget(latency_s=0.004)])
def test_what_is_chosen_is_what_is_looked_at(
    engine: Engine, model: OmniModel, selector: MeasuredSelector, rows: list[Sample], budget: Budget
) -> None:
    for row in rows[:8]:
        request = replace(as_request(row), instruction="", budget=budget)
        chosen = selector.choose(row.task, row.modalities, budget)
        answer = engine.submit(request).result(30)
        assert frozenset(answer.used) == chosen.subset
        assert answer.ignored == dict.fromkeys(sorted(row.modalities - chosen.subset), chosen.why)
        direct = predict(model, [as_sample(request)], subset=chosen.subset)
        assert answer.probability == pytest.approx(float(direct.confidence[0]), abs=1e-4)


def test_without_a_budget_everything_is_looked_at(engine: Engine, rows: list[Sample]) -> None:
    for row in rows[:8]:
        answer = engine.submit(as_request(row)).result(30)
        assert (frozenset(answer.used), answer.ignored) == (row.modalities, {})
