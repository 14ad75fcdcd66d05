"""Fits chains: in which order to look, and how sure an answer must be to stop.

For a task and a set S, every row with at least S is answered from every part of S. A candidate is an order of the
modalities and a threshold for each stage before the last, taken from the quantiles of the confidences there; never
stopping at a stage is one of them. Of the candidates whose loss is within a limit the one with the least expected work
is taken. A loss of the candidate found to be cheapest looks better on the rows that it was found on than it is. So the
limit is found by cross-fitting: the strictest ones first, each is tried on parts of the rows that the candidate was not
chosen on, and the widest one whose loss there stays within what is allowed is used. (Compare B. Efron and R.
Tibshirani, An Introduction to the Bootstrap, 1993, ch. 17.)

The loss of a row is what the answer of S is worth more than the answer of the chain: the mean of what the label says
(1, 0 or -1) and of what the calibrated probabilities of S say. Both expect the same where these are calibrated; the
second one is far less noisy, the first one keeps it honest.

Shapes: N rows, K stages, C candidates.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, permutations, product

import numpy as np
import numpy.typing as npt

from omni_model.msn.chains import Chain
from omni_model.msn.choice import Stage
from omni_model.msn.table import Costs, Subset

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

FOLDS = 5
LIMITS = tuple(step / 8 for step in range(9))
"""Limits of the loss that are tried, as shares of the loss allowed."""
NEVER = 2.0
"""A threshold that no probability reaches."""
THRESHOLDS = 400
"""Combinations of thresholds that are tried for an order, about."""
ALL_ORDERS = 4
"""Modalities up to which every order is tried; of more, the cheapest first."""
LEAST_SAVING = 0.05
"""Share of the work that a chain must be expected to save."""


@dataclass(frozen=True, kw_only=True)
class Answered:
    """Rows as they are answered from one subset."""

    confidence: Floats
    """[N], calibrated probability of the answer."""
    loss: Floats
    """[N], what the answer of the whole set is worth more."""


def row_losses(probs_NA: Floats, whole_NA: Floats, target_N: Ints) -> Floats:
    """What the answers of the whole set are worth more than those of a part, [N].

    >>> whole = np.array([[0.8, 0.2], [0.6, 0.4]])
    >>> row_losses(np.array([[0.1, 0.9], [0.9, 0.1]]), whole, np.array([0, 1])).round(3).tolist()
    [0.8, 0.0]
    """
    said_N, whole_N = probs_NA.argmax(axis=1), whole_NA.argmax(axis=1)
    rows = np.arange(len(said_N))
    by_label = (whole_N == target_N).astype(float) - (said_N == target_N)
    by_probability = whole_NA[rows, whole_N] - whole_NA[rows, said_N]
    losses: Floats = (by_label + by_probability) / 2
    return losses


@dataclass(frozen=True, kw_only=True)
class Candidates:
    """Every chain in question, with what each does to each row."""

    early: list[tuple[Stage, ...]]
    loss: Floats
    """[C, N]"""
    work: Floats
    """[C, N], as a share of the work of the whole set."""
    stop: Ints
    """[C, N], the stage at which a row stops."""

    def cheapest(self, rows_N: Flags, limit: float) -> int:
        """The one with the least mean work among those whose mean loss on some rows is within the limit."""
        weights = rows_N / rows_N.sum()
        loss_C, work_C = self.loss @ weights, self.work @ weights
        return int(np.where(loss_C <= limit + 1e-12, work_C, np.inf).argmin())


def fit_chain(
    task: str, subset: Subset, answered: Mapping[Subset, Answered], costs: Costs, max_loss: float
) -> Chain | None:
    """The cheapest chain whose loss, cross-fitted, is at most `max_loss`; None if none saves anything."""
    made = candidates(subset, answered, costs)
    num_rows = made.loss.shape[1]
    fold_N = np.random.default_rng(0).permutation(num_rows) % FOLDS
    best: tuple[int, Floats] | None = None
    for share in LIMITS:
        held_N = _held_out(made, fold_N, share * max_loss)
        if float(held_N.mean()) > max_loss:
            break
        best = made.cheapest(np.ones(num_rows, dtype=np.bool_), share * max_loss), held_N
    if best is None:
        return None
    place, held_N = best
    early, work = made.early[place], float(made.work[place].mean())
    if not early or work > 1 - LEAST_SAVING:
        return None
    return Chain(
        task=task,
        subset=subset,
        early=early,
        stops=tuple(float((made.stop[place] == stage).mean()) for stage in range(len(early) + 1)),
        work=work,
        loss=float(held_N.mean()),
        error=math.sqrt((float(held_N.var()) + 1 / num_rows) / num_rows),
        num_rows=num_rows,
    )


def _held_out(made: Candidates, fold_N: Ints, limit: float) -> Floats:
    """Losses of rows [N], each under the candidate that was chosen without its fold."""
    held_N = np.zeros(len(fold_N))
    for fold in range(FOLDS):
        place = made.cheapest(fold_N != fold, limit)
        held_N[fold_N == fold] = made.loss[place, fold_N == fold]
    return held_N


def candidates(subset: Subset, answered: Mapping[Subset, Answered], costs: Costs) -> Candidates:
    """Every order with thresholds from the rows' own confidences; stages at which none stops are left out."""
    num_values = max(2, int(THRESHOLDS ** (1 / max(1, len(subset) - 1))))
    early: dict[tuple[Stage, ...], None] = {(): None}
    for order in orders(subset, costs):
        parts = [frozenset(names) for names in accumulate(([name] for name in order[:-1]), lambda a, b: [*a, *b])]
        grids = [thresholds(answered[part].confidence, num_values) for part in parts]
        for values in product(*grids):
            stages = tuple(Stage(part, value) for part, value in zip(parts, values, strict=True) if value < NEVER)
            early[stages] = None
    walks = [_walk(stages, subset, answered, costs) for stages in early]
    return Candidates(
        early=list(early),
        loss=np.stack([walk[0] for walk in walks]),
        work=np.stack([walk[1] for walk in walks]),
        stop=np.stack([walk[2] for walk in walks]),
    )


