"""Select from a stream of candidates: one pass, memory of O(budget x overfetch x width), any number of rows.

    stream -> score each row -> uncertainty reservoir (the rows of the highest keys) -> limits, batch algorithm -> arm
                            \\-> control reservoir (uniform, whatever the score)      -> control arm

The control arm is drawn first and from all valid rows alike, so its error rate is that of the pool; the uncertainty
arm is taken from what remains. Cap and quota bind the uncertainty arm only: a capped control arm would not be uniform.

Shapes: N rows of a batch, P rows held, A answers, D width, L labelled rows.
"""

import logging
from collections.abc import Callable, Iterable

import numpy as np

from omni_model.acquisition.candidates import (
    CandidateBatch,
    FloatArray,
    IntArray,
    ObjectArray,
    objects,
    valid_rows,
)
from omni_model.acquisition.config import SelectionConfig
from omni_model.acquisition.limits import Limits, OpenRows, walk_down
from omni_model.acquisition.registry import Pool, check_needs, find_acquisition
from omni_model.acquisition.reservoir import Columns, Reservoir
from omni_model.acquisition.selection import Arm, SelectedRow, Selection

logger = logging.getLogger(__name__)


def discard(ids: ObjectArray, scores_N: FloatArray) -> None:
    """Keep no scores."""


def select(
    batches: Iterable[CandidateBatch],
    config: SelectionConfig,
    *,
    rng: np.random.Generator | None = None,
    labelled_fused: FloatArray | None = None,
    on_scored: Callable[[ObjectArray, FloatArray], None] = discard,
) -> Selection:
    """Pick at most `config.budget` rows of the stream for labelling.

    `rng` defaults to one of `config.seed`. `labelled_fused` [L, D] are the embeddings already labelled, from which
    `core_set` starts. `on_scored(ids, scores_N)` gets every batch's scores as they are computed, NaN where a row is
    invalid; for `core_set`, which has no score of a row alone, they are the random keys of its reservoir.

    The same seed and the same order of rows give the same selection, wherever the stream is cut into batches. An empty
    stream gives an empty selection. An unknown function, or a batch that lacks what it needs, raises `ValueError`.
    """
    scan = Scan(config, rng if rng is not None else np.random.default_rng(config.seed))
    for batch in batches:
        on_scored(objects(batch.ids), scan.add(batch))
    selection = scan.finish(labelled_fused)
    if selection.num_invalid:
        logger.warning("%d of %d candidates were invalid and left out", selection.num_invalid, selection.num_seen)
    return selection


