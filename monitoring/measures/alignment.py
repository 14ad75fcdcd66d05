"""Do two modalities of one sample land in one place: cross-modal alignment error.

The headline is a retrieval error, because the plain distance rewards a collapsed model: with all embeddings equal,
1 - cosine is a perfect 0 while every retrieval is a tie, and a tie is a miss. Beside it stand 1 - mean cosine, the
modality gap (Liang et al. 2022) and uniformity (Wang and Isola 2020), always with the size of the gallery searched.

N samples, D width of the embedding.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]
TIE = 1e-6
"""Similarities closer than this are equal: below it, float32 rounding decides."""
_BLOCK_ROWS = 512


@dataclass(frozen=True, kw_only=True)
class PairAlignment:
    """Alignment of two modalities over the samples that have both."""

    x: str
    y: str
    num_pairs: int
    """Samples with both; also the size of the gallery that each retrieval searches."""
    recall_xy: float
    """Share of x whose nearest y is a positive, ties as misses."""
    recall_yx: float
    error: float
    """1 - (recall_xy + recall_yx) / 2."""
    cosine_distance: float
    """1 - mean cosine of the paired embeddings."""
    modality_gap: float
    """Distance between the means of the two modalities' unit vectors."""
    uniformity: float
    """Mean over the two of log mean exp(-2 |u - v|²); lower is more spread out, 0 is collapsed."""


@dataclass(frozen=True, kw_only=True)
class Alignment:
    """Mean over the observed pairs of modalities."""

    error: float | None
    """None if no pair could be retrieved from: never 0."""
    pairs: tuple[PairAlignment, ...]
    """Those with at least one negative to tell from, by name."""


def unit_rows(embedding_ND: Floats) -> NDArray[np.float64]:
    """Rows scaled to length 1. A zero row stays zero: its cosine with anything is 0, so that it ties and misses."""
    embedding_ND = np.asarray(embedding_ND, dtype=np.float64)
    norm_N1 = np.linalg.norm(embedding_ND, axis=1, keepdims=True)
    return np.asarray(np.divide(embedding_ND, norm_N1, out=np.zeros_like(embedding_ND), where=norm_N1 > 0))


def retrieval_hits(x_ND: Floats, y_ND: Floats, groups_N: NDArray[Any] | None = None) -> NDArray[np.float64]:
    """1.0 where the y most like x_i is a positive of x_i and strictly more so than any negative, else 0.0.

    Rows with equal `groups_N` are positives of each other (default: only the row itself). A row with nan in either
    embedding is not in the gallery and gives nan; so does a row without any negative, which nothing could be taken for.

    >>> x = np.eye(3)
    >>> retrieval_hits(x, x).tolist(), retrieval_hits(x, np.ones((3, 3))).tolist()
    ([1.0, 1.0, 1.0], [0.0, 0.0, 0.0])
    """
    if x_ND.shape != y_ND.shape or x_ND.ndim != 2:
        raise ValueError(f"x and y must be two matrices of one shape [N, D], got {x_ND.shape} and {y_ND.shape}.")
    num_rows = len(x_ND)
    labels_N = np.arange(num_rows) if groups_N is None else np.unique(groups_N, return_inverse=True)[1]
    hits_N = np.full(num_rows, np.nan)
    seen = np.flatnonzero(np.isfinite(x_ND).all(axis=1) & np.isfinite(y_ND).all(axis=1))
    x_GD, y_GD, labels_G = unit_rows(x_ND[seen]), unit_rows(y_ND[seen]), labels_N[seen]
    for start in range(0, len(seen), _BLOCK_ROWS):
        block = slice(start, start + _BLOCK_ROWS)
        cosine_BG = x_GD[block] @ y_GD.T
        positive_BG = labels_G[block, None] == labels_G[None, :]
        best_positive_B = np.where(positive_BG, cosine_BG, -np.inf).max(axis=1)
        best_negative_B = np.where(positive_BG, -np.inf, cosine_BG).max(axis=1)
        hit_B = (best_positive_B > best_negative_B + TIE).astype(np.float64)
        hits_N[seen[block]] = np.where(np.isfinite(best_negative_B), hit_B, np.nan)
    return hits_N


def pair_alignment(
    x: str, y: str, x_ND: Floats, y_ND: Floats, groups_N: NDArray[Any] | None = None
) -> PairAlignment | None:
    """Alignment of two modalities, or None if no retrieval was possible (no sample has both, or all are positives)."""
    xy_N, yx_N = retrieval_hits(x_ND, y_ND, groups_N), retrieval_hits(y_ND, x_ND, groups_N)
    if np.isnan(xy_N).all():
        return None
    both_N = np.isfinite(x_ND).all(axis=1) & np.isfinite(y_ND).all(axis=1)
    x_GD, y_GD = unit_rows(x_ND[both_N]), unit_rows(y_ND[both_N])
    recall_xy, recall_yx = float(np.nanmean(xy_N)), float(np.nanmean(yx_N))
    return PairAlignment(
        x=x,
        y=y,
        num_pairs=int(both_N.sum()),
        recall_xy=recall_xy,
        recall_yx=recall_yx,
        error=1 - (recall_xy + recall_yx) / 2,
        cosine_distance=float(1 - np.mean((x_GD * y_GD).sum(axis=1))),
        modality_gap=float(np.linalg.norm(x_GD.mean(axis=0) - y_GD.mean(axis=0))),
        uniformity=(uniformity(x_GD) + uniformity(y_GD)) / 2,
    )


def alignment(embeddings: Mapping[str, Floats], groups_N: NDArray[Any] | None = None) -> Alignment:
    """Alignment over all pairs of modalities; each `[N, D]` in one space, nan rows where a sample lacks the modality.

    >>> eye = np.eye(4)
    >>> alignment({"image": eye, "text": eye}).error
    0.0
    >>> alignment({"image": eye}).error is None
    True
    """
    measured = [
        pair_alignment(x, y, embeddings[x], embeddings[y], groups_N) for x, y in combinations(sorted(embeddings), 2)
    ]
    pairs = tuple(pair for pair in measured if pair is not None)
    return Alignment(error=float(np.mean([pair.error for pair in pairs])) if pairs else None, pairs=pairs)


def uniformity(unit_GD: Floats) -> float:
    """log of the mean over pairs of different rows of exp(-2 |u - v|²); nan for fewer than two rows.

    >>> round(uniformity(np.array([[1.0, 0.0], [-1.0, 0.0]])), 4)
    -8.0
    """
    num_rows = len(unit_GD)
    if num_rows < 2:
        return float("nan")
    square_G = (unit_GD**2).sum(axis=1)
    total = 0.0
    for start in range(0, num_rows, _BLOCK_ROWS):
        block = slice(start, start + _BLOCK_ROWS)
        distance_BG = square_G[block, None] + square_G[None, :] - 2 * unit_GD[block] @ unit_GD.T
        total += float(np.exp(-2 * np.maximum(distance_BG, 0)).sum())
    return float(np.log((total - num_rows) / (num_rows * (num_rows - 1))))
