"""From the predictions of two versions to `PairedOutcomes`: the same samples, in one order, in one vocabulary."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import permutations
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from monitoring.measures.alignment import retrieval_hits
from monitoring.measures.calibration import brier_rows
from monitoring.outcomes import UNANSWERED, Answers, PairedOutcomes, Provenance


class PredictionsLike(Protocol):
    """What is read of a model's predictions. N samples, A answers in the vocabulary, D width of an embedding."""

    @property
    def ids(self) -> NDArray[Any]: ...
    @property
    def tasks(self) -> NDArray[Any]: ...
    @property
    def domains(self) -> NDArray[Any]: ...
    @property
    def modalities(self) -> Sequence[frozenset[str]]: ...
    @property
    def answers(self) -> tuple[str, ...]: ...
    @property
    def probs(self) -> NDArray[Any]:
        """`[N, A]`, masked to the task's answer set, rows sum to 1."""

    @property
    def raw_answer(self) -> NDArray[Any]:
        """`[N]`, the choice without the mask."""

    @property
    def answer(self) -> NDArray[Any]: ...
    @property
    def target(self) -> NDArray[Any]: ...
    @property
    def confidence(self) -> NDArray[Any]: ...
    @property
    def embeddings(self) -> Mapping[str, NDArray[Any]]:
        """Modality to `[N, D]`, nan rows where a sample lacks it."""

    @property
    def latency_s(self) -> NDArray[Any]: ...


def pair(
    old: PredictionsLike,
    new: PredictionsLike,
    *,
    old_version: int,
    new_version: int,
    measured_at: datetime,
    items: Mapping[str, str] | None = None,
    without: Mapping[str, tuple[PredictionsLike, PredictionsLike]] | None = None,
    positives: str = "answer",
) -> PairedOutcomes:
    """Pair two versions' predictions by sample id; what only one of them answered is counted and left out.

    `items` maps a sample id to its item (default: each sample is its own). `without` maps a modality to both versions'
    predictions of the same samples with that modality taken away. `positives` says which samples retrieval may not tell
    apart: `answer` (same task and target) or `item`.
    """
    if positives not in ("answer", "item"):
        raise ValueError(f"positives must be `answer` or `item`, got {positives!r}.")
    vocabulary = tuple(dict.fromkeys((*new.answers, *old.answers)))
    old_index, new_index = _positions(old), _positions(new)
    common = [name for name in new_index if name in old_index]
    old_rows = np.array([old_index[name] for name in common], dtype=np.int64)
    new_rows = np.array([new_index[name] for name in common], dtype=np.int64)
    target = _translate(np.asarray(new.target), new.answers, vocabulary)[new_rows]
    if not np.array_equal(_translate(np.asarray(old.target), old.answers, vocabulary)[old_rows], target):
        raise ValueError("The two versions were scored against different targets. Predict the same labelled samples.")
    tasks = np.asarray(new.tasks, dtype=str)[new_rows]
    item_names = np.array([(items or {}).get(name, name) for name in common], dtype=str)
    groups = item_names if positives == "item" else np.char.add(np.char.add(tasks, "/"), target.astype(str))
    ablated = {
        name: (
            _answers(left, _rows(left, common), target, vocabulary, None),
            _answers(right, _rows(right, common), target, vocabulary, None),
        )
        for name, (left, right) in (without or {}).items()
    }
    return PairedOutcomes(
        provenance=Provenance(
            old_version=old_version,
            new_version=new_version,
            measured_at=measured_at,
            num_unpaired=len(old_index) + len(new_index) - 2 * len(common),
        ),
        ids=np.array(common, dtype=str),
        items=item_names,
        tasks=tasks,
        domains=np.asarray(new.domains, dtype=str)[new_rows],
        modalities=np.array(["+".join(sorted(new.modalities[row])) for row in new_rows], dtype=str),
        target=target,
        old=_answers(old, old_rows, target, vocabulary, groups),
        new=_answers(new, new_rows, target, vocabulary, groups),
        without=ablated,
    )


def _positions(predictions: PredictionsLike) -> dict[str, int]:
    positions = {str(name): row for row, name in enumerate(predictions.ids)}
    if len(positions) != len(predictions.ids):
        raise ValueError("The predictions hold some sample more than once. Predict each sample once.")
    return positions


def _rows(predictions: PredictionsLike, ids: Sequence[str]) -> NDArray[np.int64]:
    positions = _positions(predictions)
    missing = [name for name in ids if name not in positions]
    if missing:
        raise ValueError(
            f"{len(missing)} samples, e.g. {missing[0]!r}, have no prediction with the modality taken away. "
            "Predict all the samples of the comparison."
        )
    return np.array([positions[name] for name in ids], dtype=np.int64)


def _translate(index_N: NDArray[Any], names: Sequence[str], vocabulary: Sequence[str]) -> NDArray[np.int64]:
    """Indices into `names` as indices into `vocabulary`; negative ones stay as they are."""
    place = {name: position for position, name in enumerate(vocabulary)}
    table = np.array([place[name] for name in names], dtype=np.int64)
    index_N = index_N.astype(np.int64)
    return np.where(index_N >= 0, table[np.maximum(index_N, 0)], index_N)


def _answers(
    predictions: PredictionsLike,
    rows: NDArray[np.int64],
    target_N: NDArray[np.int64],
    vocabulary: Sequence[str],
    groups_N: NDArray[Any] | None,
) -> Answers:
    probability_NA = np.zeros((len(rows), len(vocabulary)))
    columns = _translate(np.arange(len(predictions.answers)), predictions.answers, vocabulary)
    probability_NA[:, columns] = np.asarray(predictions.probs, dtype=np.float64)[rows]
    finite_N = np.isfinite(probability_NA).all(axis=1)
    answer_N = np.asarray(predictions.answer)[rows]
    labelled_N = target_N >= 0
    target_probability_N = probability_NA[np.arange(len(rows)), np.maximum(target_N, 0)]
    return Answers(
        answer=np.where(finite_N, _translate(answer_N, predictions.answers, vocabulary), UNANSWERED),
        # The mask keeps the task's own answers, so the two choices differ exactly if the unmasked one lies outside.
        followed=finite_N & (np.asarray(predictions.raw_answer)[rows] == answer_N),
        confidence=np.where(finite_N, np.asarray(predictions.confidence, dtype=np.float64)[rows], np.nan),
        target_probability=np.where(labelled_N & finite_N, target_probability_N, np.nan),
        brier=np.where(finite_N, brier_rows(probability_NA, target_N), np.nan),
        latency_s=np.asarray(predictions.latency_s, dtype=np.float64)[rows],
        hits={} if groups_N is None else _hits(predictions, rows, groups_N),
    )


def _hits(
    predictions: PredictionsLike, rows: NDArray[np.int64], groups_N: NDArray[Any]
) -> dict[str, NDArray[np.float64]]:
    """Both directions of each pair of modalities. Where both are there but an embedding is not finite, it misses."""
    embeddings = {name: np.asarray(predictions.embeddings[name])[rows] for name in sorted(predictions.embeddings)}
    present = {name: np.array([name in predictions.modalities[row] for row in rows], dtype=bool) for name in embeddings}
    finite = {name: np.isfinite(embedding_ND).all(axis=1) for name, embedding_ND in embeddings.items()}
    return {
        f"{x}>{y}": np.where(
            present[x] & present[y] & ~(finite[x] & finite[y]),
            0.0,
            retrieval_hits(embeddings[x], embeddings[y], groups_N),
        )
        for x, y in permutations(embeddings, 2)
    }