def orders(subset: Subset, costs: Costs) -> list[tuple[str, ...]]:
    """In which orders a set may be looked at."""
    cheapest_first = tuple(sorted(subset, key=lambda name: (costs.batched.each_s[name], name)))
    return list(permutations(cheapest_first)) if len(subset) <= ALL_ORDERS else [cheapest_first]


def thresholds(confidence_N: Floats, num: int) -> list[float]:
    """Values in the midst of the confidences, at even distances in rank, rounded up; and never.

    >>> thresholds(np.array([0.2, 0.4, 0.6, 0.8]), 3)
    [0.2, 0.6, 2.0]
    """
    values = np.quantile(confidence_N, np.linspace(0, 1, num)[:-1], method="higher")
    return [*dict.fromkeys(math.ceil(1e6 * value) / 1e6 for value in values.tolist()), NEVER]


def _walk(
    early: Sequence[Stage], subset: Subset, answered: Mapping[Subset, Answered], costs: Costs
) -> tuple[Floats, Floats, Ints]:
    """Loss, work and last stage of every row."""
    parts = [*(stage.subset for stage in early), subset]
    done_s = np.array(_stage_costs(parts, costs)) / costs.batched.of(subset)
    sure_KN = np.array([answered[stage.subset].confidence >= stage.threshold for stage in early])
    num_rows = len(answered[subset].loss)
    last_N = np.ones((1, num_rows), dtype=np.bool_)
    stop_N = np.concatenate([sure_KN.reshape(len(early), num_rows), last_N]).argmax(axis=0)
    loss_KN = np.array([answered[part].loss for part in parts])
    return loss_KN[stop_N, np.arange(num_rows)], done_s[stop_N], stop_N


def _stage_costs(parts: Sequence[Subset], costs: Costs) -> list[float]:
    """Seconds until each stage has answered, in a batch."""
    again = costs.again_batched or costs.batched
    before = [0.0, *accumulate(again.of(part) for part in parts[:-1])]
    return [costs.batched.of(part) + extra for part, extra in zip(parts, before, strict=True)]
