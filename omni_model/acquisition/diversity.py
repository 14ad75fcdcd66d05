"""The functions that look at a set and not at a row: BADGE and core-set.

They cannot be computed exactly over an unbounded stream, so the pass keeps a uniform sample of budget x overfetch rows
and the batch algorithm runs on that. Uniform, because the algorithms do their own weighting: a reservoir that favours
long gradients weights twice, and covers the stream less well than chance (docs/experiments.md, Filter).

Shapes: N rows of a batch, P rows of the pool, A answers, D width, L labelled rows.
"""

import numpy as np

from omni_model.acquisition.candidates import FloatArray
from omni_model.acquisition.limits import OpenRows
from omni_model.acquisition.registry import Acquisition, Pool, keep_uniformly, register

BLOCK_ROWS = 1024


def error_vectors(probs_NA: FloatArray) -> FloatArray:
    """p - onehot(argmax p): the gradient of the cross-entropy at the logits, had the model's own answer been right.

    >>> error_vectors(np.array([[0.75, 0.25]])).tolist()
    [[-0.25, 0.25]]
    """
    error_NA = np.array(probs_NA, dtype=np.float64)
    if error_NA.size:
        error_NA[np.arange(len(error_NA)), error_NA.argmax(axis=1)] -= 1.0
    return error_NA


def lengths(x_ND: FloatArray) -> FloatArray:
    """[N] Euclidean length of each row in float64, which holds the square of any float32.

    >>> lengths(np.array([[3.0, 4.0], [3e38, 4e38]])).tolist()
    [5.0, 5e+38]
    """
    x_ND = np.asarray(x_ND, dtype=np.float64)
    return np.asarray(np.sqrt((x_ND * x_ND).sum(axis=1)))


def gradient_length(probs_NA: FloatArray, fused_ND: FloatArray) -> FloatArray:
    """Length of the last layer's gradient embedding, |p - onehot(argmax p)| * |h| (Ash et al. 2020, eq. 1).

    >>> gradient_length(np.array([[0.5, 0.5], [1.0, 0.0]]), np.array([[3.0, 4.0], [3.0, 4.0]])).round(4).tolist()
    [3.5355, 0.0]
    """
    return lengths(error_vectors(probs_NA)) * lengths(fused_ND)


def choose_badge(
    pool: Pool, budget: int, open_rows: OpenRows, *, rng: np.random.Generator, labelled_fused: FloatArray | None
) -> tuple[list[int], list[float]]:
    """k-means++ seeding (Arthur & Vassilvitskii 2007) over gradient embeddings g = (p - onehot) x h: the longest first,
    then each row with probability proportional to its squared distance to the nearest taken (Ash et al. 2020,
    algorithm 1). Scores: lengths of g.

    g is never formed: <g_i, g_j> = <error_i, error_j> <h_i, h_j>. Where every open row lies on a taken one, the order
    of the pool decides.
    """
    error_PA, length_P = error_vectors(pool.probs), lengths(pool.fused)
    length_P = length_P / _scale(length_P)
    square_P = (error_PA * error_PA).sum(axis=1) * length_P * length_P
    error_PA = error_PA.astype(np.float32)
    nearest_P = np.full(len(square_P), np.inf)
    picks: list[int] = []
    while len(picks) < budget and open_rows.mask.any():
        row = _draw(nearest_P, open_rows, rng) if picks else int(np.where(open_rows.mask, square_P, -1.0).argmax())
        inner_P = (error_PA @ error_PA[row]) * open_rows.take(row) * length_P * length_P[row]
        np.minimum(nearest_P, np.maximum(square_P + square_P[row] - 2.0 * inner_P, 0.0), out=nearest_P)
        picks.append(row)
    return picks, pool.scores[picks].tolist()


def choose_core_set(
    pool: Pool, budget: int, open_rows: OpenRows, *, rng: np.random.Generator, labelled_fused: FloatArray | None
) -> tuple[list[int], list[float]]:
    """k-center greedy (Gonzalez 1985; Sener & Savarese 2018, algorithm 1): always the row farthest from its nearest
    centre, the labelled rows being centres from the start. With none labelled, the first is the row farthest from the
    pool's mean. Scores: that distance at the moment of the pick, so they fall.
    """
    none_labelled = labelled_fused is None or not len(labelled_fused)
    centres_LD = pool.fused[:0] if labelled_fused is None else labelled_fused
    scale = _scale(np.concatenate([lengths(pool.fused), lengths(centres_LD)]))
    x_PD = np.asarray(pool.fused / scale, dtype=np.float32)
    length_P = lengths(x_PD)
    square_P = length_P * length_P
    centres_LD = x_PD.mean(axis=0, keepdims=True) if none_labelled else np.asarray(centres_LD / scale, dtype=np.float32)
    nearest_P = _nearest_square(x_PD, centres_LD)
    picks: list[int] = []
    scores: list[float] = []
    while len(picks) < budget and open_rows.mask.any():
        row = int(np.where(open_rows.mask, nearest_P, -1.0).argmax())
        scores.append(float(np.sqrt(nearest_P[row])) * scale)
        inner_P = open_rows.take(row) * length_P * length_P[row]
        to_row_P = np.maximum(square_P + square_P[row] - 2.0 * inner_P, 0.0)
        nearest_P = to_row_P if none_labelled and not picks else np.minimum(nearest_P, to_row_P)
        picks.append(row)
    return picks, scores


def _draw(nearest_P: FloatArray, open_rows: OpenRows, rng: np.random.Generator) -> int:
    """A row that is open, with probability proportional to its squared distance."""
    total_P = np.cumsum(np.where(open_rows.mask, nearest_P, 0.0))
    if total_P[-1] <= 0.0:
        return int(open_rows.mask.argmax())
    row = int(np.searchsorted(total_P, rng.random() * total_P[-1], side="right"))
    return row if row < len(total_P) and open_rows.mask[row] else int(open_rows.mask.argmax())


def _nearest_square(x_PD: FloatArray, centres_LD: FloatArray) -> FloatArray:
    """[P] squared distance to the nearest centre, a block of centres at a time."""
    square_P = (x_PD * x_PD).sum(axis=1, dtype=np.float64)
    nearest_P = np.full(len(x_PD), np.inf)
    for start in range(0, len(centres_LD), BLOCK_ROWS):
        block_bD = centres_LD[start : start + BLOCK_ROWS]
        half_Pb = x_PD @ block_bD.T - 0.5 * (block_bD * block_bD).sum(axis=1)
        np.minimum(nearest_P, square_P - 2.0 * half_Pb.max(axis=1), out=nearest_P)
    return np.asarray(np.maximum(nearest_P, 0.0))


def _scale(lengths_P: FloatArray) -> float:
    """The largest length, or 1 where all are 0: divided by it, nothing overflows."""
    return float(lengths_P.max(initial=0.0)) or 1.0


BADGE = register(
    Acquisition(
        name="badge",
        score=lambda batch, uniform_N: gradient_length(batch.probs, batch.fused),
        keep=keep_uniformly,
        choose=choose_badge,
    )
)
CORE_SET = register(
    Acquisition(name="core_set", score=lambda batch, uniform_N: uniform_N, keep=keep_uniformly, choose=choose_core_set)
)
