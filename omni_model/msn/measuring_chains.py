"""Measures what chains need: how sure and how right a model is from every part, and what fusing once more costs.

Times are taken as in `omni_model.msn.measuring`: alone and in a batch, the quickest of the repeats, as a sum of parts.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from omni_model.evaluate import Predictions, answer_probabilities, predict
from omni_model.features import Batcher, encode_samples
from omni_model.msn.chaining import Answered, Flags, fit_chain, row_losses
from omni_model.msn.chains import Chain
from omni_model.msn.config import MsnConfig
from omni_model.msn.measuring import Clock, as_sum, filled, richest, timed_subsets
from omni_model.msn.selector import MeasuredSelector, subsets_of
from omni_model.msn.table import Parts, Subset, Table
from omni_model.protocol import LoopModel
from omni_model.sample import Sample


def chained(
    model: LoopModel,
    samples: Sequence[Sample],
    selector: MeasuredSelector,
    config: MsnConfig,
    *,
    clock: Clock = time.perf_counter,
) -> MeasuredSelector:
    """The selector with chains fitted on labelled samples; as it is where `config.max_loss` is 0.

    The samples are those that the selector was measured on.
    """
    labelled = [sample for sample in samples if sample.answer is not None and sample.inputs]
    if not config.max_loss or not labelled:
        return selector
    was_training = model.training
    model.eval()
    try:
        table = with_fusing(model, labelled, selector.table, config, clock)
        return replace(selector, table=table, chains=chains(model, labelled, table, config))
    finally:
        model.train(was_training)


def chains(model: LoopModel, samples: Sequence[Sample], table: Table, config: MsnConfig) -> tuple[Chain, ...]:
    """One for each task and set with rows enough, where it saves anything. All labelled; the model is in eval mode."""
    features = encode_samples(model, samples)
    said = {subset: predict(model, features, subset=subset) for subset in subsets_of(table.modalities)}
    found = []
    for task, costs in table.costs.items():
        for subset in subsets_of(table.modalities):
            rows_N = np.array([sample.task == task and subset <= sample.modalities for sample in samples])
            if len(subset) < 2 or rows_N.sum() < config.chain_rows:
                continue
            answered = {part: _answered(said[part], said[subset], rows_N) for part in subsets_of(subset)}
            chain = fit_chain(task, subset, answered, costs, config.max_loss)
            found += [] if chain is None else [chain]
    return tuple(found)


def _answered(part: Predictions, whole: Predictions, rows_N: Flags) -> Answered:
    probs_NA, whole_NA = part.probs[rows_N].astype(np.float64), whole.probs[rows_N].astype(np.float64)
    return Answered(
        confidence=part.confidence[rows_N].astype(np.float64),
        loss=row_losses(probs_NA, whole_NA, part.target[rows_N]),
    )


# Fusing


def with_fusing(model: LoopModel, samples: Sequence[Sample], table: Table, config: MsnConfig, clock: Clock) -> Table:
    """The table with what fusing alone costs, by task."""
    alone: dict[str, Parts] = {}
    batched: dict[str, Parts] = {}
    for task in table.costs:
        rows = richest([sample for sample in samples if sample.task == task], table.modalities, config.batch_rows)
        one, many = _fusing_times(model, rows, table.modalities, config, clock)
        alone[task], batched[task] = as_sum(one, table.modalities), as_sum(many, table.modalities)
    return replace(
        table,
        costs={
            task: replace(
                costs,
                again_alone=filled(alone[task], alone, table.modalities),
                again_batched=filled(batched[task], batched, table.modalities),
            )
            for task, costs in table.costs.items()
        },
    )


def _fusing_times(
    model: LoopModel, samples: Sequence[Sample], modalities: Sequence[str], config: MsnConfig, clock: Clock
) -> tuple[dict[Subset, float], dict[Subset, float]]:
    """Seconds a row by subset: alone, the median of the rows, and as a share of a batch."""
    features = encode_samples(model, samples)
    alone: dict[Subset, float] = {}
    batched: dict[Subset, float] = {}
    for subset in timed_subsets(modalities):
        places = [place for place, sample in enumerate(samples) if subset <= sample.modalities]
        if not places:
            continue
        batcher = Batcher(model, features.only(subset))
        few, many = places[: config.cost_rows], places[: config.batch_rows]
        _fuse(batcher, many)
        alone[subset] = statistics.median(_quickest(batcher, [place], config, clock) for place in few)
        batched[subset] = _quickest(batcher, many, config, clock) / len(many)
    return alone, batched


def _quickest(batcher: Batcher, places: Sequence[int], config: MsnConfig, clock: Clock) -> float:
    times = []
    for _ in range(config.cost_repeats):
        began = clock()
        _fuse(batcher, places)
        times.append(clock() - began)
    return min(times)


@torch.no_grad()
def _fuse(batcher: Batcher, places: Sequence[int]) -> Tensor:
    """Probabilities [B, answers] from tokens at hand."""
    model, batch = batcher.model, batcher(torch.tensor(places))
    allowed_BA = model.answer_masks().to(model.device)[batch.task]
    return answer_probabilities(model(batch).logits, allowed_BA, model.temperature_of(batch))
