"""Candidates from a model: a stream of samples is encoded and answered a chunk at a time, and never held as a whole.

A chunk is encoded once; the passes that an acquisition function needs (with dropout, or one modality alone) share that.
This file imports torch, the rest of the room does not.
"""

from collections.abc import Iterable, Iterator
from itertools import islice

from omni_model.acquisition.candidates import CandidateBatch, FloatArray, from_predictions
from omni_model.acquisition.registry import find_acquisition
from omni_model.evaluate import predict
from omni_model.features import FeatureSet, encode_samples
from omni_model.protocol import LoopModel
from omni_model.sample import Sample


def predicted_batches(
    model: LoopModel,
    samples: Iterable[Sample] | FeatureSet,
    acquisition: str,
    *,
    chunk_rows: int = 512,
    batch_rows: int = 128,
    mc_passes: int = 10,
    seed: int = 0,
) -> Iterator[CandidateBatch]:
    """Candidate batches of at most `chunk_rows` for `select`, with the columns that `acquisition` needs.

    `mc_passes` passes with dropout for `bald`; one pass for each modality alone for `disagreement`; a single pass for
    the others. `samples` may be any iterable, or a set that is encoded already. Memory: one chunk.
    """
    needs = find_acquisition(acquisition).needs
    for number, rows in enumerate(_encoded_chunks(model, samples, chunk_rows, batch_rows)):
        passes = mc_passes if needs == "mc_probs" else 0
        predictions = predict(model, rows, batch_rows=batch_rows, mc_passes=passes, seed=seed + number * chunk_rows)
        alone = _each_alone(model, rows, batch_rows) if needs == "subset_probs" else None
        yield from_predictions(predictions, alone)


def _encoded_chunks(
    model: LoopModel, samples: Iterable[Sample] | FeatureSet, chunk_rows: int, batch_rows: int
) -> Iterator[FeatureSet]:
    if isinstance(samples, FeatureSet):
        for start in range(0, len(samples), chunk_rows):
            yield samples.select(range(start, min(start + chunk_rows, len(samples))))
        return
    stream = iter(samples)
    while chunk := list(islice(stream, chunk_rows)):
        yield encode_samples(model, chunk, batch_rows=batch_rows)


def _each_alone(model: LoopModel, rows: FeatureSet, batch_rows: int) -> dict[frozenset[str], FloatArray]:
    """The answers from each modality alone, for the modalities that any row of the chunk has."""
    names = sorted(frozenset().union(*rows.modalities))
    subsets = [frozenset({name}) for name in names]
    return {subset: predict(model, rows, subset=subset, batch_rows=batch_rows).probs for subset in subsets}
