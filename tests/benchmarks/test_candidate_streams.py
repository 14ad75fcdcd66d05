"""The made streams of the filter benchmark are what they say they are."""

import numpy as np
import pytest

from benchmarks.candidate_streams import BATCH_ROWS, BUDGET, CandidateStream, measure, selection_s
from omni_model.acquisition.candidates import valid_rows
from omni_model.acquisition.uncertainty import margin


@pytest.mark.parametrize("kind", ["mixed", "rising", "copies"])
def test_every_made_candidate_is_valid_and_has_an_id_of_its_own(kind: str) -> None:
    batches = list(CandidateStream(2 * BATCH_ROWS + 5, kind=kind))
    assert [len(batch) for batch in batches] == [BATCH_ROWS, BATCH_ROWS, 5]
    assert all(valid_rows(batch, needs).all() for batch in batches for needs in ("mc_probs", "subset_probs"))
    assert len({id_ for batch in batches for id_ in batch.ids}) == 2 * BATCH_ROWS + 5


def test_a_rising_stream_rises() -> None:
    scores = np.concatenate([margin(batch.probs) for batch in CandidateStream(2 * BATCH_ROWS, kind="rising")])
    assert (np.diff(scores) >= 0).mean() > 0.99
    assert scores[-1] > scores[0] + 0.5


def test_nine_of_ten_copies_are_the_same() -> None:
    (batch,) = CandidateStream(BATCH_ROWS, kind="copies")
    assert (batch.fused == 1.0).all(axis=1).mean() == pytest.approx(0.9, abs=0.02)


def test_a_budget_that_is_not_filled_is_an_error_and_no_figure() -> None:
    with pytest.raises(RuntimeError, match="margin left"):
        selection_s("margin", BUDGET - 1)


def test_a_selection_is_measured_in_a_process_of_its_own() -> None:
    run = measure("margin", 2 * BATCH_ROWS)
    assert 0.0 < run["selection_s"] < 60.0
    assert 10.0 < run["peak_mb"] < 1_000.0
