"""Measures a model for its selector: how right it is with every subset of modalities, and what each subset costs.

Accuracy. In a situation (a task, and the set A of modalities available) every subset S of A is scored on the same rows:
those with at least A, everything but S hidden. Rows with exactly A are what the situation will meet, but they are few;
so their accuracy is drawn towards that of all the rows by the m-estimate, (k + m p) / (n + m): k right of the n exact
rows, p the accuracy of all rows, m = `MsnConfig.prior_rows`. (B. Cestnik, Estimating probabilities: a crucial task in
machine learning, ECAI 1990.) The rows are encoded once; a subset is one more fusing pass.

Cost. Rows go the way of a served request, from bytes to probabilities, alone and in a batch. Of the repeats of a row
the quickest counts, since other work on the machine only adds to it; of the rows the median. Of these times a sum is
made, a fixed part and one for each modality, by non-negative least squares of the relative errors.

Shapes: N rows, S subsets timed, P parts of a cost.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from omni_model.data.codecs import CODECS
from omni_model.evaluate import answer_probabilities, predict
from omni_model.features import encode_samples, pack
from omni_model.msn.config import MsnConfig
from omni_model.msn.selector import subsets_of
from omni_model.msn.table import Costs, Parts, Scored, Situation, Subset, Table
from omni_model.protocol import Batch, LoopModel
from omni_model.sample import Sample

Clock = Callable[[], float]
Flags = npt.NDArray[np.bool_]
Content = Mapping[str, bytes]
"""Modality to encoded bytes."""

MOST_MODALITIES = 6
"""More would mean hundreds of subsets to score."""


@dataclass(frozen=True, kw_only=True)
class Timed:
    """A sample whose computing is timed from its bytes on."""

    sample: Sample
    content: Content
    """What is looked at."""

    def only(self, subset: Subset) -> Timed:
        """The same, looking at a part."""
        return Timed(sample=self.sample, content={name: self.content[name] for name in self.content if name in subset})


def encoded(sample: Sample) -> Content:
    """A sample's values as their codecs write them."""
    return {name: CODECS[name].encode(value) for name, value in sample.inputs.items()}


def measure(
    model: LoopModel,
    samples: Sequence[Sample],
    config: MsnConfig | None = None,
    *,
    content_of: Callable[[Sample], Content] = encoded,
    clock: Clock = time.perf_counter,
) -> Table:
    """Score and time every subset on labelled samples; those without an answer are left out.

    Raises `ValueError` without labelled samples that have a modality, and for more than six modalities.
    """
    config = config or MsnConfig()
    labelled = [sample for sample in samples if sample.answer is not None and sample.inputs]
    if not labelled:
        raise ValueError("No labelled sample has a modality, so nothing can be measured. Label validation samples.")
    modalities = tuple(sorted({name for sample in labelled for name in sample.inputs}))
    if len(modalities) > MOST_MODALITIES:
        raise ValueError(
            f"The samples have {len(modalities)} modalities; subsets of {MOST_MODALITIES} at most are measured. "
            "Train a model with fewer."
        )
    was_training = model.training
    model.eval()
    try:
        right = right_by_subset(model, labelled, modalities)
        costs = measure_costs(model, labelled, modalities, config, content_of=content_of, clock=clock)
    finally:
        model.train(was_training)
    return Table(modalities=modalities, costs=costs, situations=situations(labelled, right, modalities, config))


# Accuracy


def right_by_subset(model: LoopModel, samples: Sequence[Sample], modalities: Sequence[str]) -> dict[Subset, Flags]:
    """Which rows [N] the model answers rightly from each subset; rows that lack a part of it are arbitrary."""
    features = encode_samples(model, samples)
    right = {}
    for subset in subsets_of(modalities):
        predictions = predict(model, features, subset=subset)
        right[subset] = predictions.answer == predictions.target
    return right


