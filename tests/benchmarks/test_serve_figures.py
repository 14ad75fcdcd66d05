"""How figures are made of what clients saw."""

import json
from pathlib import Path

import pytest
import torch

from benchmarks.serve_cache import places
from benchmarks.serve_faults import waiting_at
from benchmarks.serve_load import Row
from benchmarks.serve_models import POISON, Free, Poisonable
from benchmarks.serve_peers import PEERS, pins
from benchmarks.serve_swap import summary
from benchmarks.serve_throughput import Cells, headline
from benchmarks.serve_work import Work, body_of
from omni_model.checkpoint import save
from omni_model.config import ModelConfig
from omni_model.data import tri_digits
from omni_model.sample import Sample

SMALL = ModelConfig(width=16, heads=2, ffn_width=16)
CHANGES = [(10.0, 2), (20.0, 1)]


def answers(*rows: tuple[float, float, int]) -> list[Row]:
    """Sent, answered, by which version."""
    return [Row(0, began, ended, 200, str(version)) for began, ended, version in rows]


def test_a_swap_takes_until_the_last_answer_of_the_old_version() -> None:
    rows = answers((9, 9.5, 1), (9.9, 10.4, 1), (10.1, 10.6, 1), (10.45, 10.7, 2), (19, 19.5, 2), (20.1, 20.3, 1))
    made = summary(rows, CHANGES)
    assert made["swap_failed_requests"]["value"] == 0
    assert made["swap_stale_answers"]["value"] == 0
    assert made["swap_promote_p95_s"]["value"] == pytest.approx(0.6)
    assert made["swap_rollback_p95_s"]["value"] == 0


def test_an_old_answer_to_a_request_sent_after_a_new_answer_is_stale() -> None:
    rows = answers((10.1, 10.3, 2), (10.4, 10.5, 1), (20.1, 20.3, 1))
    assert summary(rows, CHANGES)["swap_stale_answers"]["value"] == 1


def test_an_answer_of_an_unknown_version_is_stale_and_a_refusal_has_failed() -> None:
    rows = [*answers((10.1, 10.3, 2), (20.1, 20.3, 1), (5, 6, 9)), Row(0, 1, 2, 503, "")]
    made = summary(rows, CHANGES)
    assert made["swap_stale_answers"]["value"] == 1
    assert made["swap_failed_requests"]["value"] == 1


def test_a_change_that_no_traffic_followed_is_missed() -> None:
    assert summary(answers((20.1, 20.3, 1)), CHANGES)["swap_missed"]["value"] == 1


def test_what_waits_at_a_moment_was_sent_before_and_answered_after() -> None:
    rows = answers((1, 2, 1), (1, 4, 1), (3.5, 5, 1))
    assert [row.ended for row in waiting_at(rows, 3.0)] == [4]


def test_repetition_has_the_share_that_was_asked() -> None:
    order = places(2000, 0.9, first=5, seed=1)
    assert order[0] == 5
    assert 1 - len(set(order)) / len(order) == pytest.approx(0.9, abs=0.03)
    assert len(set(places(50, 0.0, first=0, seed=1))) == 50


def test_ratios_are_taken_round_by_round() -> None:
    cells = Cells()
    for bare in (100, 100, 200, 200):
        cells.add("bare", "per_core_s_64", bare)
    for served, ours, other in ((90, 30, 60), (160, 50, 100)):
        cells.add("ours", "per_core_s_64", served)
        cells.add("ours", "p99_ms_64", ours)
        cells.add("litserve", "p99_ms_64", other)
        cells.add("mlflow", "p99_ms_64", 10 * other)
    made = headline(cells)
    assert made["ratio_to_bare_batched_64"]["value"] == pytest.approx(0.85)
    assert made["p99_ratio_to_best_peer_64"]["value"] == pytest.approx(0.5)
    assert made["ratio_to_bare_batched_64_logging"]["value"] is None


def test_every_peer_is_sent_the_whole_body() -> None:
    body = json.dumps({"task": "digit", "inputs": {"text": 'it\'s "7"'}})
    for peer in PEERS:
        assert json.dumps(json.loads(peer.wrap(body))).replace("\\", "").count("7") == 1


def test_the_work_needs_what_the_lock_pins() -> None:
    assert {pin.split("==")[0] for pin in pins()} >= {"torch", "numpy", "pillow", "soundfile", "safetensors"}


def test_the_work_of_a_batch_is_that_of_each_body_alone(tmp_path: Path, sample: Sample) -> None:
    save(Poisonable(SMALL, [tri_digits.TASK]).eval(), tmp_path / "model")
    work = Work(tmp_path / "model")
    other = body_of(sample) | {"inputs": {"text": "tres"}}
    both = work.answer_bodies([body_of(sample), other])
    for body, said in zip((body_of(sample), other), both, strict=True):
        (alone,) = work.answer_bodies([body])
        assert alone["probabilities"] == pytest.approx(said["probabilities"], abs=1e-5)


def test_poison_breaks_the_batch_that_it_is_in(tmp_path: Path, sample: Sample) -> None:
    save(Poisonable(SMALL, [tri_digits.TASK]).eval(), tmp_path / "model")
    poison = {"task": "digit", "inputs": {"text": POISON}}
    with pytest.raises(RuntimeError, match="cannot be encoded"):
        Work(tmp_path / "model").answer_bodies([body_of(sample), poison])


def test_the_free_model_is_served_like_any_other(tmp_path: Path, sample: Sample) -> None:
    save(Free([tri_digits.TASK]).eval(), tmp_path / "model")
    (said,) = Work(tmp_path / "model").answer_bodies([body_of(sample)])
    assert sum(said["probabilities"].values()) == pytest.approx(1)


@pytest.fixture(scope="module")
def sample() -> Sample:
    torch.set_num_threads(1)
    return next(tri_digits.live("es", 1, seed=0))
