"""Uncertainty of one answer distribution: the pointwise functions that need a single forward pass.

Higher is more uncertain everywhere. Shapes: N rows, A answers.
"""

import numpy as np

from omni_model.acquisition.candidates import FloatArray
from omni_model.acquisition.registry import Acquisition, register


def least_confidence(probs_NA: FloatArray) -> FloatArray:
    """1 - max p, in [0, 1 - 1/A] (Lewis & Gale 1994; Settles 2009, eq. 1).

    >>> least_confidence(np.array([[0.5, 0.25, 0.25], [1.0, 0.0, 0.0]])).tolist()
    [0.5, 0.0]
    """
    return np.asarray(1.0 - np.asarray(probs_NA, dtype=np.float64).max(axis=1, initial=0.0))


def margin(probs_NA: FloatArray) -> FloatArray:
    """1 - (p1 - p2) with the two highest probabilities, in [0, 1] (Scheffer, Decomain & Wrobel 2001).

    A single answer has no rival: p2 is 0.

    >>> margin(np.array([[0.5, 0.25, 0.25], [0.5, 0.5, 0.0], [1.0, 0.0, 0.0]])).tolist()
    [0.75, 1.0, 0.0]
    """
    rest_NA = np.array(probs_NA, dtype=np.float64)
    rows_N = np.arange(len(rest_NA))
    best_N = rest_NA.argmax(axis=1) if rest_NA.size else np.zeros(0, dtype=np.intp)
    first_N = rest_NA[rows_N, best_N]
    rest_NA[rows_N, best_N] = 0.0
    return np.asarray(1.0 - (first_N - rest_NA.max(axis=1, initial=0.0)))


def entropy(probs_NA: FloatArray) -> FloatArray:
    """-sum p ln p in nats, in [0, ln A], with 0 ln 0 = 0 (Shannon 1948; Settles 2009, eq. 3).

    >>> entropy(np.array([[0.5, 0.5], [1.0, 0.0]])).round(4).tolist()
    [0.6931, 0.0]
    """
    probs_NA = np.asarray(probs_NA, dtype=np.float64)
    logs_NA = np.log(np.where(probs_NA > 0.0, probs_NA, 1.0))
    return np.asarray(0.0 - (probs_NA * logs_NA).sum(axis=1))


RANDOM = register(Acquisition(name="random", score=lambda batch, uniform_N: uniform_N))
LEAST_CONFIDENCE = register(
    Acquisition(name="least_confidence", score=lambda batch, uniform_N: least_confidence(batch.probs))
)
MARGIN = register(Acquisition(name="margin", score=lambda batch, uniform_N: margin(batch.probs)))
ENTROPY = register(Acquisition(name="entropy", score=lambda batch, uniform_N: entropy(batch.probs)))