def situations(
    samples: Sequence[Sample], right: Mapping[Subset, Flags], modalities: Sequence[str], config: MsnConfig
) -> tuple[Situation, ...]:
    """Every task and available set with rows enough, every subset of the set scored on the same rows."""
    found = []
    for task in dict.fromkeys(sample.task for sample in samples):
        for available in subsets_of(modalities):
            rows_N = np.array([sample.task == task and available <= sample.modalities for sample in samples])
            exact_N = rows_N & np.array([sample.modalities == available for sample in samples])
            if rows_N.sum() < config.min_rows:
                continue
            scored = [_scored(subset, right[subset], rows_N, exact_N, config) for subset in subsets_of(available)]
            found.append(
                Situation(
                    task=task,
                    available=available,
                    num_rows=int(rows_N.sum()),
                    num_exact=int(exact_N.sum()),
                    scored=tuple(scored),
                )
            )
    return tuple(found)


def _scored(subset: Subset, right_N: Flags, rows_N: Flags, exact_N: Flags, config: MsnConfig) -> Scored:
    num_rows, num_exact = int(rows_N.sum()), int(exact_N.sum())
    of_all = float(right_N[rows_N].mean())
    accuracy = drawn(int(right_N[exact_N].sum()), num_exact, of_all, config.prior_rows)
    return Scored(subset=subset, accuracy=accuracy, error=standard_error(of_all, num_rows))


def drawn(num_right: int, num_rows: int, prior: float, prior_rows: float) -> float:
    """A share drawn towards a prior that counts for so many rows: the m-estimate.

    >>> drawn(9, 10, 0.6, 20.0), drawn(0, 0, 0.6, 0.0)
    (0.7, 0.6)
    """
    weight = num_rows + prior_rows
    return (num_right + prior_rows * prior) / weight if weight else prior


def standard_error(share: float, num_rows: int) -> float:
    """Of a share of so many rows, one more right and one more wrong added, so that it is never 0.

    >>> round(standard_error(0.5, 98), 3), round(standard_error(1.0, 98), 3)
    (0.051, 0.01)
    """
    smooth = (share * num_rows + 1) / (num_rows + 2)
    return math.sqrt(smooth * (1 - smooth) / num_rows)


# Cost


def measure_costs(
    model: LoopModel,
    samples: Sequence[Sample],
    modalities: Sequence[str],
    config: MsnConfig,
    *,
    content_of: Callable[[Sample], Content],
    clock: Clock,
) -> dict[str, Costs]:
    """Costs by task. A modality that a task's samples lack costs what it costs the other tasks."""
    alone: dict[str, Parts] = {}
    batched: dict[str, Parts] = {}
    for task in dict.fromkeys(sample.task for sample in samples):
        rows = richest([sample for sample in samples if sample.task == task], modalities, config.batch_rows)
        timed = [Timed(sample=sample, content=content_of(sample)) for sample in rows]
        one, many = _task_times(model, timed, modalities, config, clock)
        alone[task], batched[task] = as_sum(one, modalities), as_sum(many, modalities)
    return {
        task: Costs(alone=filled(alone[task], alone, modalities), batched=filled(batched[task], batched, modalities))
        for task in alone
    }


def richest(samples: Sequence[Sample], modalities: Sequence[str], num_rows: int) -> list[Sample]:
    """Samples with the most modalities, and for each modality one that has it, in a fixed order."""
    ordered = sorted(samples, key=lambda sample: -len(sample.inputs))
    chosen = dict.fromkeys(range(min(num_rows, len(ordered))))
    for name in modalities:
        chosen |= dict.fromkeys([place for place, sample in enumerate(ordered) if name in sample.inputs][:1])
    return [ordered[place] for place in chosen]


def _task_times(
    model: LoopModel, rows: Sequence[Timed], modalities: Sequence[str], config: MsnConfig, clock: Clock
) -> tuple[dict[Subset, float], dict[Subset, float]]:
    """Seconds a row by subset: alone, the median of the rows, and as a share of a batch.

    Of the repeats the quickest counts. The subsets take turns, so that a drift of the machine hits them alike.
    """
    having = {
        subset: fitting
        for subset in timed_subsets(modalities)
        if (fitting := [row.only(subset) for row in rows if all(row.content.get(name) for name in subset)])
    }
    alone = {subset: [math.inf] * len(fitting[: config.cost_rows]) for subset, fitting in having.items()}
    batched = dict.fromkeys(having, math.inf)
    for fitting in having.values():
        answer(model, fitting[: config.batch_rows])
    for _ in range(config.cost_repeats):
        for subset, fitting in having.items():
            for place, row in enumerate(fitting[: config.cost_rows]):
                alone[subset][place] = min(alone[subset][place], _seconds(model, [row], clock))
            many = fitting[: config.batch_rows]
            batched[subset] = min(batched[subset], _seconds(model, many, clock) / len(many))
    return {subset: statistics.median(times) for subset, times in alone.items()}, batched


