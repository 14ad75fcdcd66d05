"""Candidates out of the real model, for every function."""

import itertools
from collections.abc import Iterator

import numpy as np
import pytest
import torch

from omni_model.acquisition import ACQUISITIONS, SelectionConfig, select
from omni_model.acquisition.predicted import predicted_batches
from omni_model.config import ModelConfig
from omni_model.data import tri_digits
from omni_model.evaluate import predict
from omni_model.features import encode_samples
from omni_model.model import OmniModel
from omni_model.sample import Sample


@pytest.fixture(scope="module")
def model() -> OmniModel:
    torch.manual_seed(0)
    return OmniModel(ModelConfig(width=16, heads=2, ffn_width=16), [tri_digits.TASK])


@pytest.fixture(scope="module")
def samples() -> list[Sample]:
    return list(tri_digits.live("en", 70, seed=0))


@pytest.mark.parametrize("name", sorted(ACQUISITIONS))
def test_every_function_gets_what_it_needs_from_the_model(name: str, model: OmniModel, samples: list[Sample]) -> None:
    batches = predicted_batches(model, samples, name, chunk_rows=32, mc_passes=2)
    selection = select(batches, SelectionConfig(acquisition=name, budget=10, max_near_duplicates=None))
    assert (selection.num_seen, selection.num_invalid, len(selection.rows)) == (70, 0, 10)


@pytest.mark.parametrize("name", ["entropy", "bald", "disagreement"])
def test_encoded_samples_give_the_same_as_samples(name: str, model: OmniModel, samples: list[Sample]) -> None:
    encoded = encode_samples(model, samples)
    config = SelectionConfig(acquisition=name, budget=10)
    from_samples, from_features = (
        select(predicted_batches(model, rows, name, chunk_rows=32, mc_passes=2), config) for rows in (samples, encoded)
    )
    assert from_samples.ids == from_features.ids


def test_a_subset_votes_only_where_the_sample_has_it(model: OmniModel, samples: list[Sample]) -> None:
    (batch,) = predicted_batches(model, samples, "disagreement")
    assert batch.subset_probs is not None
    assert sorted(batch.subset_probs) == ["audio", "image", "text"]
    for modality, probs_NA in batch.subset_probs.items():
        present = [modality in sample.inputs for sample in samples]
        np.testing.assert_array_equal(~np.isnan(probs_NA).any(axis=1), present)
        alone = predict(model, samples, subset=frozenset({modality})).probs
        np.testing.assert_allclose(probs_NA[present], alone[present], atol=1e-5)


def test_a_sample_without_any_modality_is_not_in_agreement(model: OmniModel) -> None:
    bare = [Sample(id=str(n), task="digit", instruction="Name the digit.", inputs={}) for n in range(3)]
    selection = select(predicted_batches(model, bare, "disagreement"), SelectionConfig(acquisition="disagreement"))
    assert (selection.rows, selection.num_invalid) == ((), 3)


def test_the_pool_is_read_a_chunk_at_a_time(model: OmniModel, samples: list[Sample]) -> None:
    read: list[str] = []

    def watched() -> Iterator[Sample]:
        for sample in samples:
            read.append(sample.id)
            yield sample

    batches = predicted_batches(model, watched(), "margin", chunk_rows=8)
    assert [len(batch) for batch in itertools.islice(batches, 2)] == [8, 8]
    assert len(read) == 16


def test_an_empty_pool_gives_no_batch(model: OmniModel) -> None:
    assert list(predicted_batches(model, [], "margin")) == []
    assert list(predicted_batches(model, encode_samples(model, []), "margin")) == []
