"""The contenders of the elastic benchmark do what their names say, on a tiny model."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks import science_elastic
from benchmarks.science_elastic import CELLS, CONTENDERS, GRIDS, accuracies, table_of
from benchmarks.science_streams import Store, stream
from benchmarks.science_tuners import HEAD, Choice, Ewc, Lora, Lwf, Replay, Tuner
from omni_model.config import ElasticConfig
from omni_model.data import tri_digits
from omni_model.model import OmniModel
from omni_model.sample import Sample, TaskSpec
from tests.omni_model.conftest import SHAPES, TINY, make_sample

CONFIG = ElasticConfig(epochs=1, batch_rows=16, patience=0)
OLD, NEW, VAL = ([make_sample(n) for n in numbers] for numbers in (range(12), range(12, 24), range(24, 36)))


def state(model: OmniModel) -> dict[str, torch.Tensor]:
    return {name: value.detach().clone() for name, value in model.named_parameters()}


def moved(before: dict[str, torch.Tensor], model: OmniModel) -> set[str]:
    return {name for name, value in model.named_parameters() if name in before and not torch.equal(before[name], value)}


@pytest.fixture
def make() -> Callable[[str, float], Tuner]:
    def build(name: str, strength: float) -> Tuner:
        torch.manual_seed(0)
        model = OmniModel(TINY, [SHAPES])
        store = Store(model, [*OLD, *NEW, *VAL])
        return CONTENDERS[name](model, CONFIG, Choice(learning_rate=1e-3, strength=strength), OLD, store)

    return build


@pytest.mark.parametrize("name", sorted(CONTENDERS))
def test_a_contender_moves_what_it_may_and_learns_each_new_row_once_an_epoch(
    make: Callable[[str, float], Tuner], name: str
) -> None:
    tuner = make(name, CELLS[name][0][1])
    before = state(tuner.model)
    tuner.learn(NEW, VAL, 0)
    changed = moved(before, tuner.model)
    assert changed
    if name in ("probe", "elastic"):
        top = HEAD if name == "probe" else ("layers",)
        assert all(path.startswith(tuple(top)) for path in changed)
    if name == "lora":
        assert all(path.startswith(HEAD[0]) for path in changed)
    if name in ("full", "ewc", "lwf", "replay", "der++"):
        assert any(path.startswith("encoders.") for path in changed)
    assert tuner.samples_seen >= len(NEW)
    assert (tuner.samples_seen > len(NEW)) == tuner.replays
    assert [row.id for row in tuner.memory] == [row.id for row in (*OLD, *NEW)]


def test_low_rank_updates_start_as_the_weights_and_are_few(make: Callable[[str, float], Tuner]) -> None:
    tuner, full = make("lora", 2), make("full", 0)
    assert isinstance(tuner, Lora)
    with torch.no_grad():
        before = accuracies(tuner, [VAL])
    tuner.learn(NEW, VAL, 0)
    full.learn(NEW, VAL, 0)
    assert tuner.moved < full.moved
    assert before == accuracies(make("lora", 2), [VAL])


def test_elastic_weight_consolidation_pulls_back_to_where_it_was(make: Callable[[str, float], Tuner]) -> None:
    distance = []
    for weight in (0.0, 1e6):
        tuner = make("ewc", weight)
        assert isinstance(tuner, Ewc)
        tuner.config = replace(CONFIG, batch_rows=4, epochs=4)  # at the first step the penalty's gradient is zero
        before = state(tuner.model)
        fisher = {name: value.clone() for name, value in tuner.fisher.items()}
        tuner.learn(NEW, VAL, 0)
        now = dict(tuner.model.named_parameters())
        distance.append(sum(float((fisher[n] * (now[n].detach() - before[n]).square()).sum()) for n in fisher))
    assert distance[1] < distance[0]


@pytest.mark.parametrize("name", ["ewc", "lwf", "der++", "replay", "elastic", "lora", "probe", "full"])
def test_new_answers_are_learnt_by_every_contender(make: Callable[[str, float], Tuner], name: str) -> None:
    tuner = make(name, CELLS[name][0][1])
    tuner.learn(NEW, VAL, 0)
    wider = TaskSpec(name=SHAPES.name, instructions=SHAPES.instructions, answers=(*SHAPES.answers, "star"))
    tuner.grow(wider)
    tuner.grow(wider)
    assert tuner.model.answers[-1] == "star"
    tuner.learn(NEW, VAL, 1)
    assert all(bool(torch.isfinite(value).all()) for value in tuner.model.parameters())


def test_rows_whose_answer_is_not_known_yet_count_as_wrong(make: Callable[[str, float], Tuner]) -> None:
    tuner = make("full", 0)
    strangers = [replace(row, answer="star") for row in VAL]
    known, mixed, none = accuracies(tuner, [VAL, [*VAL[:6], *strangers[6:]], strangers])
    assert none == 0.0
    assert 0.0 <= mixed <= 0.5
    assert 0.0 <= known <= 1.0


def test_every_contender_has_a_grid_of_the_same_size() -> None:
    assert {len(cells) for cells in GRIDS.values()} == {6}
    assert GRIDS.keys() == CONTENDERS.keys()


def test_both_streams_bring_every_row_once_and_the_answers_grow() -> None:
    rows = {row.id for row in tri_digits.load(seed=1)}
    for kind in ("domain", "class"):
        steps = stream("domain" if kind == "domain" else "class", 1)
        ids = [row.id for step in steps for part in (step.train, step.val, step.test) for row in part]
        assert sorted(ids) == sorted(rows)
    assert [len(step.task.answers) for step in steps] == [2, 4, 6, 8, 10]
    assert all(row.answer in step.task.answers for step in steps for row in step.train)


def test_the_table_puts_the_best_first_and_compares_by_pair() -> None:
    def runs(*values: float) -> list[dict[str, object]]:
        return [{"accuracy": value, "cpu_s": 1.0, "bytes": 10**6, "forgetting": 0.1} for value in values]

    table = table_of("domain", {"elastic": runs(0.9, 0.8), "full": runs(0.7, 0.7), "joint": runs(0.95, 0.9)})
    assert [row[0] for row in table["rows"]] == ["joint", "elastic", "full"]
    assert {len(row) for row in table["rows"]} == {len(table["head"])}
    assert table["rows"][2][2].startswith("+15.0")
    assert table["rows"][0][1] == f"{np.mean([0.95, 0.9]):.3f} ± {np.std([0.95, 0.9], ddof=1):.3f}"


def test_replay_takes_the_share_that_its_cell_says(make: Callable[[str, float], Tuner]) -> None:
    few, many = make("replay", 0.25), make("replay", 0.5)
    assert isinstance(few, Replay)
    few.learn(NEW, VAL, 0)
    many.learn(NEW, VAL, 0)
    assert many.samples_seen > few.samples_seen > len(NEW)


def test_a_teacher_tells_only_of_answers_that_it_knew(make: Callable[[str, float], Tuner]) -> None:
    tuner = make("lwf", 1.0)
    assert isinstance(tuner, Lwf)
    assert tuner.known == 3
    tuner.grow(TaskSpec(name=SHAPES.name, instructions=SHAPES.instructions, answers=(*SHAPES.answers, "star")))
    assert (tuner.known, len(tuner.model.answers)) == (3, 4)
    rows: list[Sample] = [*NEW[:6], *(replace(row, answer="star") for row in NEW[6:])]
    tuner.store = Store(tuner.model, [*rows, *VAL])
    tuner.learn(rows, VAL, 0)
    assert tuner.known == 4


def test_another_choice_is_another_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs of a choice that tuning no longer makes must not be told as those of the one that it makes."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    asked: list[tuple[str, Choice | None]] = []

    def run(kind: str, name: str, choice: Choice | None, seed: int, setup: object) -> dict[str, object]:
        asked.append((name, choice))
        return {"accuracy": 0.5, "forgetting": 0.0, "cpu_s": 1.0, "bytes": 1, "samples_seen": 1}

    monkeypatch.setattr(science_elastic, "run", run)
    for best in (0, 1, 1):

        def validated(kind: str, name: str, choice: Choice, setup: object, best: int = best) -> float:
            return float(choice == GRIDS[name][best])

        monkeypatch.setattr(science_elastic, "validated", validated)
        for kept in tmp_path.rglob("elastic-quick*.json"):  # what tuning found is forgotten, the runs are not
            known = json.loads(kept.read_text())
            kept.write_text(json.dumps({key: value for key, value in known.items() if "tuning" not in key}))
        science_elastic.measure(True, lambda line: None)
    elastic = [choice for name, choice in asked if name == "elastic"]
    expected = [GRIDS["elastic"][best] for best in (0, 0, 1, 1)]  # two streams; the third time from what is kept
    assert elastic == expected
    assert len([name for name, _ in asked if name == "joint"]) == 2
