"""The registry of acquisition functions: one entry is all that a new one needs."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from omni_model.acquisition.candidates import CandidateBatch, FloatArray, IntArray
from omni_model.acquisition.limits import OpenRows


@dataclass(frozen=True, kw_only=True, eq=False)
class Pool:
    """The P rows that outlived the pass, first in keeping order first."""

    scores: FloatArray
    """[P] what `score` said of each row."""
    fused: FloatArray
    """[P, D] embeddings, float32."""
    probs: FloatArray
    """[P, A] answer probabilities, float32."""


class Choose(Protocol):
    """A batch algorithm over the pool. Returns row numbers and scores of at most `budget` picks, in order.

    It asks `open_rows.mask` what may still be taken and tells `open_rows.take(row)` what it took.
    """

    def __call__(
        self,
        pool: Pool,
        budget: int,
        open_rows: OpenRows,
        *,
        rng: np.random.Generator,
        labelled_fused: FloatArray | None,
    ) -> tuple[list[int], list[float]]: ...


def keep_highest(scores_N: FloatArray, uniform_N: FloatArray) -> FloatArray:
    """Keep the rows of the highest score."""
    return scores_N


def keep_uniformly(scores_N: FloatArray, uniform_N: FloatArray) -> FloatArray:
    """Keep each row with the same chance: a reservoir (Vitter 1985) by random keys."""
    return uniform_N


@dataclass(frozen=True, kw_only=True)
class Acquisition:
    """How one function scores a row, which rows it keeps during the pass, and how it picks among the kept."""

    name: str
    score: Callable[[CandidateBatch, FloatArray], FloatArray]
    """(batch, uniform_N in [0, 1)) -> [N]; higher is picked sooner. Looks at one row at a time, so that the result
    does not depend on where the stream was cut; all its randomness comes from `uniform_N`."""
    keep: Callable[[FloatArray, FloatArray], FloatArray] = keep_highest
    """(scores_N, uniform_N) -> [N] keys; the rows of the highest keys stay in memory."""
    choose: Choose | None = None
    """Batch algorithm over the kept rows; None takes them in order of score."""
    needs: str | None = None
    """Optional column that a batch must carry: "mc_probs" or "subset_probs"."""


ACQUISITIONS: dict[str, Acquisition] = {}


def register(acquisition: Acquisition) -> Acquisition:
    """Add a function to the registry. A name already taken raises `ValueError`."""
    if acquisition.name in ACQUISITIONS:
        raise ValueError(f"acquisition {acquisition.name!r} is registered already. Give yours another name.")
    ACQUISITIONS[acquisition.name] = acquisition
    return acquisition


def find_acquisition(name: str) -> Acquisition:
    """The function of that name. An unknown one raises `ValueError` and names the known."""
    if name not in ACQUISITIONS:
        known = ", ".join(sorted(ACQUISITIONS))
        raise ValueError(
            f"selection.acquisition must be one of {known}, got {name!r}. Set OMNI_SELECTION__ACQUISITION."
        )
    return ACQUISITIONS[name]


def check_needs(acquisition: Acquisition, batch: CandidateBatch) -> None:
    """Raise `ValueError` if the batch lacks the column that the function needs."""
    if acquisition.needs and getattr(batch, acquisition.needs) is None:
        mend = {"mc_probs": "Predict with mc_passes above 0.", "subset_probs": "Predict once per modality subset."}
        raise ValueError(f"{acquisition.name} needs {acquisition.needs}, the batch has none. {mend[acquisition.needs]}")


__all__ = ["ACQUISITIONS", "Acquisition", "Choose", "IntArray", "Pool", "check_needs", "find_acquisition", "register"]