def timed_subsets(modalities: Sequence[str]) -> list[Subset]:
    """What suffices to tell the parts of a cost: nothing, each alone, all but each, all.

    >>> [len(subset) for subset in timed_subsets(["a", "b", "c"])]
    [0, 1, 1, 1, 2, 2, 2, 3]
    """
    everything = frozenset(modalities)
    several = [frozenset(), *(frozenset({name}) for name in modalities), *(everything - {name} for name in modalities)]
    return list(dict.fromkeys([*several, everything]))


def _seconds(model: LoopModel, rows: Sequence[Timed], clock: Clock) -> float:
    began = clock()
    answer(model, rows)
    return clock() - began


@torch.no_grad()
def answer(model: LoopModel, rows: Sequence[Timed]) -> Tensor:
    """Probabilities [N, answers] from the rows' bytes: decode, prepare, encode, fuse. Rows may have any modalities."""
    prepared = []
    for row in rows:
        inputs = {name: CODECS[name].decode(content) for name, content in row.content.items()}
        prepared.append(model.prepare(replace(row.sample, inputs=inputs)))
    values, masks = {}, {}
    for name in dict.fromkeys(name for row in prepared for name in row):
        having = [place for place, row in enumerate(prepared) if name in row]
        x, mask = pack([prepared[place][name] for place in having]).pad(torch.arange(len(having)))
        tokens = model.encode(name, x.to(model.device), mask.to(model.device))
        values[name], masks[name] = (_among(part, having, len(rows)) for part in tokens)
    task_N = torch.tensor([model.task_index(row.sample.task) for row in rows], device=model.device)
    batch = Batch(values=values, masks=masks, task=task_N, target=torch.full_like(task_N, -1))
    allowed_NA = model.answer_masks().to(model.device)[task_N]
    return answer_probabilities(model(batch).logits, allowed_NA, model.temperature_of(batch))


def _among(part: Tensor, places: Sequence[int], num_rows: int) -> Tensor:
    """Rows put at their places among all rows, the others zero."""
    if len(places) == num_rows:
        return part
    whole = part.new_zeros(num_rows, *part.shape[1:])
    whole[torch.tensor(places, device=part.device)] = part
    return whole


def as_sum(times: Mapping[Subset, float], modalities: Sequence[str]) -> Parts:
    """Measured seconds as a fixed part and one a modality, none negative; a modality never timed has no part.

    >>> times = {frozenset(): 1.0, frozenset({"a"}): 3.0, frozenset({"b"}): 1.5, frozenset({"a", "b"}): 3.5}
    >>> parts = as_sum(times, ["a", "b"])
    >>> round(parts.fixed_s, 6), {name: round(part, 6) for name, part in parts.each_s.items()}
    (1.0, {'a': 2.0, 'b': 0.5})
    """
    from scipy.optimize import nnls

    names = [name for name in modalities if any(name in subset for subset in times)]
    times_S = np.maximum(np.array(list(times.values())), 1e-12)
    design_SP = np.array([[1.0, *(float(name in subset) for name in names)] for subset in times])
    parts_P, _ = nnls(design_SP / times_S[:, None], np.ones(len(times_S)))
    return Parts(fixed_s=float(parts_P[0]), each_s={name: float(parts_P[1 + i]) for i, name in enumerate(names)})


def filled(parts: Parts, by_task: Mapping[str, Parts], modalities: Sequence[str]) -> Parts:
    """A part for every modality, from the other tasks where this one has none."""
    each_s = {
        name: parts.each_s[name]
        if name in parts.each_s
        else statistics.fmean(other.each_s[name] for other in by_task.values() if name in other.each_s)
        for name in modalities
    }
    return Parts(fixed_s=parts.fixed_s, each_s=each_s)