class Scan:
    """The state of one pass over the candidates."""

    def __init__(self, config: SelectionConfig, rng: np.random.Generator) -> None:
        self._config = config
        self._rng = rng
        self._acquisition = find_acquisition(config.acquisition)
        self._kept = Reservoir(config.budget * config.overfetch, self._thin)
        self._control = Reservoir(config.control_rows(config.budget))
        self._num_seen = self._num_valid = self._num_duplicates = 0
        self._widths: tuple[int, int] | None = None

    def add(self, batch: CandidateBatch) -> FloatArray:
        """Score a batch and remember what may be selected. Returns the scores [N], NaN where a row is invalid."""
        check_needs(self._acquisition, batch)
        self._check_width(batch)
        draws_N3 = self._rng.random((len(batch), 3))  # of every row, valid or not: no draw depends on another row
        scores_N = np.full(len(batch), np.nan)
        valid = np.flatnonzero(valid_rows(batch, self._acquisition.needs))
        judged = batch if len(valid) == len(batch) else batch.take(valid)
        scores_N[valid] = self._acquisition.score(judged, draws_N3[valid, 0])
        finite = np.isfinite(scores_N[valid])
        if not finite.all():
            scores_N[valid[~finite]] = np.nan
            judged, valid = judged.take(np.flatnonzero(finite)), valid[finite]
        self._num_seen += len(batch)
        self._num_valid += len(valid)
        self._remember(judged, scores_N[valid], draws_N3[valid])
        return scores_N

    def finish(self, labelled_fused: FloatArray | None = None) -> Selection:
        """The selection out of everything added."""
        self._check_labelled(labelled_fused)
        control, num_repeated_control = _without_repeats(self._control.held(), banned=frozenset())
        control = {name: column[: self._config.control_rows(self._num_valid)] for name, column in control.items()}
        banned = frozenset(control.get("id", ()))
        kept, num_repeated = _without_repeats(self._kept.held(), banned=banned)
        picks, scores, num_duplicates, num_over_quota = self._pick(kept, labelled_fused)
        rows = _selected_rows("uncertainty", kept, picks, scores)
        rows += _selected_rows("control", control, range(len(banned)), control.get("score", np.zeros(0)).tolist())
        return Selection(
            acquisition=self._acquisition.name,
            rows=tuple(rows),
            num_seen=self._num_seen,
            num_invalid=self._num_seen - self._num_valid,
            num_duplicates_skipped=self._num_duplicates + num_duplicates,
            num_over_quota=num_over_quota,
            num_repeated_ids=num_repeated + num_repeated_control,
            num_short=self._config.budget - len(rows),
        )

    def _remember(self, batch: CandidateBatch, scores_N: FloatArray, draws_N3: FloatArray) -> None:
        uniform_N, control_N, tie_N = draws_N3.T
        row: Columns = {"id": objects(batch.ids), "domain": objects(batch.domains), "score": scores_N}
        self._control.offer(control_N, tie_N, row)
        in_set = self._acquisition.choose is not None
        in_space = in_set or self._config.max_near_duplicates is not None
        row["fused"] = np.asarray(batch.fused if in_space else batch.fused[:, :0], dtype=np.float32)
        row["probs"] = np.asarray(batch.probs if in_set else batch.probs[:, :0], dtype=np.float32)
        self._kept.offer(self._acquisition.keep(scores_N, uniform_N), tie_N, row)

    def _thin(self, columns: Columns, order_P: IntArray) -> IntArray:
        """The rows of the order that the arm could still come to need.

        Without this, a long run of near-duplicates, or one domain, would fill the memory and leave the budget unfilled.
        The near-duplicates are looked at only as far as needed to be sure of twice the budget.
        """
        config, keep = self._config, self._config.budget * self._config.overfetch
        if config.domain_quota is not None:
            arm_rows = config.uncertainty_rows(config.budget)
            limits = Limits.of(config, columns["domain"][order_P], arm_rows, times=config.overfetch)
            order_P = order_P[limits.within_quota()]
        if config.max_near_duplicates is None:
            return order_P
        limits = Limits.of(config, columns["domain"][order_P], config.budget, times=2)
        walk = walk_down(columns["fused"], order_P, limits, 2 * config.budget)
        if len(walk.taken) == 2 * config.budget and walk.num_walked <= keep:
            return order_P
        self._num_duplicates += len(walk.duplicates)
        return np.delete(order_P, walk.duplicates)

    def _pick(self, kept: Columns, labelled_fused: FloatArray | None) -> tuple[list[int], list[float], int, int]:
        """Row numbers and scores of the uncertainty arm, and how many rows the cap and the quota left out."""
        if not kept:
            return [], [], 0, 0
        budget = self._config.uncertainty_rows(self._num_valid)
        order_P = np.arange(len(kept["id"]))
        choose = self._acquisition.choose
        if choose is None:
            limits = Limits.of(self._config, kept["domain"], budget)
            walk = walk_down(kept["fused"], order_P, limits, budget)
            return walk.taken, kept["score"][walk.taken].tolist(), len(walk.duplicates), walk.num_over_quota
        order_P = self._thin(kept, order_P)[: self._config.budget * self._config.overfetch]
        limits = Limits.of(self._config, kept["domain"][order_P], budget)
        pool = Pool(scores=kept["score"][order_P], fused=kept["fused"][order_P], probs=kept["probs"][order_P])
        open_rows = OpenRows(pool.fused, limits)
        picks, scores = choose(pool, budget, open_rows, rng=self._rng, labelled_fused=labelled_fused)
        return order_P[picks].tolist(), scores, int(open_rows.duplicates.sum()), int(open_rows.over_quota.sum())

    def _check_width(self, batch: CandidateBatch) -> None:
        widths = (batch.probs.shape[1], batch.fused.shape[1])
        if self._widths not in (None, widths):
            raise ValueError(f"answers and width are {widths}, were {self._widths}. Score a pool with one model.")
        self._widths = widths

    def _check_labelled(self, labelled_fused: FloatArray | None) -> None:
        if labelled_fused is None or self._widths is None:
            return
        if labelled_fused.ndim != 2 or labelled_fused.shape[1] != self._widths[1]:
            shape = f"labelled_fused must be [L, {self._widths[1]}], got {labelled_fused.shape}"
            raise ValueError(f"{shape}. Embed the labelled rows with the model that scored the pool.")
        with np.errstate(over="ignore"):
            num_broken = int((~np.isfinite(np.asarray(labelled_fused, dtype=np.float32)).all(axis=1)).sum())
        if num_broken:
            raise ValueError(f"labelled_fused holds {num_broken} rows with NaN or infinity. Leave them out.")


def _without_repeats(held: Columns, banned: frozenset[str]) -> tuple[Columns, int]:
    """The rows whose id is not banned, each id once, and how many repeats were left out."""
    seen: set[str] = set(banned)
    first: list[int] = []
    num_repeats = 0
    for row, id_ in enumerate(held.get("id", ())):
        if id_ not in seen:
            seen.add(id_)
            first.append(row)
        elif id_ not in banned:
            num_repeats += 1
    return {name: column[first] for name, column in held.items()}, num_repeats


def _selected_rows(arm: Arm, columns: Columns, picks: Iterable[int], scores: list[float]) -> list[SelectedRow]:
    return [
        SelectedRow(id=columns["id"][row], domain=columns["domain"][row], arm=arm, score=score, rank=rank)
        for rank, (row, score) in enumerate(zip(picks, scores, strict=True), start=1)
    ]
