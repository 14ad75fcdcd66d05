"""Disagreement within a committee: passes with dropout on (BALD), or the modality subsets of one sample.

Both are the generalised Jensen-Shannon divergence of the members' answers. Shapes: N rows, A answers, C members.
"""

from collections.abc import Mapping

import numpy as np

from omni_model.acquisition.candidates import BoolArray, CandidateBatch, FloatArray
from omni_model.acquisition.registry import Acquisition, register
from omni_model.acquisition.uncertainty import entropy


def bald(mc_probs_SNA: FloatArray) -> FloatArray:
    """H(mean p) - mean H(p) over S stochastic passes, in nats: the mutual information between the answer and the
    weights (Houlsby et al. 2011, eq. 2; with dropout as in Gal, Islam & Ghahramani 2017). In [0, ln min(S, A)].

    >>> bald(np.array([[[1.0, 0.0], [0.5, 0.5]], [[0.0, 1.0], [0.5, 0.5]]])).round(4).tolist()
    [0.6931, 0.0]
    """
    present_N = np.ones(mc_probs_SNA.shape[1], dtype=bool)
    return jensen_shannon([(probs_NA, present_N) for probs_NA in mc_probs_SNA])


def disagreement(subset_probs: Mapping[str, FloatArray]) -> FloatArray:
    """How much the answers of the modality subsets differ: H(mean p) - mean H(p) over the subsets that the sample
    has, in nats, in [0, ln min(C, A)] (generalised Jensen-Shannon divergence, Lin 1991, eq. 5.1, equal weights; the
    same number as the mean KL divergence to the committee's mean of McCallum & Nigam 1998).

    A row of NaN is an absent subset. One subset alone cannot disagree: 0. A row with none, or with a subset that is
    broken (neither a distribution nor wholly NaN), gives NaN.

    >>> image, audio = np.array([[1.0, 0.0], [0.9, 0.1]]), np.array([[0.0, 1.0], [np.nan, np.nan]])
    >>> disagreement({"image": image, "audio": audio}).round(4).tolist()
    [0.6931, 0.0]
    """
    members = [(probs_NA, np.logical_not(np.isnan(probs_NA).all(axis=1))) for probs_NA in subset_probs.values()]
    if not members:
        raise ValueError("disagreement needs at least one modality subset, got none. Predict once per subset.")
    return jensen_shannon(members)


def jensen_shannon(members: list[tuple[FloatArray, BoolArray]]) -> FloatArray:
    """[N] generalised Jensen-Shannon divergence of the members (probs_NA, present_N), equal weights over those
    present; NaN where none is or where a present one holds a NaN."""
    mean_NA = np.zeros(members[0][0].shape)
    inner_N = np.zeros(len(mean_NA))
    count_N = np.zeros(len(mean_NA))
    for probs_NA, present_N in members:
        shown_NA = np.where(present_N[:, None], probs_NA, 0.0)
        mean_NA += shown_NA
        inner_N += entropy(shown_NA)
        count_N += present_N
    with np.errstate(invalid="ignore", divide="ignore"):
        divergence_N = entropy(mean_NA / count_N[:, None]) - inner_N / count_N
    broken_N = (count_N == 0) | np.isnan(mean_NA).any(axis=1)
    return np.where(broken_N, np.nan, np.maximum(divergence_N, 0.0))  # rounding can leave -1e-17


def _bald(batch: CandidateBatch, uniform_N: FloatArray) -> FloatArray:
    assert batch.mc_probs is not None
    return bald(batch.mc_probs)


def _disagreement(batch: CandidateBatch, uniform_N: FloatArray) -> FloatArray:
    if not batch.subset_probs:  # no row of this batch has any modality
        return np.full(len(batch), np.nan)
    return disagreement(batch.subset_probs)


BALD = register(Acquisition(name="bald", score=_bald, needs="mc_probs"))
DISAGREEMENT = register(Acquisition(name="disagreement", score=_disagreement, needs="subset_probs"))
