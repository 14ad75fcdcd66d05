"""Candidates as they stream by: what the model says of a batch of unlabelled samples.

Shapes: N rows, A answers (the global vocabulary), D width of the fused embedding, S stochastic passes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.floating[Any]]
BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.intp]
ObjectArray = npt.NDArray[np.object_]

SUM_TOLERANCE = 1e-3  # float16 probabilities over a few hundred answers still pass, logits do not


@dataclass(frozen=True, kw_only=True, eq=False)
class CandidateBatch:
    """One batch of the pool. Nothing in it is ever written to. A wrong shape raises `ValueError`."""

    ids: Sequence[str] | ObjectArray
    domains: Sequence[str] | ObjectArray
    probs: FloatArray
    """[N, A] answer probabilities; a row that is no distribution (NaN, negative, not summing to 1) is invalid."""
    fused: FloatArray
    """[N, D] fused embeddings."""
    mc_probs: FloatArray | None = None
    """[S, N, A] answer probabilities of S passes with dropout on, for `bald`."""
    subset_probs: Mapping[str, FloatArray] | None = None
    """Modality subset -> [N, A], for `disagreement`; a row of NaN where the sample has none of the subset."""

    def __post_init__(self) -> None:
        num_rows = len(self.ids)
        if self.probs.ndim != 2 or (num_rows and not self.probs.shape[1]):
            raise ValueError(f"probs must be [N, A] with A at least 1, got {self.probs.shape}. Pass one row per id.")
        if self.fused.ndim != 2:
            raise ValueError(f"fused must be [N, D], got {self.fused.shape}. Pass one embedding per id.")
        if self.mc_probs is not None and self.mc_probs.ndim != 3:
            raise ValueError(f"mc_probs must be [S, N, A], got {self.mc_probs.shape}. Stack the passes first.")
        for name, length in self._lengths().items():
            if length != num_rows:
                raise ValueError(f"{name} has {length} rows, ids has {num_rows}. Pass one row per id.")

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, rows: IntArray) -> "CandidateBatch":
        """The batch of the given row numbers, copied."""
        return CandidateBatch(
            ids=objects(self.ids)[rows],
            domains=objects(self.domains)[rows],
            probs=self.probs[rows],
            fused=self.fused[rows],
            mc_probs=None if self.mc_probs is None else self.mc_probs[:, rows],
            subset_probs=None if self.subset_probs is None else {k: v[rows] for k, v in self.subset_probs.items()},
        )

    def _lengths(self) -> dict[str, int]:
        lengths = {"domains": len(self.domains), "probs": len(self.probs), "fused": len(self.fused)}
        if self.mc_probs is not None:
            lengths["mc_probs"] = self.mc_probs.shape[1]
        return lengths | {f"subset_probs[{name!r}]": len(v) for name, v in (self.subset_probs or {}).items()}


def objects(values: Sequence[str] | ObjectArray) -> ObjectArray:
    """Strings as an object array [N], which numpy can index without copying the strings."""
    return np.asarray(values, dtype=np.object_)


def is_distribution(probs_NA: FloatArray) -> BoolArray:
    """[N] True where a row is finite, not negative and sums to 1.

    >>> is_distribution(np.array([[0.4, 0.6], [np.nan, 1.0], [3.0, -2.0], [2.0, 7.0]])).tolist()
    [True, False, False, False]
    """
    with np.errstate(invalid="ignore", over="ignore"):
        valid_N = np.abs(probs_NA.sum(axis=1, dtype=np.float64) - 1.0) <= SUM_TOLERANCE
        if not probs_NA.min(initial=0.0) >= -SUM_TOLERANCE:  # rare, and False for NaN; rows cost more than the whole
            valid_N &= probs_NA.min(axis=1, initial=0.0) >= -SUM_TOLERANCE
    return np.asarray(valid_N)


def valid_rows(batch: CandidateBatch, needs: str | None = None) -> BoolArray:
    """[N] True where a row may be selected: what is read of it (`probs`, `fused` and the column `needs`) is sound.

    `fused` must be finite as float32. A row of NaN in a subset is an absent subset, not a fault.
    """
    valid_N = is_distribution(batch.probs)
    with np.errstate(over="ignore"):
        fused_ND = np.asarray(batch.fused, dtype=np.float32)
    finite_ND = np.isfinite(fused_ND)
    if not finite_ND.all():
        valid_N &= finite_ND.all(axis=1)
    for probs_NA in batch.mc_probs if needs == "mc_probs" and batch.mc_probs is not None else ():
        valid_N &= is_distribution(probs_NA)
    for probs_NA in (batch.subset_probs or {}).values() if needs == "subset_probs" else ():
        sound_N = is_distribution(probs_NA)
        valid_N &= sound_N if sound_N.all() else sound_N | np.isnan(probs_NA).all(axis=1)
    return valid_N


class PredictionsLike(Protocol):
    """The part of `omni_model.evaluate.Predictions` that selection reads."""

    @property
    def ids(self) -> ObjectArray: ...
    @property
    def domains(self) -> ObjectArray: ...
    @property
    def modalities(self) -> Sequence[frozenset[str]]: ...
    @property
    def probs(self) -> FloatArray: ...
    @property
    def fused(self) -> FloatArray: ...
    @property
    def mc_probs(self) -> FloatArray | None: ...


def from_predictions(
    predictions: PredictionsLike, subsets: Mapping[frozenset[str], FloatArray] | None = None
) -> CandidateBatch:
    """A batch out of a model's predictions.

    `subsets` maps a set of modalities to the [N, A] probabilities of the same samples with only those kept. A sample
    that has none of them would be answered from nothing: its row is set to NaN, so that it casts no vote.
    """
    subset_probs: dict[str, FloatArray] | None = None if subsets is None else {}
    for subset, probs_NA in (subsets or {}).items():
        absent_N = np.array([not (subset & present) for present in predictions.modalities], dtype=bool)
        assert subset_probs is not None
        subset_probs["+".join(sorted(subset))] = np.where(absent_N[:, None], np.nan, probs_NA)
    return CandidateBatch(
        ids=predictions.ids,
        domains=predictions.domains,
        probs=predictions.probs,
        fused=predictions.fused,
        mc_probs=predictions.mc_probs,
        subset_probs=subset_probs,
    )
